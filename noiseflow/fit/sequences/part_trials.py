"""Try the parts of a model of noise in time one by one, and keep those with a gain on held-out tiles."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from noiseflow.core.progress import Progress
from noiseflow.fit.sequences.distant_frames import keeps_averages
from noiseflow.fit.sequences.fit_parts import LatentTiles, gains
from noiseflow.models.temporal.part import PixelPart
from noiseflow.models.temporal.registry import PARTS
from noiseflow.models.temporal.temporal_noise import TemporalNoise

__all__ = ["JUMPING", "LEAST", "SURE", "Build", "Trial", "choose", "gain_of", "gain_per_tile"]

LEAST = 1e-5
"""Smallest gain on held-out tiles for which a part is kept, nats/dim.  A pattern with 0.1 % of the variance gains this
much in fifty frames; without it, averaging frames would seem to work better than it does."""

SURE = 3.0
"""The gain must also exceed this many standard errors, or be significant by ranks: see `CHANCE`."""

CHANCE = 1e-3
"""Largest p-value of a gain by the signs and ranks of the tiles' gains, which a few hot pixels do not affect."""


FEWEST_FRAMES = 4
"""Smallest number of frames for the test of `_mean_stands_out`."""

JUMPING = "telegraph"
"""The part that is tried last, and whose gain must depend on the order of the frames."""

Build = Callable[[Sequence[str], TemporalNoise | None], TemporalNoise]
"""(names of parts, start) → model with these parts, fitted from the parts of the start."""


@dataclass(frozen=True)
class Trial:
    """The trial of one part.

    Parameters
    ----------
    part : str
        Name of the part.
    gain, error : float
        Gain on held-out tiles over the parts before it, and its standard error, nats/dim.
    kept : bool
        Whether the part was kept.
    """

    part: str
    gain: float
    error: float
    kept: bool


@dataclass(frozen=True, eq=False)
class _State:
    """State of the choice of parts.

    Parameters
    ----------
    model : TemporalNoise
        Model with the parts kept so far.
    per_tile : Tensor, shape (tiles,)
        Gain of each held-out tile over independent frames, nats.
    trials : tuple of Trial
        Trials so far, in order.
    """

    model: TemporalNoise
    per_tile: torch.Tensor
    trials: tuple[Trial, ...] = ()

    @property
    def has_pattern(self) -> bool:
        return bool(self.model.pixel_parts)


def choose(
    with_parts: Build, able: Sequence[str], held_out: Sequence[LatentTiles], progress: Progress
) -> tuple[TemporalNoise, tuple[Trial, ...]]:
    """Add parts to a model as long as they gain significantly on held-out tiles.

    Patterns, drift and flicker are tried first.  In each round the part with the largest gain is added, if that
    exceeds `LEAST` and is significant: more than `SURE` standard errors, or below `CHANCE` by Wilcoxon's signed ranks.
    The first pattern need not be significant by the likelihood, which gains little from a faint pattern in few
    frames: it is enough that the mean of held-out frames has significantly more power than other combinations.

    Telegraph pixels are tried last.  A mixture of levels can describe any noise that is not normal, such as codes with
    less than one bit of noise, and would imitate a pattern.  So their gain on shuffled frames, where jumps
    have no order, is subtracted, at least one must be expected in the tiles, and they must not take so much of the
    pattern that frames far apart share less than they do in the data (`keeps_averages`).  Parts that they make
    superfluous are removed.

    Parameters
    ----------
    with_parts : Build
        Fits candidates.
    able : sequence of str
        Names of the parts that can be identified from these sequences.
    held_out : sequence of LatentTiles
        Held-out tiles.
    progress : Progress
        Called after each trial.

    Returns
    -------
    model : TemporalNoise
        Model with the parts that were kept.
    trials : tuple of Trial
        All trials, in order.
    """
    model = with_parts((), None)
    state = _State(model, torch.zeros_like(gain_per_tile(model, held_out)))
    linear = [name for name in able if name != JUMPING]
    done, most = 0, len(linear) * (len(linear) + 1) // 2 + (JUMPING in able)
    while linear:
        tried = []
        for name in linear:
            candidate = with_parts([*state.model.parts, name], state.model)
            per_tile = gain_per_tile(candidate, held_out)
            step = per_tile - state.per_tile
            tried.append((Trial(name, *gain_of(step, held_out), kept=False), candidate, per_tile, step))
            done += 1
            progress(done, most, name)
        sure = [
            each
            for each in tried
            if each[0].gain > LEAST
            and (_sure(each[3], each[0].gain, each[0].error) or _lasting(each[0].part, state, held_out))
        ]
        if not sure:
            state = replace(state, trials=(*state.trials, *(each[0] for each in tried)))
            break
        best = max(sure, key=lambda each: each[0].gain)
        kept = replace(best[0], kept=True)
        # Parts without any gain are not tried again.
        over = [each[0] for each in tried if each is not best and each[0].gain <= 0]
        linear = [each[0].part for each in tried if each is not best and each[0].gain > 0]
        state = _State(best[1], best[2], (*state.trials, kept, *over))
    if JUMPING in able:
        progress(most, most, JUMPING)
        state = _with_jumps(state, with_parts, held_out)
    progress(most, most, "")
    return copy.deepcopy(state.model), state.trials


