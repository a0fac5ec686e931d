"""Input of the metrics in time: real noise of some tiles, and each model's samples and densities."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

__all__ = ["MeasuredSequences"]


@dataclass(frozen=True, eq=False)
class MeasuredSequences:
    """Sequences of one setting, real and sampled.

    Parameters
    ----------
    noise : mapping of str to Tensor, shape (B, T, C, h, w)
        Normalised noise of the tiles: real under `noiseflow.evaluate.metric.DATA`, sampled under a model's name.
    log_prob : mapping of str to Tensor, shape (B, T)
        Log-density of each real frame given the frames before it, nats.
    alone : Tensor, shape (B, T)
        Log-density of each real frame by the first model's frame model, as if frames were independent, nats.
    """

    noise: Mapping[str, Tensor]
    log_prob: Mapping[str, Tensor]
    alone: Tensor

    @property
    def frames(self) -> int:
        """Number of frames T."""
        return self.alone.shape[1]

    @property
    def values_of_frame(self) -> int:
        """Number of values in one frame of a tile, C·h·w."""
        return next(iter(self.noise.values()))[0, 0].numel()
