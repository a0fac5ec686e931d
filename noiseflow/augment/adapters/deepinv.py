"""A camera's noise as a noise model of deepinv."""

from typing import Any

import torch
from torch import Tensor

from noiseflow.augment.adapters import check_target, missing
from noiseflow.augment.augmentation import Augmentation
from noiseflow.augment.noisy_batch import NoisyBatch
from noiseflow.core.errors import DataError

try:
    from deepinv.physics import NoiseModel
except ImportError as error:
    raise missing("deepinv", error) from error

__all__ = ["CameraNoise"]


SETTINGS = "iso", "exposure", "camera"


class CameraNoise(NoiseModel):  # type: ignore[misc]
    """Noise model for ``deepinv.physics``: ``physics.set_noise_model(CameraNoise(add_noise))``.

    ``physics(x, iso=800.0)`` sets the ISO for this call and all later ones, like deepinv's own parameters;
    ``update_parameters(iso=800.0)`` sets it without a call.  `exposure` and `camera` work the same way.  The result has
    the pathwise gradient with respect to x.

    Parameters
    ----------
    add_noise : AddCameraNoise or AddNoiseToPictures
        Augmentation to apply.
    rng : torch.Generator, optional
        Generator, as in every noise model of deepinv; ``forward(x, seed=…)`` seeds it.
    keep_last : bool
        Whether to keep the `NoisyBatch` of the last call in `last`.  ``last.clean`` is the training target; with an
        exposure it differs from x.
    """

    last: NoisyBatch | None = None

    def __init__(self, add_noise: Augmentation, rng: torch.Generator | None = None, *, keep_last: bool = False) -> None:
        super().__init__(rng=rng)
        check_target(add_noise, "keep_last=True", has_place=keep_last)
        self.add_noise, self.keep_last = add_noise, keep_last
        self.settings: dict[str, Any] = {}
        self.noise_model = self.noisy

    def noisy(self, clean: Tensor) -> Tensor:
        """Add noise to (B, C, H, W) with the generator's next numbers."""
        batch: NoisyBatch = self.add_noise(clean, generator=self.rng, **self.settings)
        self.last = batch if self.keep_last else None
        return batch.noisy

    def update_parameters(self, **settings: Any) -> None:
        """Set `iso`, `exposure` and `camera` for all later calls; None leaves a setting unchanged."""
        if settings.get("exposure") is not None and not self.keep_last:
            raise DataError("exposure: the clean target then differs from the input: give keep_last=True")
        given = {name: value for name, value in settings.items() if name in SETTINGS and value is not None}
        self.settings.update(given)

    def forward(self, input: Tensor, seed: int | None = None, **settings: Any) -> Tensor:
        """Add noise to (B, C, H, W)."""
        self.rng_manual_seed(seed)
        self.update_parameters(**settings)
        return self.noisy(input)
