"""Noise on whole frames of any size, and on bursts of them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.augment.fixed_pattern import FixedPattern
from noiseflow.augment.frames.tiles import FrameNoise
from noiseflow.augment.frames.windows import Window
from noiseflow.augment.noise_level import noise_profile
from noiseflow.core.errors import DataError, ModelError
from noiseflow.core.progress import Progress, silent
from noiseflow.models.model import NoiseModel
from noiseflow.ops.random.sampling import Keyed
from noiseflow.raw.image import RawImage

__all__ = ["NoisyFrame", "sample_burst", "sample_frame"]

BEYOND = 0.5
"""How far beyond 0…1 a frame's normalised signal may go before its levels are taken for wrong."""


@dataclass(frozen=True, eq=False)
class NoisyFrame:
    """A frame with noise drawn for it.

    Parameters
    ----------
    image : RawImage
        Whole DN, clipped to [0, white], as the camera would have stored it; its
        `noise_profile` is the model's.
    signal : ndarray of float32, shape (C, H//2, W//2)
        The same before rounding and clipping, normalised.
    """

    image: RawImage
    signal: NDArray[np.float32]


def sample_frame(
    model: NoiseModel,
    clean: RawImage,
    *,
    iso: float | None = None,
    camera: str | None = None,
    seed: int = 0,
    frame: int = 0,
    temperature: float = 1.0,
    pattern: FixedPattern | None = None,
    workers: int | None = None,
    progress: Progress = silent,
) -> NoisyFrame:
    """Draw noise for a clean frame.

    Parameters
    ----------
    model : NoiseModel
    clean : RawImage
        Of any size; its levels are kept.  Of an odd height or width, the last row or
        column keeps its codes.
    iso : float, optional
        The frame's own if None.
    camera : str, optional
        The frame's own, or the model's only one, if None.
    seed, frame : int
        The same two give the same bits on the same machine, whatever the number of workers;
        another frame of a burst has other noise.
    temperature : float
        1 is the fitted density.
    pattern : FixedPattern, optional
        Of the camera body, the same in all frames.
    workers : int, optional
        Threads; as many as torch uses if None.
    progress : Progress
        Told of pixels.

    Raises
    ------
    ModelError
        If the model knows no such camera, or has other planes.
    DataError
        If neither the frame nor the call says the ISO; a signal far outside 0…1.

    Warns
    -----
    ExtrapolationWarning
        Once, if the ISO is outside the model's range.
    """
    iso, camera = _settings(model, clean, iso, camera)
    layout = model.spec.layout
    step = 1 if layout == "mono" else 2
    size = (clean.mosaic.shape[0] // step, clean.mosaic.shape[1] // step)
    exposed = _Exposed(clean, layout, step, size, pattern, _dtype(model))
    keyed = Keyed(seed, (frame,))
    workers = torch.get_num_threads() if workers is None else workers
    noise = FrameNoise(
        model, size, exposed, iso=iso, camera=camera, keyed=keyed, temperature=temperature, workers=workers
    )
    signal = np.empty((model.planes, *size), np.float32)
    # No new signal: the codes as they are, of which an odd last row or column stays.
    image = clean.with_signal(np.empty((model.planes, 0, 0)), iso=iso)
    for window, strip in noise.strips():
        noisy = (exposed(window) + strip + exposed.dark(window)).float().numpy()
        rows = slice(window.top, window.bottom)
        signal[:, rows] = noisy
        part = exposed.cut(window).with_signal(noisy).mosaic
        image.mosaic[step * window.top : step * window.bottom, : part.shape[1]] = part
        progress(step * window.bottom * clean.mosaic.shape[1], clean.mosaic.size)
    return NoisyFrame(replace(image, noise_profile=noise_profile(model, iso, camera)), signal)


def sample_burst(model: NoiseModel, clean: RawImage, frames: int, **how: object) -> Iterator[NoisyFrame]:
    """Frames of one still scene, one at a time: fresh noise in each, the same fixed pattern in all.

    Parameters
    ----------
    model : NoiseModel
    clean : RawImage
    frames : int
    **how
        As of `sample_frame`; ``frame`` is the number of the first.
    """
    if frames < 1:
        raise DataError(f"frames: expected 1 or more; got {frames}")
    first = int(how.pop("frame", 0))  # type: ignore[call-overload]
    for number in range(first, first + frames):
        yield sample_frame(model, clean, frame=number, **how)  # type: ignore[arg-type]


def _settings(model: NoiseModel, clean: RawImage, iso: float | None, camera: str | None) -> tuple[float, str]:
    layout = model.spec.layout
    if (layout == "bayer") != (clean.layout == "bayer"):
        raise ModelError(f"{clean.source}: a {clean.cfa} frame, but the model was fitted on {layout!r} planes")
    if camera is None:
        camera = model.cameras[0] if len(model.cameras) == 1 else clean.camera
    iso = iso or clean.iso
    if iso is None:
        raise DataError(f"{clean.source}: the file does not say its ISO; give it with --iso")
    return iso, camera


def _dtype(model: NoiseModel) -> torch.dtype:
    return next((parameter.dtype for parameter in model.parameters()), torch.float32)


@dataclass(frozen=True)
class _Exposed:
    """The signal of windows of a frame, under a fixed pattern."""

    clean: RawImage
    layout: str
    step: int
    size: tuple[int, int]
    pattern: FixedPattern | None
    dtype: torch.dtype

    def cut(self, window: Window) -> RawImage:
        rows = slice(self.step * window.top, self.step * window.bottom)
        columns = slice(self.step * window.left, self.step * window.right)
        return replace(self.clean, mosaic=self.clean.mosaic[rows, columns])

    def __call__(self, window: Window) -> Tensor:
        """Normalised, (C, h, w)."""
        signal = self.cut(window).normalised(self.layout)
        low, high = float(signal.min()), float(signal.max())
        if low < -BEYOND or high > 1 + BEYOND:
            raise DataError(
                f"{self.clean.source}: the clean signal is {low:.3g} to {high:.3g} of the range from black to white; "
                "expected 0 to 1: are --black and --white those of this file?"
            )
        tensor = torch.from_numpy(signal).to(self.dtype)
        if self.pattern is None:
            return tensor
        span = self._span()
        return (self.pattern.exposed((tensor * span)[None], window) / span)[0]

    def dark(self, window: Window) -> Tensor:
        """What the fixed pattern adds after the noise, normalised, (C, h, w)."""
        like = torch.empty(1, len(self._span()), window.height, window.width, dtype=self.dtype)
        if self.pattern is None:
            return torch.zeros_like(like)[0]
        return (self.pattern.dark(like, window, self.size) / self._span())[0]

    def _span(self) -> Tensor:
        black, white = self.clean.levels(self.layout)
        return torch.from_numpy(white - black).to(self.dtype)
