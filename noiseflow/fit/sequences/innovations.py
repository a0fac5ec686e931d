"""A law for what the other parts leave of each frame: fitted to their innovations, kept where held-out tiles gain."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from noiseflow.core.errors import DataError
from noiseflow.fit.sequences.fit_parts import LatentTiles
from noiseflow.fit.sequences.part_trials import JUMPING, LEAST, SURE, Build, Trial, gain_of, gain_per_tile
from noiseflow.fit.sequences.tiles import LEAST_FRAMES
from noiseflow.models.model import build
from noiseflow.models.temporal.part import InnovationPart, PixelPart
from noiseflow.models.temporal.sequence_density import LatentDensity
from noiseflow.models.temporal.temporal_noise import PATTERN, TemporalNoise, temporal_spec

__all__ = ["innovations", "try_innovations", "with_innovations"]

MOST_VALUES = 1 << 18
"""Innovations that a fit reads at most, of the first tiles of each sequence."""

ITERATIONS = 80
"""Iterations of L-BFGS."""


def try_innovations(
    model: TemporalNoise,
    name: str,
    with_parts: Build,
    data: Sequence[LatentTiles],
    held_out: Sequence[LatentTiles],
) -> tuple[TemporalNoise, Trial]:
    """The model with a law for its innovations, if held-out tiles surely gain by it; else as it is.

    Telegraph pixels, which can be all pixels where they stand in for such a law, may go for it at once.  Other parts
    that described something of it, and without which held-out tiles lose nothing for sure, go after, but no
    pattern that is `_there`: a law of the last frames can stand in for it in part, and means of many frames would come
    out wrong.  The trial has the gain of the model that is returned.

    Parameters
    ----------
    model : TemporalNoise
        Fitted model of the other parts.
    name : str
        An `InnovationPart`.
    with_parts : Build
        Fits the other parts as thoroughly as those of `model` were: what it returns is compared with that, and kept.
    data, held_out : sequence of LatentTiles
        Tiles to fit to, and tiles that judge.
    """

    def difference(one: TemporalNoise, other: TemporalNoise) -> tuple[float, float]:
        return gain_of(gain_per_tile(one, held_out) - gain_per_tile(other, held_out), held_out)

    bases = [model]
    if model.telegraph is not None:
        bases.append(with_parts([each for each in model.parts if each != JUMPING], model))
    tried = [with_innovations(base, name, data) for base in bases]
    candidate = max(tried, key=lambda each: difference(each, model)[0])
    gain, error = difference(candidate, model)
    if gain <= max(LEAST, SURE * error):
        return model, Trial(name, gain, error, kept=False)
    patterned = _there(held_out)
    for part in [each for each in candidate.parts if each != name]:
        if patterned and isinstance(candidate.parts[part], PixelPart):
            continue
        others = [each for each in candidate.parts if each not in (part, name)]
        without = with_innovations(with_parts(others, candidate), name, data)
        lost, uncertain = difference(candidate, without)
        left, left_error = difference(without, model)
        # Losses that are not sure one by one may add up to all of the gain.
        if lost <= max(LEAST, SURE * uncertain) and left > max(LEAST, SURE * left_error):
            candidate, gain, error = without, left, left_error
    return candidate, Trial(name, gain, error, kept=True)


def _there(held_out: Sequence[LatentTiles]) -> bool:
    """Whether frames far apart surely share a pattern: means of the first and of the last third of them correlate."""
    products = []
    for tiles in held_out:
        third = max(1, tiles.z.shape[1] // 3)
        products.append((tiles.z[:, :third].mean(1) * tiles.z[:, -third:].mean(1)).double().flatten(1).mean(1))
    each = torch.cat(products)
    return len(each) > 1 and float(each.mean()) > SURE * float(each.std()) / math.sqrt(len(each))


def with_innovations(model: TemporalNoise, name: str, data: Sequence[LatentTiles]) -> TemporalNoise:
    """The model with a law for its innovations, fitted to those of the tiles; its other parts stay as they are.

    Raises
    ------
    DataError
        Tiles of one frame: nothing is new given the frames before.
    """
    if any(tiles.z.shape[1] < LEAST_FRAMES for tiles in data):
        raise DataError(f"{name}: got tiles of one frame; expected {LEAST_FRAMES} frames or more of one scene")
    pattern = PATTERN[1 if model.adds_pattern else 0]
    made = build(temporal_spec(model.frame.spec, [*model.parts, name], pattern))
    assert isinstance(made, TemporalNoise)
    made.frame.load_state_dict(model.frame.state_dict())
    for each, part in model.parts.items():
        made.parts[each].load_state_dict(part.state_dict())
    made.requires_grad_(False)
    _fit(made, data)
    return made


@torch.no_grad()
def innovations(model: TemporalNoise, tiles: LatentTiles) -> Tensor:
    """What the parts of a model with an `InnovationPart` leave of each frame given those before, (B, T, C, h, w)."""
    density = LatentDensity(model, tiles.cond)
    found = []
    for z in tiles.z.unbind(1):
        density.step(z, tiles.cond, tiles.sigma)
        assert density.innovation is not None
        found.append(density.innovation)
    return torch.stack(found, 1)


def _fit(model: TemporalNoise, data: Sequence[LatentTiles]) -> None:
    """Maximise the likelihood of the innovations of some tiles by the parameters of their law."""
    part = model.innovation_part
    assert part is not None
    share = MOST_VALUES // len(data)
    some = [tiles.of(max(1, min(len(tiles.z), share // tiles.dims))) for tiles in data]
    values = [innovations(model, tiles) for tiles in some]
    dims = sum(w.numel() for w in values)
    part.requires_grad_(True)
    parameters = list(part.parameters())
    best: tuple[float, list[Tensor]] = (math.inf, [])
    search = torch.optim.LBFGS(
        parameters, lr=1.0, max_iter=ITERATIONS, max_eval=2 * ITERATIONS, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        nonlocal best
        search.zero_grad()
        gains = [_gain(part, w, part.amount(tiles.cond)) for w, tiles in zip(values, some, strict=True)]
        # In thousandths of a nat: L-BFGS stops by the size of a gradient.
        total = -1e3 * torch.stack(gains).sum() / dims
        total.backward()  # type: ignore[no-untyped-call]
        value = float(total.detach())
        if value < best[0]:
            best = value, [parameter.detach().clone() for parameter in parameters]
        return total.detach()

    search.step(loss)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for parameter, value in zip(parameters, best[1], strict=True):
            parameter.copy_(value)


def _gain(part: InnovationPart, w: Tensor, amount: Tensor) -> Tensor:
    """Sum of the gains of innovations (B, T, C, h, w): all frames at once, for each one's past is known."""
    pasts: list[Tensor] = []
    for frame in w[:, :-1].unbind(1):
        pasts.append(part.remember(pasts[-1] if pasts else None, frame, frame.square()))
    frames = torch.stack(pasts, 1).flatten(0, 1)
    return part.gain(frames, w[:, 1:].flatten(0, 1), amount.repeat_interleave(w.shape[1] - 1)).sum()
