"""Maximum likelihood of a memory's parameters, the frame's model as it is."""

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
"""Iterations of L-BFGS, each of up to five evaluations."""

LEAST_SHARE = 1e-4
"""Least share of the frame's variance at which a part starts."""

LEAST_SIGNAL = 0.01
"""Signal below which a sequence says nothing about the light."""

JUMPS, FRACTIONS = (1.5, 3.0, 8.0), (1e-3, 1e-2, 1e-1)
"""Jumps of telegraph pixels, σ of the frame's noise, and parts of the pixels, at which their fit may start."""

GRID_TILES = 4
"""Tiles that choose among them."""


@dataclass(frozen=True, eq=False)
class LatentTiles:
    """Tiles in the frame model's latent.

    Parameters
    ----------
    z : Tensor of float64, shape (B, T, N)
        Latents.
    cond : Resolved
        Resolved, of the scene, which stands still.
    sigma : Tensor of float64, shape (B, C, h, w)
        σ of the frame's noise.
    """

    z: Tensor
    cond: Resolved
    sigma: Tensor

    def of(self, count: int) -> "LatentTiles":
        """The first tiles."""
        cond = self.cond
        part = replace(cond, clean=cond.clean[:count], iso=cond.iso[:count], camera=cond.camera[:count])
        return LatentTiles(self.z[:count], part, self.sigma[:count])

    @property
    def dims(self) -> int:
        """Dimensions of a tile over all frames."""
        return self.z[0].numel()


@torch.no_grad()
def latent_tiles(frame: FrameModel, tiles: SequenceTiles) -> LatentTiles:
    """Latents of tiles; the scene's own clean signal serves all frames."""
    clean = tiles.clean[:, 0]
    cond = checked_conditions(frame, Conditions(clean, tiles.iso, tiles.camera))
    z = [frame.latent(noise.to(cond.clean.dtype), cond).flatten(1).double() for noise in tiles.noise.unbind(1)]
    return LatentTiles(torch.stack(z, 1), cond, sigma_of(frame, cond).double())


def gains(model: TemporalNoise, tiles: LatentTiles) -> Tensor:
    """What memory adds to the log-density of each tile's frames, nats, (B, T)."""
    density = LatentDensity(model, tiles.cond)
    return torch.stack([density.step(z, tiles.cond, tiles.sigma) for z in tiles.z.unbind(1)], 1)


def start_part(model: TemporalNoise, name: str, data: Sequence[LatentTiles]) -> None:
    """Start a part at moments of the latents: the variance of pixels' means, or that of the frames' means.

    Of the darkest sequence for what is there in the dark, of the brightest for what goes with the light.
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
    """Start telegraph pixels at the best of some jumps and fractions: their likelihood has several maxima."""

    def place(jump: float, fraction: float) -> float:
        part.log_amplitude.fill_(math.log(jump * sigma))
        part.logit_fraction.fill_(math.log(fraction / (1 - fraction)))
        return sum(float(gains(model, tiles.of(GRID_TILES)).sum()) for tiles in data)

    tried = {(jump, fraction): place(jump, fraction) for jump in JUMPS for fraction in FRACTIONS}
    place(*max(tried, key=lambda each: tried[each]))


def _sigma(tiles: LatentTiles) -> float:
    return float(tiles.sigma.mean())


def _pixels(tiles: LatentTiles) -> float:
    """σ of pixels' own offsets in the latent, by analysis of variance."""
    return float((tiles.z.mean(1).var() - tiles.z.var(1).mean() / tiles.z.shape[1]).clamp(min=LEAST_SHARE).sqrt())


def _frames(tiles: LatentTiles) -> float:
    """σ of frames' offsets in the latent, likewise."""
    return float((tiles.z.mean(2).var() - tiles.z.var(1).mean() / tiles.z.shape[2]).clamp(min=LEAST_SHARE).sqrt())


def fit_parts(model: TemporalNoise, data: Sequence[LatentTiles], iterations: int = ITERATIONS) -> float:
    """Maximise the likelihood of some sequences by the parameters of the parts; returns the gain, nats/dim.

    Parameters
    ----------
    model : TemporalNoise
        Its parts are where the search starts; they are left at the best point.
    data : sequence of LatentTiles
        Latents of the sequences under the model's frame model.
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
        # In thousandths of a nat: L-BFGS stops by the size of a gradient.
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
