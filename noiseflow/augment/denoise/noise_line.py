"""The noise level of one raw file, from the best available source."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from noiseflow.augment.frames.frame_camera import camera_for
from noiseflow.core.errors import DataError, ModelError
from noiseflow.models.model import NoiseModel
from noiseflow.raw.bayer import plane_names
from noiseflow.raw.image import RawImage

__all__ = ["NoiseLine", "find_noise", "noise_of_model", "noise_of_picture", "noise_of_profile_tag"]

ROUNDING = 1 / 12
"""Variance of rounding to whole DN, DN²: the smallest possible noise variance."""

SURE = 3.0
"""The row noise of a single picture must be this many standard errors above 0 to count."""


@dataclass(frozen=True, eq=False)
class NoiseLine:
    """Noise variance of a file by plane, β₁·x + β₂ over the normalised signal x.

    Parameters
    ----------
    slope, offset : ndarray, shape (4,)
        β₁ and β₂ of R, G1, G2, B.
    source : str
        Where the values come from, for the user.
    row, column : float
        σ of the row and column offsets, normalised; included in β₂.  0 if unknown.
    """

    slope: NDArray[np.float64]
    offset: NDArray[np.float64]
    source: str
    row: float = 0.0
    column: float = 0.0

    def scaled(self, factor: float) -> "NoiseLine":
        """The noise with σ multiplied by `factor`."""
        return NoiseLine(
            self.slope * factor**2,
            self.offset * factor**2,
            f"{self.source}, σ × {factor:g}",
            self.row * factor,
            self.column * factor,
        )


def find_noise(
    image: RawImage, model: NoiseModel | None = None, *, iso: float | None = None, camera: str | None = None
) -> NoiseLine:
    """Find the noise of a file: from a given model, else from its NoiseProfile tag, else from its own pixels.

    Parameters
    ----------
    image : RawImage
        Bayer frame.
    model : NoiseModel, optional
        Model of a fitted run or a profile.
    iso, camera : optional
        ISO and camera for the model; if None, those of the frame.

    Raises
    ------
    ModelError
        The model has other planes, or does not know the camera.
    DataError
        The noise level cannot be determined.
    """
    if model is not None:
        return noise_of_model(model, image, iso=iso, camera=camera)
    if image.noise_profile:
        return noise_of_profile_tag(image)
    return noise_of_picture(image)


def noise_of_model(
    model: NoiseModel, image: RawImage, *, iso: float | None = None, camera: str | None = None
) -> NoiseLine:
    """The noise that a model gives at the ISO of a frame; see `noiseflow.augment.noise_level.noise_profile`."""
    # Imported here because they import the flows.
    from noiseflow.augment.denoise.lines.strengths import line_strengths
    from noiseflow.augment.noise_level import noise_profile

    if model.spec.layout != "bayer":
        raise ModelError(f"{image.source}: is a Bayer frame, but the model was fitted on {model.spec.layout!r} planes")
    iso = iso or image.iso
    if iso is None:
        raise DataError(f"{image.source}: the file does not contain its ISO; give it with --iso")
    camera = camera_for(model.cameras, image, camera)
    line = _by_colour(image, noise_profile(model, iso, camera))
    found = _checked(image, *line, f"the {model.spec.model} model of {camera} at ISO {iso:g}")
    lines = line_strengths(model, iso, camera)
    return replace(found, row=lines.row, column=lines.column)


def noise_of_profile_tag(image: RawImage) -> NoiseLine:
    """The noise in the DNG's NoiseProfile tag."""
    if len(image.noise_profile) not in (1, 3, 4):
        raise DataError(
            f"{image.source}: its NoiseProfile has {len(image.noise_profile)} pairs; expected 1, 3 or 4: give a noise "
            "model with --model"
        )
    return _checked(image, *_by_colour(image, image.noise_profile), "the NoiseProfile of the file")


def noise_of_picture(image: RawImage) -> NoiseLine:
    """The noise measured on the frame's own pixels by `noiseflow.calibrate.measure_picture`.

    Raises
    ------
    DataError
        The picture does not allow it; the message says why and what to do.
    """
    from noiseflow.calibrate.single_frame.estimate import measure_picture

    try:
        found = measure_picture(image)
    except DataError as error:
        raise DataError(f"{error}; or give a noise model with --model") from error
    span = _span(image)
    read = [measured.value if measured is not None else np.nan for measured in found.read_noise]
    if not np.isfinite(read).all():
        raise DataError(
            f"{image.source}: its pixels contradict its black level, so its read noise cannot be measured; give "
            "--black, or a noise model with --model"
        )
    gain = np.array([measured.value for measured in found.gain])
    line = _checked(image, gain / span, np.square(read) / span**2, "the file's own pixels (single-frame estimate)")
    rows = found.row_noise
    if rows is None or rows.value < SURE * rows.standard_error:
        return line
    return replace(line, row=rows.value / float(span.mean()))


def _by_colour(
    image: RawImage, pairs: tuple[tuple[float, float], ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Slope and offset of the four planes, from one pair for all, one each for R, G and B, or one per plane."""
    which: dict[int, Callable[[int, str], int]] = {
        1: lambda plane, colour: 0,
        3: lambda plane, colour: "RGB".index(colour),
        4: lambda plane, colour: plane,
    }
    chosen = [pairs[which[len(pairs)](plane, name[0])] for plane, name in enumerate(plane_names(image.layout))]
    slope, offset = np.asarray(chosen, np.float64).T
    return slope, offset


def _span(image: RawImage) -> NDArray[np.float64]:
    return float(image.white) - np.asarray(image.black, np.float64)


def _checked(image: RawImage, slope: NDArray[np.float64], offset: NDArray[np.float64], source: str) -> NoiseLine:
    if not (np.isfinite(slope).all() and np.isfinite(offset).all()) or (slope < 0).any() or (slope > 1).any():
        raise DataError(
            f"{image.source}: {source} gives the noise level S {slope.tolist()}, O {offset.tolist()}, which is not "
            "plausible; give a noise model with --model"
        )
    return NoiseLine(slope, np.maximum(offset, ROUNDING / _span(image) ** 2), source)
