"""Training objective of a photo denoiser: its error in units of the noise."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from noiseflow.augment.denoise.training.cameras import NoisyCrops
from noiseflow.fit.training.objective import StepPosition

__all__ = ["CropSource", "DenoisingObjective"]

CropSource = Callable[[np.random.Generator, torch.Generator, int], NoisyCrops]
"""Function of two generators and a number that draws that many noisy crops with their clean ones."""

BEND = 2.0
"""Error in σ at which the loss changes from quadratic to linear."""

AT_ONCE = 8
"""Number of held-out crops evaluated at a time."""


@dataclass
class DenoisingObjective:
    """Mean of the pseudo-Huber loss δ²·(√(1 + (e/δ)²) − 1), δ = 2, of the error e = (D(x) − clean)/σ(clean).

    For small errors this is half the squared error in units of the noise; outliers count linearly.  All ISOs and
    brightnesses have equal weight.

    Parameters
    ----------
    train : CropSource
        Source of training crops.
    held_out_crops : CropSource
        Source of validation crops, which are the same at every validation.
    count_held_out : int
        Number of held-out crops.
    batch_size : int
        Crops per step.
    seed : int
        Seed of the draws.
    device : torch.device
        Device to train on.
    """

    train: CropSource
    held_out_crops: CropSource
    count_held_out: int
    batch_size: int
    seed: int
    device: torch.device
    name: str = "error"
    unit: str = "σ²/2"
    references: Mapping[str, float] = field(default_factory=dict)

    def batch(self, position: StepPosition) -> NoisyCrops:
        """Crops of a step, this rank's share."""
        own = position.share(self.batch_size)
        return self._drawn(self.train, (self.seed, position.step, 1), self.batch_size, own)

    def count(self, position: StepPosition) -> int:
        """Number of crops of a step."""
        return self.batch_size

    def loss(
        self, model: nn.Module, batch: NoisyCrops, generator: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Mean error of a batch."""
        return error_of(model(batch.noisy, batch.slope, batch.offset, batch.floor), batch).mean(), {}

    def held_out(self, model: nn.Module) -> float:
        """Mean error on the held-out crops."""
        total = 0.0
        for start in range(0, self.count_held_out, AT_ONCE):
            count = min(AT_ONCE, self.count_held_out - start)
            crops = self._drawn(self.held_out_crops, (self.seed, start, 2), count, slice(None))
            found = model(crops.noisy, crops.slope, crops.offset, crops.floor)
            total += count * float(error_of(found, crops).mean())
        return total / self.count_held_out

    def record(self, position: StepPosition) -> tuple[str, dict[str, Tensor]]:
        """Clean and noisy crops of a step, for the record of a failure."""
        crops = self.batch(position)
        return "clean and noisy crops", {"clean": crops.clean, "noisy": crops.noisy}

    def pictures(self, model: nn.Module) -> Mapping[str, Tensor]:
        """Pictures for TensorBoard: none."""
        return {}

    def _drawn(self, source: CropSource, key: tuple[int, int, int], count: int, own: slice) -> NoisyCrops:
        seed = np.random.SeedSequence(key)
        generator = torch.Generator().manual_seed(int(seed.generate_state(1)[0]))
        crops = source(np.random.default_rng(seed), generator, count)
        parts = (crops.clean, crops.noisy, crops.slope, crops.offset, crops.floor)
        return NoisyCrops(*(part.expand(count, -1, -1, -1)[own].to(self.device) for part in parts))


def error_of(found: Tensor, crops: NoisyCrops) -> Tensor:
    """Pseudo-Huber loss of the error in units of the noise, (B, 4, H, W)."""
    sigma = (crops.slope * crops.clean + crops.offset).sqrt()
    off = (found.to(crops.clean) - crops.clean) / (BEND * sigma)
    return BEND**2 * ((1 + off.square()).sqrt() - 1)
