"""A camera's noise as a transform of albumentations."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from noiseflow.augment.adapters import AddNoise, missing, noisy_of

try:
    from albumentations import ImageOnlyTransform
except ImportError as error:
    raise missing("albumentations", error) from error

__all__ = ["CameraNoise"]


class CameraNoise(ImageOnlyTransform):  # type: ignore[misc]
    """Noise of ``albumentations`` on images (H, W, C): float32 in 0…1, or uint8, which stays uint8.

    Parameters
    ----------
    add_noise : AddCameraNoise or AddNoiseToPictures
        Augmentation to apply.
    p : float
        Probability that an image gets noise.
    """

    def __init__(self, add_noise: AddNoise, p: float = 0.5) -> None:
        super().__init__(p=p)
        self.add_noise = add_noise

    def get_params(self) -> dict[str, Any]:
        """Draw a number for the sample with the generator of the pipeline."""
        return {"number": self.py_random.getrandbits(32)}

    def apply(self, img: NDArray[Any], number: int = 0, **_: Any) -> NDArray[Any]:
        """Add noise to one image."""
        scale = 255.0 if img.dtype == np.uint8 else 1.0
        clean = torch.from_numpy(np.ascontiguousarray(img.transpose(2, 0, 1), np.float32) / np.float32(scale))
        noisy = noisy_of(self.add_noise, clean, number).permute(1, 2, 0).numpy()
        if img.dtype == np.uint8:
            return np.asarray(np.clip(np.rint(noisy * scale), 0, 255), np.uint8)
        return np.ascontiguousarray(noisy)
