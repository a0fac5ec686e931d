"""Sampling of noise for whole frames of any size, and for bursts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.augment.body_pattern import BodyPattern
from noiseflow.augment.fixed_pattern import FixedPattern
from noiseflow.augment.frames.frame_camera import camera_for
from noiseflow.augment.frames.tiles import FrameNoise
from noiseflow.augment.frames.windows import Window
from noiseflow.augment.noise_level import noise_profile
from noiseflow.core.errors import DataError, ModelError
from noiseflow.core.progress import Progress, silent
from noiseflow.models.model import NoiseModel
from noiseflow.ops.random.sampling import Keyed
from noiseflow.raw.image import RawImage, fits_layout

if TYPE_CHECKING:
    from noiseflow.raw.formats.tags.carried import Carried

__all__ = ["OF_SEQUENCE", "NoisyFrame", "models_of_frames", "sample_burst", "sample_frame"]

OF_SEQUENCE = "iso", "camera", "seed"
"""Arguments of `sample_frame` that are the same for all frames of a sequence."""

BEYOND = 0.5
"""How far a frame's normalised signal may lie outside 0…1; if it is farther, its levels must be wrong."""


@dataclass(frozen=True, eq=False)
class NoisyFrame:
    """A frame with sampled noise.

    Parameters
    ----------
    image : RawImage
        The frame in whole DN, clipped to [0, white] as the camera would store it, with the model's
        `noise_profile`.
    signal : ndarray of float32, shape (C, H//2, W//2)
        The normalised signal before rounding and clipping; (C, 0, 0) if it was not kept.
    carried : Carried, optional
        Metadata of the original file, for writing a DNG.
    """

    image: RawImage
    signal: NDArray[np.float32]
    carried: "Carried | None" = None


