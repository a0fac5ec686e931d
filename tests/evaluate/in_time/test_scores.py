"""Scores in time: on sequences whose answer is known."""

import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from temporal_models import temporal_model

from noiseflow.core.errors import DataError, ModelError
from noiseflow.evaluate.in_time.evaluate_in_time import TimeScores, evaluate_in_time, rows_of
from noiseflow.evaluate.in_time.frame_correlation import FrameCorrelation, correlation_at
from noiseflow.evaluate.in_time.given_the_past import GivenThePast
from noiseflow.evaluate.in_time.jumps import Jumps
from noiseflow.evaluate.in_time.mean_of_frames import MeanOfFrames, variance_of_mean
from noiseflow.evaluate.in_time.registry import METRICS_IN_TIME
from noiseflow.evaluate.in_time.row_spectrum import RowSpectrum
from noiseflow.evaluate.in_time.strip import ZOOM, strip
from noiseflow.evaluate.metric import DATA
from noiseflow.fit.sequences.tiles import Scene, SequenceTiles
from noiseflow.models import TemporalNoise
from noiseflow.models.temporal.temporal_noise import as_temporal
from noiseflow.ops.random.sampling import Keyed

SHARE = (6e-3 / 0.02) ** 2
"""Part of the variance that the pattern of `temporal_model` has, about."""


def tiles_of(model: TemporalNoise, frames: int = 12, scene: Scene = "flat") -> SequenceTiles:
    clean = torch.full((16, 1, 1, 24, 24), 0.0)
    noise = model.sample_sequence(clean.expand(-1, frames, -1, -1, -1), 100.0, 0, Keyed(1, tuple(range(16))))
    return SequenceTiles(noise, clean, 100.0, "A", "made", scene)


@pytest.fixture(scope="module")
def scored() -> tuple[TemporalNoise, TimeScores]:
    model = temporal_model(("dark_pattern",)).float()
    without = temporal_model(()).float()
    without.frame.load_state_dict(model.frame.state_dict())
    return model, evaluate_in_time({"model": model, "independent": without}, tiles_of(model), seed=3)


def test_every_metric_has_its_score(scored: tuple[TemporalNoise, TimeScores]) -> None:
    scores = scored[1]
    assert list(scores.scores) == list(METRICS_IN_TIME)
    content = json.loads(scores.to_json())
    assert {"source", "frames", "tiles", *METRICS_IN_TIME} == set(content)
    rows = rows_of(scores)
    assert all(set(cells) == {DATA, "model", "independent"} for cells in rows.values())


def test_the_later_frames_gain_what_the_pattern_tells(scored: tuple[TemporalNoise, TimeScores]) -> None:
    """−½ Σ log of the variance that is left of frame t, over the later half, is the mean gain."""
    model, scores = scored
    past = scores.scores["given_the_past"]
    assert isinstance(past, GivenThePast)
    share = float(correlation_of(scores, "model", 1))
    left = [1 - share * t * share / (1 + (t - 1) * share) for t in range(6, 12)]
    expected = -0.5 * float(np.mean(np.log(left)))
    gain = past.gain["model"]
    assert gain.low is not None
    assert gain.low > 0
    assert gain.value == pytest.approx(expected, abs=5 * (gain.standard_error or 1))
    assert past.gain["independent"].value == 0.0
    assert model.pixel_parts


def correlation_of(scores: TimeScores, name: str, lag: int) -> float:
    found = scores.scores["frame_correlation"]
    assert isinstance(found, FrameCorrelation)
    return found.values[name][found.lags.index(lag)]


@pytest.mark.parametrize("lag", [1, 2, 5, 10])
def test_frames_of_a_pattern_correlate_at_every_lag(scored: tuple[TemporalNoise, TimeScores], lag: int) -> None:
    """Of 9,216 pixels and 2 to 11 pairs: within 5 of 1/√(9,216)."""
    scores = scored[1]
    for name in (DATA, "model"):
        assert correlation_of(scores, name, lag) == pytest.approx(SHARE, abs=5 / 96)
        assert correlation_of(scores, name, lag) > SHARE / 2
    assert abs(correlation_of(scores, "independent", lag)) < 5 / 96


def test_averaging_stops_at_the_pattern(scored: tuple[TemporalNoise, TimeScores]) -> None:
    mean = scored[1].scores["mean_of_frames"]
    assert isinstance(mean, MeanOfFrames)
    at = mean.counts.index(10)
    share = correlation_of(scored[1], "model", 1)
    assert mean.values[DATA][0] == 1.0
    assert mean.values["model"][at] == pytest.approx(share + (1 - share) / 10, rel=0.05)
    assert mean.values["independent"][at] == pytest.approx(0.1, rel=0.1)


def test_measures_of_what_is_known() -> None:
    frames = torch.tensor([1.0, -1.0, 1.0, -1.0]).reshape(1, 4, 1, 1, 1).expand(2, 4, 1, 3, 3)
    assert correlation_at(frames, 1) == -1.0
    assert correlation_at(frames, 2) == 1.0
    assert variance_of_mean(frames, 1) == 1.0
    assert variance_of_mean(frames, 2) == 0.0
    assert variance_of_mean(frames + 2, 4) == 4.0


def test_jumps_and_rows(scored: tuple[TemporalNoise, TimeScores]) -> None:
    found, rows = scored[1].scores["jumps"], scored[1].scores["row_spectrum"]
    assert isinstance(found, Jumps)
    assert isinstance(rows, RowSpectrum)
    share = correlation_of(scored[1], "model", 1)
    # What stays does not jump: independent frames of the same variance jump further.
    within = {DATA: 1.0, "model": 1.0, "independent": math.sqrt(1 - share)}
    for name, parts in found.parts.items():
        assert sum(parts) == pytest.approx(1)
        assert parts[0] == pytest.approx(math.erf(within[name] / math.sqrt(2)), abs=0.012)
    for name in (DATA, "model"):
        assert rows.power[name][0] == pytest.approx(1 + 11 * share, rel=0.4)
        assert np.mean(rows.power[name][1:]) == pytest.approx(1 - share, rel=0.15)
    assert rows.power["independent"][0] == pytest.approx(1, rel=0.3)


def test_the_strip_shows_time_downwards(scored: tuple[TemporalNoise, TimeScores]) -> None:
    picture = Image.open(io.BytesIO(strip(scored[1].measured)))
    assert picture.size == (16 * 24 * ZOOM, (3 * 12 + 2 * 3) * ZOOM)


def test_what_cannot_be_scored_is_refused(tmp_path: Path) -> None:
    model = temporal_model(("dark_pattern",)).float()
    static = tiles_of(model, 3, "static")
    with pytest.raises(DataError, match="cannot be separated from an unknown scene"):
        evaluate_in_time({"model": model}, static)
    with pytest.raises(DataError, match="none named 'data'"):
        evaluate_in_time({}, static)
    with pytest.raises(ModelError, match="run: nlf is a model of single frames"):
        as_temporal(model.frame, "run")
    drift = temporal_model(("black_drift",)).float()
    scores = evaluate_in_time({"model": drift}, tiles_of(drift, 4, "static"))
    assert scores.frames == 4
