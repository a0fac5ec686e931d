"""Which parts of a memory held-out tiles pay for."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from noiseflow.core.errors import DataError
from noiseflow.core.progress import Progress, silent
from noiseflow.fit.sequences.fit_parts import LatentTiles, fit_parts, latent_tiles, start_part
from noiseflow.fit.sequences.innovations import try_innovations, with_innovations
from noiseflow.fit.sequences.part_trials import Trial, choose, gain_of, gain_per_tile
from noiseflow.fit.sequences.tiles import LEAST_FRAMES, SequenceTiles
from noiseflow.models.model import NoiseModel, build
from noiseflow.models.temporal.frame_latent import as_frame_model
from noiseflow.models.temporal.part import InnovationPart, PixelPart
from noiseflow.models.temporal.registry import PARTS
from noiseflow.models.temporal.temporal_noise import PATTERN, TemporalNoise, temporal_spec

__all__ = ["TemporalFit", "fit_temporal"]

FINAL = 40
"""Iterations of the last fit, of all parts that were kept, before a law of what they leave is fitted."""


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

    What held-out tiles pay for is kept, by the rule of `part_trials`.  Last comes the law of what is left, an
    `InnovationPart`, which is kept where the held-out gain is more than three standard errors.

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
        No sequence, one of a single frame, or parts of pixels wanted where the scene is not known.
    ModelError
        A model without a latent, or a camera that it does not know.
    """
    inner = as_frame_model(frame).eval()
    if not sequences:
        raise DataError("sequences: expected at least one; got none")
    for tiles in sequences:
        if tiles.frames < LEAST_FRAMES:
            raise DataError(
                f"{tiles.source}: {tiles.frames} frame; noise in time needs {LEAST_FRAMES} frames or more of one scene"
            )
    halves = [tiles.halves() for tiles in sequences]
    fitted, held_out = ([latent_tiles(inner, each[side]) for each in halves] for side in (0, 1))
    able, notes = _able(sequences, parts)
    pattern = _pattern(fitted)
    if pattern == "added" and any(issubclass(PARTS[name], PixelPart) for name in able):
        notes.append("the frame's model was fitted to noise without the fixed pattern, which is added to it")

    def with_parts(names: Sequence[str], start: TemporalNoise | None) -> TemporalNoise:
        return _fitted(inner, names, pattern, start, fitted)

    def to_the_end(names: Sequence[str], start: TemporalNoise | None) -> TemporalNoise:
        found = with_parts(names, start)
        fit_parts(found, fitted, FINAL)
        return found

    last = [name for name in able if issubclass(PARTS[name], InnovationPart)]
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
    """Parts that can be identified from these sequences, and why others cannot."""
    names = list(PARTS) if parts is None else list(parts)
    notes = []
    if any(tiles.scene == "static" for tiles in sequences):
        own = [name for name in names if issubclass(PARTS[name], PixelPart)]
        # Frames less their mean depend on each other by that alone.
        left = [name for name in names if issubclass(PARTS[name], InnovationPart)]
        if own and parts is not None:
            raise DataError(
                f"{own[0]}: a pattern that stays cannot be told from a scene that stays; give flats or a clean twin"
            )
        if left and parts is not None:
            raise DataError(
                f"{left[0]}: frames less their mean, which stands for the scene, depend on each other; give flats or a "
                "clean twin"
            )
        names = [name for name in names if name not in (*own, *left)]
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


def _or_none(error: float) -> float | None:
    return error if math.isfinite(error) else None
