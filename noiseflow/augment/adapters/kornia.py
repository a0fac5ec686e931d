"""A camera's noise as an augmentation of kornia."""

from typing import Any

import torch
from torch import Tensor

from noiseflow.augment.adapters import LARGEST_INDEX, check_target, missing
from noiseflow.augment.augmentation import Augmentation
from noiseflow.augment.noisy_batch import NoisyBatch

try:
    from kornia.augmentation import IntensityAugmentationBase2D
except ImportError as error:
    raise missing("kornia", error) from error

__all__ = ["RandomCameraNoise"]


class RandomCameraNoise(IntensityAugmentationBase2D):  # type: ignore[misc]
    """Augmentation for ``kornia``, alone or in an ``AugmentationSequential``.

    ``_params`` has the numbers for a replay.  The result has the pathwise gradient with respect to the input.

    Parameters
    ----------
    add_noise : AddCameraNoise or AddNoiseToPictures
        Augmentation to apply.
    p : float
        Probability that an element of a batch gets noise.
    same_on_batch : bool
        Whether all elements get the same random numbers.
    keepdim : bool
        Whether to keep the number of axes, as in every augmentation of kornia.
    keep_last : bool
        Whether to keep the `NoisyBatch` of the last call in `last`.  ``last.clean`` is the training target; with an
        exposure it differs from the input.
    """

    last: NoisyBatch | None = None

    def __init__(
        self,
        add_noise: Augmentation,
        p: float = 1.0,
        same_on_batch: bool = False,
        keepdim: bool = False,
        *,
        keep_last: bool = False,
    ) -> None:
        super().__init__(p=p, same_on_batch=same_on_batch, keepdim=keepdim)
        check_target(add_noise, "keep_last=True", has_place=keep_last)
        self.add_noise, self.keep_last = add_noise, keep_last

    def generate_parameters(self, batch_shape: tuple[int, ...]) -> dict[str, Tensor]:
        """Draw a number for each element with torch's global generator, as kornia does."""
        count = batch_shape[0]
        number = torch.randint(0, LARGEST_INDEX + 1, (1 if self.same_on_batch else count,))
        return {"number": number.expand(count)}

    def apply_transform(
        self, input: Tensor, params: dict[str, Tensor], flags: dict[str, Any], transform: Tensor | None = None
    ) -> Tensor:
        """Add noise to (B, C, H, W)."""
        batch: NoisyBatch = self.add_noise(input, params["number"][: len(input)])
        if self.keep_last:
            self.last = batch
        return batch.noisy
