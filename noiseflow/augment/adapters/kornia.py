"""A camera's noise as an augmentation of kornia."""

from typing import Any

import torch
from torch import Tensor

from noiseflow.augment.adapters import LARGEST_INDEX, AddNoise, missing

try:
    from kornia.augmentation import IntensityAugmentationBase2D
except ImportError as error:
    raise missing("kornia", error) from error

__all__ = ["RandomCameraNoise"]


class RandomCameraNoise(IntensityAugmentationBase2D):  # type: ignore[misc]
    """Noise of ``kornia.augmentation``, alone or in an ``AugmentationSequential``.

    Parameters
    ----------
    add_noise : AddCameraNoise or AddNoiseToPictures
        Augmentation to apply.
    p : float
        Probability that an element of a batch gets noise.
    same_on_batch : bool
        Use the same random numbers for all elements.
    keepdim : bool
        Keep the number of axes, as in every augmentation of kornia.
    """

    def __init__(self, add_noise: AddNoise, p: float = 1.0, same_on_batch: bool = False, keepdim: bool = False) -> None:
        super().__init__(p=p, same_on_batch=same_on_batch, keepdim=keepdim)
        self.add_noise = add_noise

    def generate_parameters(self, batch_shape: tuple[int, ...]) -> dict[str, Tensor]:
        """Draw a number for each element with torch's generator, as kornia does."""
        count = batch_shape[0]
        number = torch.randint(0, LARGEST_INDEX + 1, (1 if self.same_on_batch else count,))
        return {"number": number.expand(count)}

    def apply_transform(
        self, input: Tensor, params: dict[str, Tensor], flags: dict[str, Any], transform: Tensor | None = None
    ) -> Tensor:
        """Add noise to (B, C, H, W)."""
        return self.add_noise(input, params["number"][: len(input)]).noisy
