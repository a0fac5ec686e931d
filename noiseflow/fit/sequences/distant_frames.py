"""What frames far apart share: whether it is there, and whether a model has as much of it."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from noiseflow.fit.sequences.fit_parts import LatentTiles
from noiseflow.models.temporal.strengths import strengths
from noiseflow.models.temporal.temporal_noise import TemporalNoise

__all__ = ["SURE", "has_pattern", "keeps_averages"]

SURE = 3.0
"""A deviation is significant from this many standard errors on: by chance once in 370 times."""


def has_pattern(held_out: Sequence[LatentTiles]) -> bool:
    """Whether frames far apart share a pattern: the means of the first and last third correlate significantly."""
    mean, error = _mean_and_error(torch.cat([_shared(tiles.z) for tiles in held_out]))
    return mean > SURE * error


@torch.no_grad()
def keeps_averages(candidate: TemporalNoise, model: TemporalNoise, held_out: Sequence[LatentTiles]) -> bool:
    """Whether a candidate has as much covariance between distant frames as the data, or as much as the model before it.

    A part that gains likelihood may take pixels with a large offset from the pattern, whose σ then becomes too small:
    averages of frames from the model would be less noisy than the camera's.

    Parameters
    ----------
    candidate, model : TemporalNoise
        Model with a part more, and without it.
    held_out : sequence of LatentTiles
        Held-out tiles.
    """

    def deviation(of: TemporalNoise) -> tuple[float, float]:
        # The light of a frame is common to all pixels, and not what this is about.
        found = [
            _shared(tiles.z - tiles.z.mean((0, 2), keepdim=True)) - expected_covariance(of, tiles) for tiles in held_out
        ]
        return _mean_and_error(torch.cat(found))

    (after, error), (before, _) = deviation(candidate), deviation(model)
    return abs(after) <= max(SURE * error, abs(before))


def expected_covariance(model: TemporalNoise, tiles: LatentTiles) -> Tensor:
    """Covariance of the latents' means over the first and the last third of the frames, mean over pixels, (B,).

    Constant values of pixels have the covariance Σ h²; telegraph pixels, which have no pattern, their variance times
    (1 − u − d)^lag.
    """
    strong = strengths(model, tiles.cond, tiles.sigma)
    pattern = strong.own.square().sum(1).mean(1)
    jumps = model.telegraph
    if jumps is None:
        return pattern
    frames = torch.arange(tiles.z.shape[1])
    third = _third(tiles.z)
    lags = (frames[-third:, None] - frames[:third]).to(pattern)
    up, down = jumps.rates(tiles.cond)
    alike = (1 - up - down)[:, None, None].pow(lags).mean((1, 2))
    of_jumps = jumps.variance(tiles.cond) * alike * strong.per_sigma.square().mean(1)
    return (1 - jumps.fraction(tiles.cond)) * pattern + of_jumps


def _shared(z: Tensor) -> Tensor:
    """Product of a pixel's means over the first and the last third of the frames, mean over pixels of a tile, (B,)."""
    third = _third(z)
    return (z[:, :third].mean(1) * z[:, -third:].mean(1)).double().mean(1)


def _third(z: Tensor) -> int:
    return max(1, z.shape[1] // 3)


def _mean_and_error(each: Tensor) -> tuple[float, float]:
    """Mean over tiles and its standard error; infinite for a single tile."""
    error = float(each.std()) / math.sqrt(len(each)) if len(each) > 1 else math.inf
    return float(each.mean()), error
