"""A camera's noise as a noise model of deepinv."""

from typing import Any

import torch
from torch import Tensor

from noiseflow.augment.adapters import AddNoise, missing

try:
    from deepinv.physics import NoiseModel
except ImportError as error:
    raise missing("deepinv", error) from error

__all__ = ["CameraNoise"]


class CameraNoise(NoiseModel):  # type: ignore[misc]
    """Noise of ``deepinv.physics``: ``physics.set_noise_model(CameraNoise(add_noise))``.

    Parameters
    ----------
    add_noise : AddCameraNoise or AddNoiseToPictures
        Augmentation to apply.
    rng : torch.Generator, optional
        Generator as in every noise model of deepinv; ``forward(x, seed=…)`` seeds it.
    """

    def __init__(self, add_noise: AddNoise, rng: torch.Generator | None = None) -> None:
        super().__init__(rng=rng)
        self.add_noise = add_noise
        self.noise_model = self.noisy

    def noisy(self, clean: Tensor) -> Tensor:
        """Add noise with the next numbers of the generator."""
        return self.add_noise(clean, generator=self.rng).noisy

    def forward(self, input: Tensor, seed: int | None = None, **_: Any) -> Tensor:
        """Add noise to (B, C, H, W)."""
        self.rng_manual_seed(seed)
        return self.noisy(input)