def sample_frame(
    model: NoiseModel,
    clean: RawImage,
    *,
    iso: float | None = None,
    camera: str | None = None,
    seed: int = 0,
    frame: int = 0,
    temperature: float = 1.0,
    pattern: FixedPattern | BodyPattern | None = None,
    workers: int | None = None,
    keep_signal: bool = True,
    progress: Progress = silent,
) -> NoisyFrame:
    """Sample noise for a clean frame.

    Parameters
    ----------
    model : NoiseModel
        Model of the noise.
    clean : RawImage
        Clean frame of any size; its levels are kept.  If the height or width is odd, the last row or column
        keeps its codes.
    iso : float, optional
        ISO of the noise; if None, that of the frame.
    camera : str, optional
        Camera of the noise; if None, that of the frame, or else the model's only one.
    seed, frame : int
        Seed, and number of the frame in a burst.  With the same two numbers, results are identical bit for bit on the
        same machine, for any number of workers.
    temperature : float
        Factor on the scale of the base distribution; 1 samples the fitted density.
    pattern : FixedPattern or BodyPattern, optional
        Fixed pattern of the camera body, drawn or measured, the same in all frames.
    workers : int, optional
        Number of threads; if None, torch's number.
    keep_signal : bool
        Whether to keep the signal before rounding, at four bytes per pixel, besides the codes.
    progress : Progress
        Called after each strip with the number of pixels done.

    Returns
    -------
    NoisyFrame
        The noisy frame in codes, and its signal if it is kept.

    Raises
    ------
    ModelError
        The model does not know the camera, or was fitted on other planes.
    DataError
        Neither the frame nor the call gives the ISO, or the signal is far outside 0…1.

    Warns
    -----
    ExtrapolationWarning
        Once, if the ISO is outside the model's range.
    """
    iso, camera = _settings(model, clean, iso, camera)
    model, frame = models_of_frames(model, clean, iso=iso, camera=camera, seed=seed)(frame)
    layout = model.spec.layout
    step = 1 if layout == "mono" else clean.side
    size = (clean.mosaic.shape[0] // step, clean.mosaic.shape[1] // step)
    exposed = _Exposed(clean, layout, step, size, pattern, _dtype(model))
    keyed = Keyed(seed, (frame,))
    workers = torch.get_num_threads() if workers is None else workers
    noise = FrameNoise(
        model, size, exposed, iso=iso, camera=camera, keyed=keyed, temperature=temperature, workers=workers
    )
    signal = np.empty((model.planes, *(size if keep_signal else (0, 0))), np.float32)
    # An empty signal leaves all codes unchanged, including those of an odd last row or column.
    image = clean.with_signal(np.empty((model.planes, 0, 0)), iso=iso)

    def done(window: Window, own: Tensor, drawn: Tensor) -> None:
        noisy = own + drawn
        if pattern is not None:
            noisy += exposed.dark(window)
        values = noisy.float().numpy()
        if keep_signal:
            signal[:, window.top : window.bottom, window.left : window.right] = values
        cut(image, window, step).put_signal(values)

    for window in noise.each_tile(done):
        progress(step * window.bottom * clean.mosaic.shape[1], clean.mosaic.size)
    return NoisyFrame(replace(image, noise_profile=noise_profile(model, iso, camera)), signal)


def sample_burst(model: NoiseModel, clean: RawImage, frames: int, **how: object) -> Iterator[NoisyFrame]:
    """Sample the frames of a burst of a static scene, one at a time.

    Each frame has its own noise; all have the same fixed pattern.  A `TemporalNoise` keeps its memory between frames.

    Parameters
    ----------
    model : NoiseModel
        Model of the noise.
    clean : RawImage
        Clean frame of the scene.
    frames : int
        Number of frames.
    **how
        Arguments of `sample_frame`; ``frame`` is the number of the first frame.

    Yields
    ------
    NoisyFrame
        The next frame.
    """
    if frames < 1:
        raise DataError(f"frames: expected 1 or more; got {frames}")
    first = int(how.pop("frame", 0))  # type: ignore[call-overload]
    same = {name: value for name, value in how.items() if name in OF_SEQUENCE}
    at = models_of_frames(model, clean, **same)  # type: ignore[arg-type]
    for number in range(first, first + frames):
        own, place = at(number)
        yield sample_frame(own, clean, frame=place, **how)  # type: ignore[arg-type]


def models_of_frames(
    model: NoiseModel, clean: RawImage, *, iso: float | None = None, camera: str | None = None, seed: int = 0
) -> Callable[[int], tuple[NoiseModel, int]]:
    """Function of a frame number that returns the model for that frame, and the number to pass to `sample_frame`.

    For models of single frames these are the model itself and the same number.  For a model of sequences, whose frames
    share a sensor, the model describes that frame and the number is 0.

    Parameters
    ----------
    model : NoiseModel
        Model of the noise.
    clean : RawImage
        Clean frame.
    iso, camera, seed
        As in `sample_frame`.
    """
    if not hasattr(model, "stream"):
        return lambda number: (model, number)
    from noiseflow.augment.frames.in_time import frames_of

    iso, camera = _settings(model, clean, iso, camera)
    frames = frames_of(model, clean, iso=iso, camera=camera, seed=seed)  # type: ignore[arg-type]
    return lambda number: (frames(number), 0)


def _settings(model: NoiseModel, clean: RawImage, iso: float | None, camera: str | None) -> tuple[float, str]:
    layout = model.spec.layout
    if not fits_layout(clean, layout):
        raise ModelError(f"{clean.source}: is a {clean.pattern} frame, but the model was fitted on {layout!r} planes")
    iso = iso or clean.iso
    if iso is None:
        raise DataError(f"{clean.source}: the file does not contain its ISO; give it with --iso")
    return iso, camera_for(model.cameras, clean, camera)


def _dtype(model: NoiseModel) -> torch.dtype:
    return next((parameter.dtype for parameter in model.parameters()), torch.float32)


def cut(image: RawImage, window: Window, step: int) -> RawImage:
    """Crop a frame to a window; `step` sensor rows and columns are one pixel of a plane.  The mosaic is a view."""
    rows, columns = slice(step * window.top, step * window.bottom), slice(step * window.left, step * window.right)
    mosaic, black = image.mosaic[rows, columns], image.black_map
    if black is not None:
        black = black.cropped(rows.start, columns.start, *mosaic.shape)
    return replace(image, mosaic=mosaic, black_map=black)


@dataclass(frozen=True)
class _Exposed:
    """Clean signal of windows of a frame, with its fixed pattern applied."""

    clean: RawImage
    layout: str
    step: int
    size: tuple[int, int]
    pattern: FixedPattern | BodyPattern | None
    dtype: torch.dtype

    def __call__(self, window: Window) -> Tensor:
        """Clean signal of a window, normalised, (C, h, w)."""
        # Other dtypes are computed in float64 and rounded once.
        dtype = np.float32 if self.dtype is torch.float32 else np.float64
        tensor = torch.from_numpy(cut(self.clean, window, self.step).normalised(self.layout, dtype))
        low, high = (float(each) for each in tensor.aminmax())
        if low < -BEYOND or high > 1 + BEYOND:
            raise DataError(
                f"{self.clean.source}: the clean signal is {low:.3g} to {high:.3g} of the range from black to white; "
                "expected 0 to 1: check that --black and --white are right for this file"
            )
        tensor = tensor.to(self.dtype)
        if self.pattern is None:
            return tensor
        span = self._span(window)
        return (self.pattern.exposed((tensor * span)[None], window) / span)[0]

    def dark(self, window: Window) -> Tensor:
        """DSNU and shading of the fixed pattern, added after the noise, normalised, (C, h, w)."""
        assert self.pattern is not None
        span = self._span(window)
        like = torch.empty(1, len(span), window.height, window.width, dtype=self.dtype)
        return (self.pattern.dark(like, window, self.size) / span)[0]

    def _span(self, window: Window) -> Tensor:
        """White minus black level in DN, (C, 1, 1), or (C, h, w) if the black level varies."""
        black, white = cut(self.clean, window, self.step).levels(self.layout)
        return torch.from_numpy(white - black).to(self.dtype)