def _with_jumps(state: _State, with_parts: Build, held_out: Sequence[LatentTiles]) -> _State:
    """Add telegraph pixels if the order of the frames gains by them, and remove the parts that they replace."""
    candidate = with_parts([*state.model.parts, JUMPING], state.model)
    per_tile = gain_per_tile(candidate, held_out)
    step = per_tile - state.per_tile
    trial = Trial(JUMPING, *gain_of(step, held_out), kept=False)
    mixed = [_shuffled(tiles) for tiles in held_out]
    in_order = step - (gain_per_tile(candidate, mixed) - gain_per_tile(state.model, mixed))
    ordered = gain_of(in_order, held_out)
    worth = trial.gain > LEAST and _sure(step, trial.gain, trial.error)
    worth = worth and _some_jump(candidate, held_out) and keeps_averages(candidate, state.model, held_out)
    if not (worth and ordered[0] > LEAST and _sure(in_order, *ordered)):
        return replace(state, trials=(*state.trials, trial))
    trials = (*state.trials, replace(trial, kept=True))
    state = _State(candidate, per_tile, trials)
    for name in [each for each in state.model.parts if each != JUMPING]:
        without = with_parts([each for each in state.model.parts if each != name], state.model)
        values = gain_per_tile(without, held_out)
        loss = state.per_tile - values
        lost, error = gain_of(loss, held_out)
        if lost > LEAST and _sure(loss, lost, error):
            continue
        dropped = tuple(replace(each, kept=each.kept and each.part != name) for each in state.trials)
        state = _State(without, values, dropped)
    return state


@torch.no_grad()
def _some_jump(model: TemporalNoise, held_out: Sequence[LatentTiles]) -> bool:
    """Whether telegraph pixels are expected in the tiles; the variance of one in a billion may serve to fit another."""
    assert model.telegraph is not None
    counts = [model.telegraph.fraction(tiles.cond) * tiles.z.shape[2] for tiles in held_out]
    return float(torch.cat(counts).sum()) >= 1


def _shuffled(tiles: LatentTiles) -> LatentTiles:
    """Put the frames in a random order."""
    order = torch.randperm(tiles.z.shape[1], generator=torch.Generator().manual_seed(1))
    return replace(tiles, z=tiles.z[:, order])


def _lasting(part: str, state: _State, held_out: Sequence[LatentTiles]) -> bool:
    """Whether a part would be the first pattern, and held-out pixels have a significant constant offset.

    T frames have T orthonormal combinations, one of which is their mean.  All have the same power if the frames are
    independent, even if pixels within a frame are correlated.
    """
    if state.has_pattern or not issubclass(PARTS[part], PixelPart):
        return False
    return any(_mean_stands_out(tiles.z) for tiles in held_out)


def _mean_stands_out(z: torch.Tensor) -> bool:
    """Whether the mean of frames z, (B, T, N), has significantly more power than other combinations, by Student's t."""
    from scipy.stats import t as student

    frames = z.shape[1]
    if frames < FEWEST_FRAMES:
        return False
    number = torch.arange(frames, dtype=z.dtype)
    waves = torch.cos(math.pi / frames * (number[None] + 0.5) * number[:, None])
    waves = waves / waves.norm(dim=1, keepdim=True)
    # Remove the mean of each frame, which is not a pattern.
    centred = z - z.mean((0, 2), keepdim=True)
    power = torch.stack([torch.einsum("t,btn->bn", wave, centred).square().mean() for wave in waves])
    others = power[1:]
    excess = float(power[0] - others.mean()) / (float(others.std()) * (1 + 1 / len(others)) ** 0.5)
    return bool(excess > student.isf(CHANCE, len(others) - 1))


def _sure(values: torch.Tensor, gain: float, error: float) -> bool:
    """Whether the gain of tiles is significant.

    References
    ----------
    Wilcoxon: Individual comparisons by ranking methods, Biometrics Bulletin 1, 1945.
    """
    if gain > SURE * error:
        return True
    from scipy.stats import wilcoxon

    return bool((values != 0).any()) and float(wilcoxon(values.numpy(), alternative="greater").pvalue) < CHANCE


@torch.no_grad()
def gain_per_tile(model: TemporalNoise, data: Sequence[LatentTiles]) -> torch.Tensor:
    """Gain of each tile of all sequences over independent frames, in nats, shape (tiles,)."""
    return torch.cat([gains(model, tiles).sum(1) for tiles in data])


def gain_of(values: torch.Tensor, data: Sequence[LatentTiles]) -> tuple[float, float]:
    """Mean gain of tiles and its standard error, nats/dim; sequences are strata, since a part may be in only some.

    Parameters
    ----------
    values : Tensor, shape (tiles,)
        Gain of each tile, nats.
    data : sequence of LatentTiles
        The sequences of the tiles, in the same order.
    """
    total = sum(len(tiles.z) * tiles.dims for tiles in data)
    square = 0.0
    for each in torch.split(values, [len(tiles.z) for tiles in data]):
        square += len(each) * float(each.var()) if len(each) > 1 else math.inf
    return float(values.sum()) / total, square**0.5 / total
