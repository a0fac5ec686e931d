"""Names of a photo denoiser's files, in a module that does not import torch."""

from pathlib import Path

__all__ = ["CARD", "WEIGHTS", "is_photo_denoiser"]

CARD, WEIGHTS = "photo_denoiser.json", "photo_denoiser.safetensors"
"""Names of the card and the weights file in a run folder."""


def is_photo_denoiser(folder: str | Path) -> bool:
    """Whether a folder contains a photo denoiser."""
    return (Path(folder) / CARD).is_file()
