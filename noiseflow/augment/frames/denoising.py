"""Denoising of whole frames of any size."""

import numpy as np
import torch
from numpy.typing import NDArray

from noiseflow.augment.frames.frame import NoisyFrame
from noiseflow.augment.frames.frame_camera import camera_for
from noiseflow.core.errors import DataError, ModelError
from noiseflow.models.denoiser import Denoiser
from noiseflow.raw.image import RawImage, fits_layout

__all__ = ["denoise_frame"]

STRIP = 256
"""Rows of a plane processed at a time, because the hidden planes of a large frame would not fit into memory."""


def denoise_frame(
    denoiser: Denoiser, noisy: RawImage, *, iso: float | None = None, camera: str | None = None
) -> NoisyFrame:
    """Denoise a raw frame.

    Parameters
    ----------
    denoiser : Denoiser
        Denoiser from `noiseflow.models.load_denoiser`.
    noisy : RawImage
        Frame of any size; its levels are kept.  If the height or width is odd, the last row or column keeps
        its codes.
    iso : float, optional
        ISO; if None, that of the frame.
    camera : str, optional
        Camera; if None, that of the frame, or else the denoiser's only one.

    Returns
    -------
    NoisyFrame
        ``image`` in whole DN; ``signal`` neither rounded nor clipped.

    Raises
    ------
    ModelError
        The denoiser does not know the camera, or was trained on other planes.
    DataError
        Neither the frame nor the call gives the ISO.
    """
    spec = denoiser.spec
    if not fits_layout(noisy, spec.layout):
        raise ModelError(
            f"{noisy.source}: is a {noisy.pattern} frame, but the denoiser was trained on {spec.layout!r} planes"
        )
    camera, iso = camera_for(spec.cameras, noisy, camera), iso or noisy.iso
    if iso is None:
        raise DataError(f"{noisy.source}: the file does not contain its ISO; give it with --iso")
    signal = torch.from_numpy(noisy.normalised(spec.layout)).to(torch.float32)[None]
    clean = torch.empty_like(signal)
    height, halo, device = signal.shape[2], denoiser.reach, next(denoiser.parameters()).device
    with torch.no_grad():
        for top in range(0, height, STRIP):
            begin, end = max(0, top - halo), min(height, top + STRIP + halo)
            part = denoiser(signal[:, :, begin:end].to(device), iso, camera).cpu()
            clean[:, :, top : top + STRIP] = part[:, :, top - begin : top - begin + STRIP]
    found: NDArray[np.float32] = clean[0].numpy()
    return NoisyFrame(noisy.with_signal(found, iso=iso), found)
