"""Scores of temporal models on a sequence, from their densities given the past and samples of the same scenes."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from noiseflow.core.errors import DataError
from noiseflow.core.progress import Progress, silent
from noiseflow.core.text import counted, json_text
from noiseflow.evaluate.in_time.frame_correlation import FrameCorrelation
from noiseflow.evaluate.in_time.given_the_past import GivenThePast
from noiseflow.evaluate.in_time.mean_of_frames import MeanOfFrames
from noiseflow.evaluate.in_time.measured import MeasuredSequences
from noiseflow.evaluate.in_time.registry import METRICS_IN_TIME
from noiseflow.evaluate.metric import DATA, Score, as_json
from noiseflow.evaluate.statistics.intervals import Interval
from noiseflow.fit.sequences.tiles import SequenceTiles, without_scene
from noiseflow.flows.conditions import Conditions
from noiseflow.models.temporal.temporal_noise import TemporalNoise
from noiseflow.ops.random.sampling import Keyed

__all__ = ["TimeScores", "evaluate_in_time", "measured_sequences", "rows_of"]


@dataclass(frozen=True, eq=False)
class TimeScores:
    """Scores of one sequence.

    Parameters
    ----------
    source : str
        Name of the sequence.
    frames, tiles : int
        Number of frames and of tiles.
    scores : mapping of str to Score
        Scores by the names in `METRICS_IN_TIME`.
    measured : MeasuredSequences
        Real and sampled sequences, for pictures.
    """

    source: str
    frames: int
    tiles: int
    scores: Mapping[str, Score]
    measured: MeasuredSequences

    def to_json(self) -> str:
        """Return the scores as indented JSON; NaN and infinity become null."""
        content = {"source": self.source, "frames": self.frames, "tiles": self.tiles, **as_json(self.scores)}
        return json_text(content, 2)


def evaluate_in_time(
    models: Mapping[str, TemporalNoise], tiles: SequenceTiles, *, seed: int = 0, progress: Progress = silent
) -> TimeScores:
    """Score temporal models on a sequence that none of them was fitted to.

    Parameters
    ----------
    models : mapping of str to TemporalNoise
        Models by name.  The frame model of the first gives the reference of independent frames.
    tiles : SequenceTiles
        Real noise of some tiles of the sequence.
    seed : int
        Seed of the samples.
    progress : Progress
        Called after each metric.

    Returns
    -------
    TimeScores
        Scores of all models.

    Raises
    ------
    DataError
        No model, a model with the name reserved for the data, or a model with a fixed pattern where the scene is
        unknown.
    """
    measured = measured_sequences(models, tiles, seed)
    scores = {}
    for number, (name, metric) in enumerate(METRICS_IN_TIME.items()):
        scores[name] = metric(measured)
        progress(number + 1, len(METRICS_IN_TIME), name)
    return TimeScores(tiles.source, tiles.frames, len(tiles.noise), scores, measured)


@torch.no_grad()
def measured_sequences(models: Mapping[str, TemporalNoise], tiles: SequenceTiles, seed: int = 0) -> MeasuredSequences:
    """Compute the densities of models on tiles, and sample the same tiles.

    Parameters
    ----------
    models : mapping of str to TemporalNoise
        Models by name; see `evaluate_in_time`.
    tiles : SequenceTiles
        Real noise.
    seed : int
        Seed of the samples.

    Returns
    -------
    MeasuredSequences
        Real and sampled noise, and log-densities.

    Raises
    ------
    DataError
        See `evaluate_in_time`.
    """
    if not models or DATA in models:
        raise DataError(
            f"models: expected at least one, and none named {DATA!r}, which is reserved; got "
            f"{', '.join(models) or 'none'}"
        )
    blind = [name for name, model in models.items() if model.pixel_parts]
    if tiles.scene == "static" and blind:
        raise DataError(
            f"{tiles.source}: {blind[0]} has a fixed pattern, which cannot be separated from an unknown scene; give "
            "flats, darks or a clean twin"
        )
    noise, log_prob = {DATA: tiles.noise}, {}
    alone: Tensor | None = None
    for name, model in models.items():
        log_prob[name] = model.log_prob_of_sequence(tiles.noise, tiles.clean, tiles.iso, tiles.camera)
        clean = tiles.clean.expand(tiles.noise.shape)
        source = Keyed(seed, tuple(range(len(clean))))
        drawn = model.sample_sequence(clean, tiles.iso, tiles.camera, source)
        noise[name] = without_scene(drawn) if tiles.scene == "static" else drawn
        if alone is None:
            alone = _alone(model, tiles)
    assert alone is not None
    return MeasuredSequences(noise, log_prob, alone)


def _alone(model: TemporalNoise, tiles: SequenceTiles) -> Tensor:
    """Return the log-density of each frame by the frame model alone, nats, shape (B, T)."""
    frames = range(tiles.frames)
    clean = tiles.clean.expand(tiles.noise.shape)
    values = [model.frame.log_prob(tiles.noise[:, t], Conditions(clean[:, t], tiles.iso, tiles.camera)) for t in frames]
    return torch.stack(values, 1).double()


def rows_of(scores: TimeScores) -> dict[str, dict[str, str]]:
    """Return the rows of the table of results.

    Parameters
    ----------
    scores : TimeScores
        Scores of a sequence.

    Returns
    -------
    dict of str to dict of str to str
        Per row label, the text for the data and for each model.
    """
    past, correlation, mean = (
        scores.scores[name] for name in ("given_the_past", "frame_correlation", "mean_of_frames")
    )
    assert isinstance(past, GivenThePast)
    assert isinstance(correlation, FrameCorrelation)
    assert isinstance(mean, MeanOfFrames)
    label = f"frames {past.first_frame} to {scores.frames - 1} given the past, gain over independent frames [nats/dim]"
    rows = {label: {name: _interval(gain) for name, gain in past.gain.items()}}
    for place, lag in enumerate(correlation.lags):
        rows[f"correlation of frames {lag} apart"] = {
            name: f"{values[place]:.4f}" for name, values in correlation.values.items()
        }
    for place, count in enumerate(mean.counts):
        rows[f"variance of the mean of {counted(count, 'frame')}, relative to one"] = {
            name: f"{values[place]:.4f}" for name, values in mean.values.items()
        }
    first = {name: rows[label].get(name, "") for name in scores.measured.noise}
    return {**rows, label: first}


def _interval(gain: Interval) -> str:
    if gain.low is None or gain.high is None:
        return f"{gain.value:.5f}"
    return f"{gain.value:.5f} ({gain.low:.5f} to {gain.high:.5f})"
