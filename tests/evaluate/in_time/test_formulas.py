"""The measures in time of made sequences, by loops over frames, rows and pixels."""

import math

import numpy as np
import pytest
import torch

from noiseflow.evaluate.in_time import evaluate_in_time as module
from noiseflow.evaluate.in_time.frame_correlation import frame_correlation
from noiseflow.evaluate.in_time.given_the_past import given_the_past
from noiseflow.evaluate.in_time.jumps import jumps
from noiseflow.evaluate.in_time.mean_of_frames import MeanOfFrames, mean_of_frames
from noiseflow.evaluate.in_time.measured import MeasuredSequences
from noiseflow.evaluate.in_time.registry import METRICS_IN_TIME
from noiseflow.evaluate.in_time.row_spectrum import row_spectrum
from noiseflow.evaluate.metric import DATA
from noiseflow.evaluate.statistics.intervals import VERDICT, ratio_of_sums
from noiseflow.fit.sequences.tiles import SequenceTiles

TILES, FRAMES, PLANES, HEIGHT, WIDTH = 3, 61, 2, 3, 4


@pytest.fixture(scope="module")
def measured() -> MeasuredSequences:
    rng = np.random.default_rng(0)
    shape = (TILES, FRAMES, PLANES, HEIGHT, WIDTH)
    noise = {
        DATA: rng.normal(size=shape) + 0.5 * rng.normal(size=(TILES, 1, *shape[2:])),
        "m": rng.standard_t(4, size=shape) + 0.4 * rng.normal(size=(*shape[:-1], 1)),
    }
    log_prob = {"m": torch.from_numpy(rng.normal(size=(TILES, FRAMES)))}
    alone = torch.from_numpy(rng.normal(size=(TILES, FRAMES)))
    return MeasuredSequences({name: torch.from_numpy(each) for name, each in noise.items()}, log_prob, alone)


def test_means_of_frames(measured: MeasuredSequences) -> None:
    """Successive frames in groups of 1, 2, 5, 10, 20, 50, over the data's single frames; what is left over is left."""
    found = mean_of_frames(measured)
    assert found.counts == (1, 2, 5, 10, 20, 50)
    one = float((measured.noise[DATA].numpy() ** 2).mean())
    for name, noise in measured.noise.items():
        for count, value in zip(found.counts, found.values[name], strict=True):
            means = [noise.numpy()[:, at : at + count].mean(1) for at in range(0, FRAMES - count + 1, count)]
            assert value == pytest.approx(float(np.mean(np.square(means))) / one)


def test_correlation_of_frames(measured: MeasuredSequences) -> None:
    """Products over the mean of both squares; lags of less than the sequence."""
    found = frame_correlation(measured)
    assert found.lags == (1, 2, 5, 10, 20, 50)
    for name, noise in measured.noise.items():
        frames = noise.numpy()
        for lag, value in zip(found.lags, found.values[name], strict=True):
            pairs = [(frames[:, t], frames[:, t + lag]) for t in range(FRAMES - lag)]
            product = sum(float((a * b).sum()) for a, b in pairs)
            assert value == pytest.approx(2 * product / sum(float((a**2 + b**2).sum()) for a, b in pairs))
    short = MeasuredSequences(
        {name: each[:, :10] for name, each in measured.noise.items()}, measured.log_prob, measured.alone[:, :10]
    )
    assert frame_correlation(short).lags == (1, 2, 5)


def test_jumps_are_counted_in_the_data_s_sigma(measured: MeasuredSequences) -> None:
    found = jumps(measured)
    steps = np.diff(measured.noise[DATA].numpy(), axis=1)
    assert found.sigma == pytest.approx(math.sqrt(float((steps**2).mean())))
    assert found.edges == (0, 1, 2, 3, 4, 5, 6, 8, 12)
    for name, noise in measured.noise.items():
        sizes = np.abs(np.diff(noise.numpy(), axis=1)).ravel() / found.sigma
        ends = zip(found.edges, (*found.edges[1:], np.inf), strict=True)
        counts = [((sizes >= low) & (sizes < high)).mean() for low, high in ends]
        assert found.parts[name] == pytest.approx(counts, abs=1e-12)


def test_power_of_row_means_over_the_frames(measured: MeasuredSequences) -> None:
    """|Σ_t r_t exp(−2πift)|² of each row's means r, over that of independent pixels: T·σ²/width."""
    found = row_spectrum(measured)
    assert found.frequencies == pytest.approx(np.arange(FRAMES // 2 + 1) / FRAMES)
    t = np.arange(FRAMES)
    for name, noise in measured.noise.items():
        rows, white = noise.numpy().mean(-1), float((noise.numpy() ** 2).mean()) / WIDTH * FRAMES
        for cycles, power in enumerate(found.power[name]):
            wave = np.exp(-2j * np.pi * cycles * t / FRAMES)[None, :, None, None]
            assert power == pytest.approx(float((np.abs((rows * wave).sum(1)) ** 2).mean()) / white)


def test_gain_by_the_past_is_of_the_later_half_per_value(measured: MeasuredSequences) -> None:
    found = given_the_past(measured)
    assert found.first_frame == 30
    gains = (measured.log_prob["m"] - measured.alone)[:, 30:].sum(1).numpy()
    values = np.full(TILES, 31.0 * PLANES * HEIGHT * WIDTH)
    assert found.gain["m"] == ratio_of_sums(numerator=gains, denominator=values, level=VERDICT)
    assert found.gain["m"].value == pytest.approx(gains.sum() / values.sum())


def test_progress_counts_the_metrics(measured: MeasuredSequences, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "measured_sequences", lambda *arguments: measured)
    tiles = SequenceTiles(measured.noise[DATA], measured.noise[DATA][:, :1], 100.0, "A", "made", "flat")
    said: list[tuple[int, int, str]] = []
    found = module.evaluate_in_time({}, tiles, progress=lambda done, total, note="": said.append((done, total, note)))
    assert said == [(number, 5, name) for number, name in enumerate(METRICS_IN_TIME, 1)]
    assert (found.frames, found.tiles, found.source) == (FRAMES, TILES, "made")
    rows = module.rows_of(found)
    past, *rest = rows
    assert past == "frames 30 to 60 given the past, gain over independent frames [nats/dim]"
    assert rows[past][DATA] == ""
    assert list(rest[:2]) == ["correlation of frames 1 apart", "correlation of frames 2 apart"]
    means = found.scores["mean_of_frames"]
    assert isinstance(means, MeanOfFrames)
    (of_twenty,) = (cells for label, cells in rows.items() if "mean of 20 frame" in label)
    assert of_twenty["m"] == f"{means.values['m'][4]:.4f}"
