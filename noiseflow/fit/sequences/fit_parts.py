"""Fit the parameters of a model of noise in time by maximum likelihood; the model of single frames does not change."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from noiseflow.fit.sequences.tiles import SequenceTiles
from noiseflow.flows.conditions import Conditions, Resolved
from noiseflow.models.model import checked_conditions
from noiseflow.models.temporal.frame_latent import FrameModel, sigma_of
from noiseflow.models.temporal.sequence_density import LatentDensity
from noiseflow.models.temporal.telegraph import Telegraph
from noiseflow.models.temporal.temporal_noise import TemporalNoise

__all__ = ["LatentTiles", "fit_parts", "gains", "latent_tiles", "start_part"]

ITERATIONS = 12
"""Default number of iterations of L-BFGS, with up to five evaluations each."""

LEAST_SHARE = 1e-4
"""Smallest variance of a part at its start, as a fraction of the frame's variance."""

LEAST_SIGNAL = 0.01
"""Smallest normalised signal by which a relative σ is divided."""

JUMPS, FRACTIONS = (1.5, 3.0, 8.0), (1e-3, 1e-2, 1e-1)
"""Grid of starts for telegraph pixels: jumps in σ of the frame's noise, and fractions of the pixels."""

GRID_TILES = 4
"""Number of tiles on which the starts of the grid are compared."""


@dataclass(frozen=True, eq=False)
class LatentTiles:
    """Tiles of a sequence, as latents of the frame model.

    Parameters
    ----------
    z : Tensor of float64, shape (B, T, N)
        Latents of T frames with N values.
    cond : Resolved
        Conditions of the static scene.
    sigma : Tensor of float64, shape (B, C, h, w)
        σ of the frame's noise, normalised.
    """

    z: Tensor
    cond: Resolved
    sigma: Tensor

    def of(self, count: int) -> "LatentTiles":
        """The first `count` tiles."""
        cond = self.cond
        part = replace(cond, clean=cond.clean[:count], iso=cond.iso[:count], camera=cond.camera[:count])
        return LatentTiles(self.z[:count], part, self.sigma[:count])

    @property
    def dims(self) -> int:
        """Number of values of a tile over all frames."""
        return self.z[0].numel()


@torch.no_grad()
def latent_tiles(frame: FrameModel, tiles: SequenceTiles) -> LatentTiles:
    """Compute the latents of tiles; all frames have the clean signal of the first."""
    clean = tiles.clean[:, 0]
    cond = checked_conditions(frame, Conditions(clean, tiles.iso, tiles.camera))
    z = [frame.latent(noise.to(cond.clean.dtype), cond).flatten(1).double() for noise in tiles.noise.unbind(1)]
    return LatentTiles(torch.stack(z, 1), cond, sigma_of(frame, cond).double())


def gains(model: TemporalNoise, tiles: LatentTiles) -> Tensor:
    """Gain in log-density of each frame of each tile over independent frames, in nats, shape (B, T)."""
    density = LatentDensity(model, tiles.cond)
    return torch.stack([density.step(z, tiles.cond, tiles.sigma) for z in tiles.z.unbind(1)], 1)


def start_part(model: TemporalNoise, name: str, data: Sequence[LatentTiles]) -> None:
    """Start a part from moments of the latents: the variance of pixel means over time, or of frame means.

    Parts that exist in the dark start from the darkest sequence, parts proportional to light from the brightest.

    Parameters
    ----------
    model : TemporalNoise
        The model; the part is changed.
    name : str
        Name of the part.
    data : sequence of LatentTiles
        The sequences.
    """
    part = model.parts[name]
    ordered = sorted(data, key=lambda tiles: float(tiles.cond.clean.mean()))
    dark, lit = ordered[0], ordered[-1]
    signal = float(lit.cond.clean.mean())
    relative = _sigma(lit) / max(signal, LEAST_SIGNAL)
    starts = {
        "dark_pattern": {"log_sigma": _pixels(dark) * _sigma(dark)},
        "response_pattern": {"log_sigma": _pixels(lit) * relative},
        "black_drift": {"log_sigma": _frames(dark) * _sigma(dark)},
        "light_flicker": {"log_sigma": _frames(lit) * relative},
    }
    with torch.no_grad():
        for parameter, value in starts.get(name, {}).items():
            getattr(part, parameter).fill_(math.log(value))
    if isinstance(part, Telegraph):
        _best_of_grid(model, part, _sigma(dark), data)


@torch.no_grad()
def _best_of_grid(model: TemporalNoise, part: Telegraph, sigma: float, data: Sequence[LatentTiles]) -> None:
    """Start telegraph pixels from the best point of a grid, since their likelihood has several maxima."""

    def place(jump: float, fraction: float) -> float:
        part.log_amplitude.fill_(math.log(jump * sigma))
        part.logit_fraction.fill_(math.log(fraction / (1 - fraction)))
        return sum(float(gains(model, tiles.of(GRID_TILES)).sum()) for tiles in data)

    tried = {(jump, fraction): place(jump, fraction) for jump in JUMPS for fraction in FRACTIONS}
    place(*max(tried, key=lambda each: tried[each]))


def _sigma(tiles: LatentTiles) -> float:
    return float(tiles.sigma.mean())


def _pixels(tiles: LatentTiles) -> float:
    """σ of the pixels' offsets in the latent, by analysis of variance."""
    return float((tiles.z.mean(1).var() - tiles.z.var(1).mean() / tiles.z.shape[1]).clamp(min=LEAST_SHARE).sqrt())


def _frames(tiles: LatentTiles) -> float:
    """σ of the frames' offsets in the latent, by analysis of variance."""
    return float((tiles.z.mean(2).var() - tiles.z.var(1).mean() / tiles.z.shape[2]).clamp(min=LEAST_SHARE).sqrt())


def fit_parts(model: TemporalNoise, data: Sequence[LatentTiles], iterations: int = ITERATIONS) -> float:
    """Maximise the likelihood of sequences over the parameters of all parts; return the gain in nats/dim.

    Parameters
    ----------
    model : TemporalNoise
        The model; the search starts from its parts, and leaves them at the best point.
    data : sequence of LatentTiles
        Latents of the sequences, from the model's frame model.
    iterations : int
        Iterations of L-BFGS.
    """
    parameters = list(model.parts.parameters())
    if not parameters:
        return 0.0
    dims = sum(len(tiles.z) * tiles.dims for tiles in data)
    best: tuple[float, list[Tensor]] = (math.inf, [])
    search = torch.optim.LBFGS(
        parameters, lr=1.0, max_iter=iterations, max_eval=5 * iterations, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        nonlocal best
        search.zero_grad()
        total: Tensor = -sum((gains(model, tiles).sum() for tiles in data), torch.zeros(())) / dims
        if not bool(total.isfinite()):
            return torch.full((), 1e3, dtype=torch.float64)
        # In thousandths of a nat, since L-BFGS stops at a small gradient.
        (1e3 * total).backward()  # type: ignore[no-untyped-call]
        value = float(total.detach())
        if value < best[0]:
            best = value, [parameter.detach().clone() for parameter in parameters]
        return 1e3 * total.detach()

    search.step(loss)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for parameter, value in zip(parameters, best[1], strict=True):
            parameter.copy_(value)
    return -best[0]
