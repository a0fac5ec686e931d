"""Fit a model of noise in time, and choose its parts by their gain on held-out tiles."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from noiseflow.core.errors import DataError
from noiseflow.core.progress import Progress, silent
from noiseflow.fit.sequences.fit_parts import LatentTiles, fit_parts, latent_tiles, start_part
from noiseflow.fit.sequences.innovations import try_innovations, with_innovations
from noiseflow.fit.sequences.part_trials import Trial, choose, gain_of, gain_per_tile
from noiseflow.fit.sequences.tiles import DARK, LEAST_FRAMES, SequenceTiles
from noiseflow.models.model import NoiseModel, build
from noiseflow.models.temporal.frame_latent import as_frame_model
from noiseflow.models.temporal.part import InnovationPart, PixelPart
from noiseflow.models.temporal.registry import PARTS
from noiseflow.models.temporal.temporal_noise import PATTERN, TemporalNoise, temporal_spec

__all__ = ["TemporalFit", "fit_temporal"]

FINAL = 40
"""Iterations of the final fit of all kept parts, before an `InnovationPart` is tried."""


@dataclass(frozen=True, eq=False)
class TemporalFit:
    """A fitted model of noise in time, and how its parts were chosen.

    Parameters
    ----------
    model : TemporalNoise
        The model.
    trials : tuple of Trial
        All trials, in order.
    gain, error : float
        Gain on held-out tiles over independent frames, and its standard error, nats/dim; with one tile the error is
        infinite.
    notes : tuple of str
        Remarks for the user.
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
    """Fit a model of noise in time around a model of single frames.

    Every other tile is used to fit, the other tiles to choose the parts, by the rule of `part_trials.choose`.  Last,
    each `InnovationPart`, which models what the other parts leave, is tried; it is kept if its held-out gain exceeds
    three standard errors.

    Parameters
    ----------
    frame : NoiseModel
        Fitted model of single frames; it is not changed.
    sequences : sequence of SequenceTiles
        Sequences of static scenes.
    parts : sequence of str, optional
        Names of the parts to fit; by default the data choose.
    progress : Progress
        Called after each trial.

    Raises
    ------
    DataError
        If there is no sequence, a sequence has a single frame, or `parts` cannot be identified without knowing the
        scene.
    ModelError
        If the model has no latent, or does not know a camera.
    """
    inner = as_frame_model(frame).eval()
    if not sequences:
        raise DataError("sequences: expected at least one; got none")
    for tiles in sequences:
        if tiles.frames < LEAST_FRAMES:
            raise DataError(
                f"{tiles.source}: has {tiles.frames} frame; noise in time needs at least {LEAST_FRAMES} frames of one "
                "scene"
            )
    halves = [tiles.halves() for tiles in sequences]
    fitted, held_out = ([latent_tiles(inner, each[side]) for each in halves] for side in (0, 1))
    able, notes = _able(sequences, parts)
    pattern = _pattern(fitted)
    if pattern == "added" and any(issubclass(PARTS[name], PixelPart) for name in able):
        notes.append("the model of single frames does not include the fixed pattern, so the pattern is added to it")

    def with_parts(names: Sequence[str], start: TemporalNoise | None) -> TemporalNoise:
        return _fitted(inner, names, pattern, start, fitted)

    def to_the_end(names: Sequence[str], start: TemporalNoise | None) -> TemporalNoise:
        found = with_parts(names, start)
        fit_parts(found, fitted, FINAL)
        return found

    last = [name for name in PARTS if name in able and issubclass(PARTS[name], InnovationPart)]
    able = [name for name in able if name not in last]
    if parts is not None:
        model = with_parts(able, None)
        trials: tuple[Trial, ...] = ()
    else:
        model, trials = choose(with_parts, able, held_out, progress)
    fit_parts(model, fitted, FINAL)
    for name in last:
        if parts is not None:
            model = with_innovations(model, name, fitted)
            continue
        model, trial = try_innovations(model, name, to_the_end, fitted, held_out)
        trials = (*(replace(each, kept=each.kept and each.part in model.parts) for each in trials), trial)
    gain, error = gain_of(gain_per_tile(model, held_out), held_out)
    return TemporalFit(model.eval(), trials, gain, error, tuple(notes))


def _able(sequences: Sequence[SequenceTiles], parts: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """Select the parts that can be identified from these sequences; return them and notes about the others."""
    names = list(PARTS) if parts is None else list(parts)
    notes = []
    if any(tiles.scene == "static" for tiles in sequences):
        own = [name for name in names if issubclass(PARTS[name], PixelPart)]
        # Subtracting the mean makes frames depend on each other, even if their noise is independent.
        left = [name for name in names if issubclass(PARTS[name], InnovationPart)]
        if own and parts is not None:
            raise DataError(
                f"{own[0]}: a fixed pattern cannot be distinguished from a static scene; give flats or a clean twin"
            )
        if left and parts is not None:
            raise DataError(
                f"{left[0]}: frames minus their mean, which is used as the scene, depend on each other; give flats or "
                "a clean twin"
            )
        names = [name for name in names if name not in (*own, *left)]
        notes.append("the scene is not known, so the sensor's fixed pattern was not fitted: give flats or darks")
    if all(float(tiles.clean.max()) <= DARK for tiles in sequences):
        lit = [name for name in names if name in OF_LIGHT]
        names = [name for name in names if name not in lit] if parts is None else names
        notes.extend(f"{name}: not fitted to darks" for name in lit if parts is None)
    return names, notes


OF_LIGHT = "response_pattern", "light_flicker"
"""Parts that are proportional to the signal."""


def _pattern(data: Sequence[LatentTiles]) -> str:
    """Whether the variance of the frame model includes the fixed pattern, as one of `PATTERN`.

    It does if the mean square of the latents over pixels and time is closer to 1 than their variance in time.  Drift
    and flicker, which are never included, are removed with the mean of each tile and frame.
    """
    alone = [tiles.z - tiles.z.mean(2, keepdim=True) for tiles in data]
    whole = sum(float(z.square().mean()) for z in alone) / len(data)
    in_time = sum(float(z.var(1).mean()) for z in alone) / len(data)
    return PATTERN[abs(math.log(in_time)) < abs(math.log(whole))]


def _fitted(
    frame: NoiseModel, names: Sequence[str], pattern: str, start: TemporalNoise | None, data: Sequence[LatentTiles]
) -> TemporalNoise:
    """Build a model with the named parts and fit them; parts in `start` begin there, others from moments of data."""
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


def _or_none(error: float) -> float | None:
    return error if math.isfinite(error) else None
