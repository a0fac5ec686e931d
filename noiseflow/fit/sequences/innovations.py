"""Fit an `InnovationPart`, the distribution of what the other parts leave of each frame, and decide whether it pays."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from noiseflow.core.errors import DataError
from noiseflow.fit.sequences.distant_frames import has_pattern
from noiseflow.fit.sequences.fit_parts import LatentTiles
from noiseflow.fit.sequences.part_trials import JUMPING, LEAST, SURE, Build, Trial, gain_of, gain_per_tile
from noiseflow.fit.sequences.tiles import LEAST_FRAMES
from noiseflow.models.model import build
from noiseflow.models.temporal.part import InnovationPart, PixelPart
from noiseflow.models.temporal.registry import PARTS
from noiseflow.models.temporal.sequence_density import LatentDensity
from noiseflow.models.temporal.temporal_noise import PATTERN, TemporalNoise, temporal_spec

__all__ = ["innovations", "try_innovations", "with_innovations"]

MOST_VALUES = 1 << 18
"""Largest number of innovations that a fit reads, from the first tiles of each sequence."""

PRIOR = 1.0
"""σ of the change of a law's parameters from their start."""

ITERATIONS = 80
"""Iterations of L-BFGS."""


def try_innovations(
    model: TemporalNoise,
    name: str,
    with_parts: Build,
    data: Sequence[LatentTiles],
    held_out: Sequence[LatentTiles],
) -> tuple[TemporalNoise, Trial]:
    """Add an innovation part to a model if its gain on held-out tiles is significant.

    The part is tried with and without telegraph pixels, which may have imitated it.  Then other parts are removed if
    held-out tiles do not lose significantly without them.  A pattern that is significantly present (`has_pattern`) is
    never removed: a distribution given the last frames can imitate it in part, but means of many frames would be
    wrong.

    Parameters
    ----------
    model : TemporalNoise
        Fitted model of the other parts.
    name : str
        Name of an `InnovationPart`.
    with_parts : Build
        Fits other parts as thoroughly as those of `model`, since its results are compared with it and may be kept.
    data, held_out : sequence of LatentTiles
        Tiles to fit, and tiles to decide by.

    Returns
    -------
    model : TemporalNoise
        The extended model, or the given one.
    trial : Trial
        Gain of the extended model over the given one, and whether it is returned.
    """

    def difference(one: TemporalNoise, other: TemporalNoise) -> tuple[float, float]:
        return gain_of(gain_per_tile(one, held_out) - gain_per_tile(other, held_out), held_out)

    def refitted(names: Sequence[str], start: TemporalNoise) -> TemporalNoise:
        """The named parts and the law, fitted one after the other."""
        laws = [each for each in PARTS if each in names and issubclass(PARTS[each], InnovationPart)]
        found = with_parts([each for each in names if each not in laws], start)
        for law in laws:
            found = with_innovations(found, law, data)
        return found

    tried = [with_innovations(model, name, data)]
    if model.telegraph is not None:
        tried.append(refitted([*(each for each in model.parts if each != JUMPING), name], model))
    candidate = max(tried, key=lambda each: difference(each, model)[0])
    gain, error = difference(candidate, model)
    if gain <= max(LEAST, SURE * error):
        return model, Trial(name, gain, error, kept=False)
    patterned = has_pattern(held_out)
    for part in [each for each in candidate.parts if each != name]:
        if patterned and isinstance(candidate.parts[part], PixelPart):
            continue
        without = refitted([each for each in candidate.parts if each != part], candidate)
        lost, uncertain = difference(candidate, without)
        left, left_error = difference(without, model)
        # Also require that the remaining gain is significant: small losses may add up.
        if lost <= max(LEAST, SURE * uncertain) and left > max(LEAST, SURE * left_error):
            candidate, gain, error = without, left, left_error
    return candidate, Trial(name, gain, error, kept=True)


