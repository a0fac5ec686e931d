"""What a photo denoiser is trained on, by what a user names: cameras or one model, pictures or frames."""

from dataclasses import dataclass
from pathlib import Path

from noiseflow.augment.denoise.training.drawn import drawn_cameras, held_out_cameras
from noiseflow.augment.denoise.training.modelled import modelled_crops, of_pictures
from noiseflow.augment.denoise.training.objective import CropSource
from noiseflow.augment.denoise.training.pictures import HELD_OUT, TRAINED_ON, clean_crops, crops_of, pictures_in
from noiseflow.core.errors import DataError
from noiseflow.fit.clean_sources import clean_frames
from noiseflow.models.model import NoiseModel

__all__ = ["TrainedOn", "trained_on"]


@dataclass(frozen=True, eq=False)
class TrainedOn:
    """Crops to train on and to judge by, and words for the card.

    Parameters
    ----------
    train, held_out : CropSource
        Crops.
    noise, clean : str
        What the noise and the clean pictures are of.
    """

    train: CropSource
    held_out: CropSource
    noise: str
    clean: str


def trained_on(
    side: int, model: NoiseModel | None = None, *, frames: Path | None = None, pictures: Path | None = None
) -> TrainedOn:
    """Crops of `side` pixels of a plane.

    Parameters
    ----------
    side : int
        Side of a crop.
    model : NoiseModel, optional
        The noise; cameras from the prior over cameras if None.
    frames, pictures : Path, optional
        Folder of clean raw frames, or of sRGB pictures; the pictures of scikit-image, and leaves, if both are None.

    Raises
    ------
    DataError
        Both, or frames without a model.
    """
    if frames is not None and pictures is not None:
        raise DataError("give the clean signals by --frames or by --pictures, not both")
    if model is None:
        if frames is not None or pictures is not None:
            raise DataError("--frames and --pictures need the noise of --model; without it the cameras are drawn")
        return TrainedOn(drawn_cameras(side), held_out_cameras(side), "cameras drawn from the prior", "scikit-image")
    spec = model.spec
    if frames is not None:
        clean = clean_frames(frames, spec, side)
        return TrainedOn(modelled_crops(model, clean), modelled_crops(model, clean, 0.0), spec.model, str(frames))
    if pictures is not None:
        planes = [crops_of(each) for each in pictures_in(pictures, side)]
    else:
        planes = [clean_crops(TRAINED_ON), clean_crops(HELD_OUT, 1, 0)]
    train, held_out = (of_pictures(each, spec, side) for each in planes)
    return TrainedOn(
        modelled_crops(model, train),
        modelled_crops(model, held_out, 0.0),
        spec.model,
        "scikit-image" if pictures is None else str(pictures),
    )
