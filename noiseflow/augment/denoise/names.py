"""Names of a photo denoiser's files: known without torch."""

from pathlib import Path

__all__ = ["CARD", "WEIGHTS", "is_photo_denoiser"]

CARD, WEIGHTS = "photo_denoiser.json", "photo_denoiser.safetensors"
"""Files in a folder."""


def is_photo_denoiser(folder: str | Path) -> bool:
    """Whether a folder holds a photo denoiser."""
    return (Path(folder) / CARD).is_file()
