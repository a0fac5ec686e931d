"""What the metrics in time see: real noise of some tiles over time, and each model's samples there."""

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
        The same for the first model's frames, were they independent.
    """

    noise: Mapping[str, Tensor]
    log_prob: Mapping[str, Tensor]
    alone: Tensor

    @property
    def frames(self) -> int:
        """T."""
        return self.alone.shape[1]

    @property
    def values_of_frame(self) -> int:
        """Dimensions of one frame of a tile."""
        return next(iter(self.noise.values()))[0, 0].numel()
