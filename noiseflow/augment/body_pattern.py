"""The measured fixed pattern of one camera body, applied to sampled frames."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.augment.frames.windows import Window
from noiseflow.calibrate.body.body_maps import BodyMaps
from noiseflow.raw.bayer import pack
from noiseflow.raw.image import RawImage

__all__ = ["BodyPattern", "body_pattern"]


@dataclass(frozen=True, eq=False)
class BodyPattern:
    """Fixed pattern from a body's maps at one ISO and exposure time; used instead of `FixedPattern`.

    Parameters
    ----------
    dark_dn : Tensor, shape (C, h, w)
        Dark shading in DN, including hot pixels.
    gain : Tensor, shape (C, h, w), or None
        Relative photo response; None if it was not measured.
    """

    dark_dn: Tensor
    gain: Tensor | None

    def exposed(self, signal_dn: Tensor, window: Window) -> Tensor:
        """Apply the photo response to a signal in DN above black, (1, C, h, w), before shot noise."""
        return signal_dn if self.gain is None else signal_dn * _cut(self.gain, window).to(signal_dn)

    def dark(self, like: Tensor, window: Window, size: tuple[int, int]) -> Tensor:
        """Dark shading in DN, shaped like `like`, (1, C, h, w), added after the noise."""
        return _cut(self.dark_dn, window).to(like)


def _cut(planes: Tensor, window: Window) -> Tensor:
    return planes[None, :, window.top : window.bottom, window.left : window.right]


def body_pattern(body: BodyMaps, frame: RawImage, iso: float | None, layout: str) -> BodyPattern:
    """Make the fixed pattern of a body for a frame.

    Parameters
    ----------
    body : BodyMaps
        Maps of the body.
    frame : RawImage
        Clean frame with the size and CFA phase of the maps; the pattern is that of its exposure time.
    iso : float or None
        ISO of the noise; if None, that of the frame.
    layout : str
        Plane layout of the model.

    Returns
    -------
    BodyPattern
        The pattern.

    Raises
    ------
    DataError
        A frame of another size or phase, an ISO without a dark map, or no exposure time although the pattern
        depends on it.
    """
    side = frame.side
    height, width = (length // side * side for length in frame.mosaic.shape)
    body.check_size((height, width), frame.cfa, frame.source)

    def planes(values: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(values[None] if layout == "mono" else pack(values, frame.cfa))

    dark = body.dark_at(iso or frame.iso, frame.exposure_s)
    return BodyPattern(planes(dark), None if body.gain is None else planes(body.gain.gain))
