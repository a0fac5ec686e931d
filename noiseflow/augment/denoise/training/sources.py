"""Training data of a photo denoiser, as selected by the user: drawn cameras or one model, pictures or raw frames."""

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
    """Sources of training and held-out crops, and their description for the card.

    Parameters
    ----------
    train, held_out : CropSource
        Sources of crops.
    noise, clean : str
        Descriptions of the noise and of the clean pictures.
    """

    train: CropSource
    held_out: CropSource
    noise: str
    clean: str


def trained_on(
    side: int, model: NoiseModel | None = None, *, frames: Path | None = None, pictures: Path | None = None
) -> TrainedOn:
    """Make the sources of training and held-out crops.

    Parameters
    ----------
    side : int
        Side of a crop, in pixels of a plane.
    model : NoiseModel, optional
        Model of the noise; if None, cameras are drawn from the prior over cameras.
    frames, pictures : Path, optional
        Folder of clean raw frames, or of sRGB pictures.  If both are None, pictures of scikit-image and dead-leaves
        pictures are used.

    Raises
    ------
    DataError
        Both `frames` and `pictures` are given, or one of them without a model.
    """
    if frames is not None and pictures is not None:
        raise DataError("give clean signals with --frames or with --pictures, not both")
    if model is None:
        if frames is not None or pictures is not None:
            raise DataError(
                "--frames and --pictures need a noise model: give --model, or leave them out to train on drawn cameras"
            )
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
