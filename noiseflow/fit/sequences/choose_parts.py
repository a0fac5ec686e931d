"""Which parts of a memory held-out tiles pay for."""

import copy
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from noiseflow.core.errors import DataError
from noiseflow.core.progress import Progress, silent
from noiseflow.fit.sequences.fit_parts import LatentTiles, fit_parts, gains, latent_tiles, start_part
from noiseflow.fit.sequences.tiles import SequenceTiles
from noiseflow.models.model import NoiseModel, build
from noiseflow.models.temporal.frame_latent import as_frame_model
from noiseflow.models.temporal.part import PixelPart
from noiseflow.models.temporal.registry import PARTS
from noiseflow.models.temporal.temporal_noise import PATTERN, TemporalNoise, temporal_spec

__all__ = ["LEAST", "TemporalFit", "Trial", "fit_temporal"]

LEAST = 1e-5
"""Least gain on held-out tiles that a part is kept for, nats/dim: a pattern of 0.1 % of the variance is worth that in
fifty frames, and stops their averaging early."""

FINAL = 40
"""Iterations of the last fit, of all parts that were kept."""

SURE = 3.0
"""Standard errors that it must be, too, or else"""

CHANCE = 1e-3
"""so unlikely by chance in the signs and ranks of the tiles' gains, which a few hot pixels do not blur."""


@dataclass(frozen=True)
class Trial:
    """One part that was tried.

    Parameters
    ----------
    part : str
        Its name.
    gain, error : float
        Gain on held-out tiles over the parts before it, and its standard error, nats/dim.
    kept : bool
        Whether it was kept.
    """

    part: str
    gain: float
    error: float
    kept: bool


@dataclass(frozen=True, eq=False)
class TemporalFit:
    """A fitted model, and how its parts were chosen.

    Parameters
    ----------
    model : TemporalNoise
        The model.
    trials : tuple of Trial
        In the order of the trials.
    gain, error : float
        Gain on held-out tiles over independent frames, and its standard error, infinite of one tile, nats/dim.
    notes : tuple of str
        Sentences for the user.
    """

    model: TemporalNoise
    trials: tuple[Trial, ...]
    gain: float
    error: float
    notes: tuple[str, ...] = field(default=())

    def record(self) -> str:
        """JSON for a run folder's ``fit.json``."""
        trials = [{**vars(trial), "error": _or_none(trial.error)} for trial in self.trials]
        own = {"gain_nats_per_dim": self.gain, "error": _or_none(self.error), "notes": list(self.notes)}
        return json.dumps({"parts": trials, **own}, indent=2, allow_nan=False) + "\n"


def fit_temporal(
    frame: NoiseModel,
    sequences: Sequence[SequenceTiles],
    parts: Sequence[str] | None = None,
    progress: Progress = silent,
) -> TemporalFit:
    """Fit a memory around a frame's model, to every other tile of some sequences; the others choose its parts.

    One part after the other is added, each time the one that held-out tiles gain most by, as long as that is more
    than `LEAST` and no chance: `SURE` standard errors, or `CHANCE` by Wilcoxon's signed ranks.

    Parameters
    ----------
    frame : NoiseModel
        Fitted model of a frame; it stays as it is.
    sequences : sequence of SequenceTiles
        Sequences of scenes that stand still.
    parts : sequence of str, optional
        Parts to fit, all of them; chosen by the data if None.
    progress : Progress
        Called after each trial.

    Raises
    ------
    DataError
        No sequence, or parts of pixels wanted where the scene is not known.
    ModelError
        A model without a latent, or a camera that it does not know.
    """
    inner = as_frame_model(frame).eval()
    if not sequences:
        raise DataError("sequences: expected at least one; got none")
    halves = [tiles.halves() for tiles in sequences]
    fitted, held_out = ([latent_tiles(inner, each[side]) for each in halves] for side in (0, 1))
    able, notes = _able(sequences, parts)
    pattern = _pattern(fitted)
    if pattern == "added" and any(issubclass(PARTS[name], PixelPart) for name in able):
        notes.append("the frame's model was fitted to noise without the fixed pattern, which is added to it")

    def with_parts(names: Sequence[str], start: TemporalNoise | None) -> TemporalNoise:
        return _fitted(inner, names, pattern, start, fitted)

    if parts is not None:
        model = with_parts(able, None)
        trials: tuple[Trial, ...] = ()
    else:
        model, trials = _chosen(with_parts, able, held_out, progress)
    fit_parts(model, fitted, FINAL)
    gain, error = _gain(_per_tile(model, held_out), held_out)
    return TemporalFit(model.eval(), trials, gain, error, tuple(notes))


