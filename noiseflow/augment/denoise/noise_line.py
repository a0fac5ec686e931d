"""The noise level of one raw file, from the best source there is."""

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
"""Variance of rounding to whole DN, DN²: no noise is less."""

SURE = 3.0
"""Standard errors that the row noise of a single picture must be above 0 to count."""


@dataclass(frozen=True, eq=False)
class NoiseLine:
    """Variance of the noise of a file, β₁·x + β₂ of the normalised signal x, by plane.

    Parameters
    ----------
    slope, offset : ndarray, shape (4,)
        β₁ and β₂ of R, G1, G2, B.
    source : str
        Where they are from, for the user.
    row, column : float
        σ of the offset that the pixels of a sensor row, or column, share, normalised; part of β₂.  0 where it is not
        known.
    """

    slope: NDArray[np.float64]
    offset: NDArray[np.float64]
    source: str
    row: float = 0.0
    column: float = 0.0

    def scaled(self, factor: float) -> "NoiseLine":
        """The line for a σ that is `factor` times as large."""
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
    """The noise of a file: of a given model, or else its NoiseProfile, or else measured on its own pixels.

    Parameters
    ----------
    image : RawImage
        Bayer frame.
    model : NoiseModel, optional
        A fitted run or a profile.
    iso, camera : optional
        ISO and camera of the model; those of the frame if None.

    Raises
    ------
    ModelError
        The model has other planes, or does not know the camera.
    DataError
        The noise level is not known.
    """
    if model is not None:
        return noise_of_model(model, image, iso=iso, camera=camera)
    if image.noise_profile:
        return noise_of_profile_tag(image)
    return noise_of_picture(image)


def noise_of_model(
    model: NoiseModel, image: RawImage, *, iso: float | None = None, camera: str | None = None
) -> NoiseLine:
    """The line that a model gives at the ISO of a frame; see `noise_profile` of `noiseflow.augment.noise_level`."""
    # They import the flows.
    from noiseflow.augment.denoise.lines.strengths import line_strengths
    from noiseflow.augment.noise_level import noise_profile

    if model.spec.layout != "bayer":
        raise ModelError(f"{image.source}: a Bayer frame, but the model was fitted on {model.spec.layout!r} planes")
    iso = iso or image.iso
    if iso is None:
        raise DataError(f"{image.source}: the file does not say its ISO; give it with --iso")
    camera = camera_for(model.cameras, image, camera)
    line = _by_colour(image, noise_profile(model, iso, camera))
    found = _checked(image, *line, f"the {model.spec.model} model of {camera} at ISO {iso:g}")
    lines = line_strengths(model, iso, camera)
    return replace(found, row=lines.row, column=lines.column)


def noise_of_profile_tag(image: RawImage) -> NoiseLine:
    """The line of the DNG's NoiseProfile."""
    if len(image.noise_profile) not in (1, 3, 4):
        raise DataError(
            f"{image.source}: its NoiseProfile has {len(image.noise_profile)} pairs; expected 1, 3 or 4: name a noise "
            "model with --model"
        )
    return _checked(image, *_by_colour(image, image.noise_profile), "the NoiseProfile of the file")


def noise_of_picture(image: RawImage) -> NoiseLine:
    """The line measured on the pixels of the frame itself by `noiseflow.calibrate.measure_picture`.

    Raises
    ------
    DataError
        The picture cannot say; the message says why and what to do.
    """
    from noiseflow.calibrate.single_frame.estimate import measure_picture

    try:
        found = measure_picture(image)
    except DataError as error:
        raise DataError(f"{error}; or name a noise model with --model") from error
    span = _span(image)
    read = [measured.value if measured is not None else np.nan for measured in found.read_noise]
    if not np.isfinite(read).all():
        raise DataError(
            f"{image.source}: its pixels contradict its black level, so its read noise is not known; give --black, or "
            "name a noise model with --model"
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
    """Slope and offset of the four planes, from one pair for all, one each for R, G, B, or one a plane."""
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
            f"{image.source}: {source} gives a noise level of S {slope.tolist()}, O {offset.tolist()}, which no camera "
            "has; name a noise model with --model"
        )
    return NoiseLine(slope, np.maximum(offset, ROUNDING / _span(image) ** 2), source)
