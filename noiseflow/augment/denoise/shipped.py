"""The photo denoiser shipped with the package."""

from functools import cache
from importlib import resources

from noiseflow.augment.denoise.files import load_photo_denoiser
from noiseflow.augment.denoise.network import PhotoDenoiser

__all__ = ["shipped_denoiser"]


@cache
def shipped_denoiser() -> PhotoDenoiser:
    """Load the shipped photo denoiser, in evaluation mode; docs/guide/denoise.md describes its training."""
    with resources.as_file(resources.files("noiseflow.augment.denoise") / "weights") as folder:
        return load_photo_denoiser(folder)