def with_innovations(model: TemporalNoise, name: str, data: Sequence[LatentTiles]) -> TemporalNoise:
    """Add an innovation part to a model and fit it to the innovations of tiles; the other parts do not change.

    Parameters
    ----------
    model : TemporalNoise
        Fitted model of the other parts.
    name : str
        Name of an `InnovationPart`.
    data : sequence of LatentTiles
        Tiles to fit.

    Raises
    ------
    DataError
        If tiles have a single frame.
    """
    if any(tiles.z.shape[1] < LEAST_FRAMES for tiles in data):
        raise DataError(f"{name}: got tiles with one frame; expected at least {LEAST_FRAMES} frames of one scene")
    pattern = PATTERN[1 if model.adds_pattern else 0]
    made = build(temporal_spec(model.frame.spec, [*model.parts, name], pattern))
    assert isinstance(made, TemporalNoise)
    made.frame.load_state_dict(model.frame.state_dict())
    for each, part in model.parts.items():
        made.parts[each].load_state_dict(part.state_dict())
    made.requires_grad_(False)
    _fit(made, name, data)
    return made


@torch.no_grad()
def innovations(model: TemporalNoise, name: str, tiles: LatentTiles) -> Tensor:
    """What the other parts leave of each frame of tiles, given earlier frames, as coefficients of a law.

    Parameters
    ----------
    model : TemporalNoise
        A model with an `InnovationPart`.
    name : str
        Name of this part.
    tiles : LatentTiles
        The tiles.

    Returns
    -------
    Tensor, shape (B, T, C, h, w)
        Innovations of the pixels, or of blocks for a law of blocks.
    """
    density = LatentDensity(model, tiles.cond)
    found = []
    for z in tiles.z.unbind(1):
        density.step(z, tiles.cond, tiles.sigma)
        given = density.laws[name].given
        assert given is not None
        found.append(given)
    return torch.stack(found, 1)


def _fit(model: TemporalNoise, name: str, data: Sequence[LatentTiles]) -> None:
    """Maximise the likelihood of the innovations of tiles over the parameters of one of the model's laws.

    Each parameter has a normal prior around its start with σ = `PRIOR`, so that a few blocks are not overfitted.
    """
    part = model.parts[name]
    assert isinstance(part, InnovationPart)
    # Tiles of a law of blocks have few coefficients: it gets them all.
    share = MOST_VALUES // len(data) if part.of_pixels else sum(len(tiles.z) * tiles.dims for tiles in data)
    some = [tiles.of(max(1, min(len(tiles.z), share // tiles.dims))) for tiles in data]
    values = [innovations(model, name, tiles) for tiles in some]
    dims = sum(w.numel() for w in values)
    part.requires_grad_(True)
    parameters = list(part.parameters())
    starts = [parameter.detach().clone() for parameter in parameters]
    best: tuple[float, list[Tensor]] = (math.inf, [])
    search = torch.optim.LBFGS(
        parameters, lr=1.0, max_iter=ITERATIONS, max_eval=2 * ITERATIONS, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        nonlocal best
        search.zero_grad()
        gains = [_gain(part, w, part.amount(tiles.cond)) for w, tiles in zip(values, some, strict=True)]
        moved = [(each - start).square().sum() for each, start in zip(parameters, starts, strict=True)]
        prior = 0.5 * torch.stack(moved).sum() / PRIOR**2
        # In thousandths of a nat, since L-BFGS stops at a small gradient.
        total = 1e3 * (prior - torch.stack(gains).sum()) / dims
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
    """Total gain of innovations (B, T, C, h, w) in nats; all frames are evaluated at once, since the past is known."""
    pasts: list[Tensor] = []
    for frame in w[:, :-1].unbind(1):
        pasts.append(part.remember(pasts[-1] if pasts else None, frame, frame.square()))
    frames = torch.stack(pasts, 1).flatten(0, 1)
    return part.gain(frames, w[:, 1:].flatten(0, 1), amount.repeat_interleave(w.shape[1] - 1)).sum()