def _able(sequences: Sequence[SequenceTiles], parts: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """Parts that can be identified from these sequences, and why others cannot."""
    names = list(PARTS) if parts is None else list(parts)
    notes = []
    if any(tiles.scene == "static" for tiles in sequences):
        own = [name for name in names if issubclass(PARTS[name], PixelPart)]
        if own and parts is not None:
            raise DataError(
                f"{own[0]}: a pattern that stays cannot be told from a scene that stays; give flats or a clean twin"
            )
        names = [name for name in names if name not in own]
        notes.append("the scene is not known, so the sensor's fixed pattern was not looked for: give flats or darks")
    if all(float(tiles.clean.max()) <= DARK for tiles in sequences):
        lit = [name for name in names if name in OF_LIGHT]
        names = [name for name in names if name not in lit] if parts is None else names
        notes.extend(f"{name}: not looked for in darks" for name in lit if parts is None)
    return names, notes


DARK = 0.01
"""Signal up to which a sequence is dark."""

OF_LIGHT = "response_pattern", "light_flicker"
"""Parts that go with the signal."""


def _pattern(data: Sequence[LatentTiles]) -> str:
    """Whether the frame's model has the pattern in its variance: which is nearer to 1, all of it or that in time."""
    whole = sum(float(tiles.z.square().mean()) for tiles in data) / len(data)
    in_time = sum(float(tiles.z.var(1).mean()) for tiles in data) / len(data)
    return PATTERN[abs(math.log(in_time)) < abs(math.log(whole))]


def _fitted(
    frame: NoiseModel, names: Sequence[str], pattern: str, start: TemporalNoise | None, data: Sequence[LatentTiles]
) -> TemporalNoise:
    """The parts of that name, fitted; those of `start` begin where it ended, the others at moments."""
    model = build(temporal_spec(frame.spec, names, pattern))
    assert isinstance(model, TemporalNoise)
    model.frame.load_state_dict(frame.state_dict())
    model.frame.requires_grad_(False)
    for name in model.parts:
        if start is not None and name in start.parts:
            model.parts[name].load_state_dict(start.parts[name].state_dict())
        else:
            start_part(model, name, data)
    fit_parts(model, data)
    return model


def _chosen(
    with_parts: Callable[[Sequence[str], TemporalNoise | None], TemporalNoise],
    able: Sequence[str],
    held_out: Sequence[LatentTiles],
    progress: Progress,
) -> tuple[TemporalNoise, tuple[Trial, ...]]:
    """Add the part that gains most, as long as one gains enough."""
    model = with_parts((), None)
    best = torch.zeros_like(_per_tile(model, held_out))
    trials: list[Trial] = []
    rest, done, most = list(able), 0, len(able) * (len(able) + 1) // 2
    while rest:
        tried = []
        for name in rest:
            candidate = with_parts([*model.parts, name], model)
            values = _per_tile(candidate, held_out)
            tried.append((name, candidate, values, *_gain(values - best, held_out)))
            done += 1
            progress(done, most, name)
        sure = [each for each in tried if each[3] > LEAST and _sure(each[2] - best, each[3], each[4])]
        if not sure:
            trials += [Trial(each[0], each[3], each[4], kept=False) for each in tried]
            break
        name, model, best, gain, error = max(sure, key=lambda each: each[3])
        trials.append(Trial(name, gain, error, kept=True))
        # What gained nothing now gains nothing later.
        rest = [each[0] for each in tried if each[0] != name and each[3] > 0]
        trials += [Trial(each[0], each[3], each[4], kept=False) for each in tried if each[3] <= 0]
    progress(most, most, "")
    return copy.deepcopy(model), tuple(trials)


def _or_none(error: float) -> float | None:
    return error if math.isfinite(error) else None


def _sure(values: torch.Tensor, gain: float, error: float) -> bool:
    """Whether tiles gain by more than chance.

    References
    ----------
    Wilcoxon: Individual comparisons by ranking methods, Biometrics Bulletin 1, 1945.
    """
    if gain > SURE * error:
        return True
    from scipy.stats import wilcoxon

    return bool((values != 0).any()) and float(wilcoxon(values.numpy(), alternative="greater").pvalue) < CHANCE


@torch.no_grad()
def _per_tile(model: TemporalNoise, data: Sequence[LatentTiles]) -> torch.Tensor:
    """Gain of each tile of all sequences over independent frames, nats."""
    return torch.cat([gains(model, tiles).sum(1) for tiles in data])


def _gain(values: torch.Tensor, data: Sequence[LatentTiles]) -> tuple[float, float]:
    """Mean of tiles' gains and its standard error, nats/dim; sequences are strata, for a part may be in some only."""
    total = sum(len(tiles.z) * tiles.dims for tiles in data)
    square = 0.0
    for each in torch.split(values, [len(tiles.z) for tiles in data]):
        square += len(each) * float(each.var()) if len(each) > 1 else math.inf
    return float(values.sum()) / total, square**0.5 / total
