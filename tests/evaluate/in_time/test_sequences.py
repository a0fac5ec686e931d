"""Measures of two short sequences against plain numpy."""

import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from noiseflow.evaluate.in_time.frame_correlation import correlation_at
from noiseflow.evaluate.in_time.jumps import jumps
from noiseflow.evaluate.in_time.mean_of_frames import mean_of_frames, variance_of_mean
from noiseflow.evaluate.in_time.row_spectrum import row_spectrum
from noiseflow.evaluate.in_time.strip import strip
from noiseflow.evaluate.metric import DATA


def sequences(frames: int = 12) -> Any:
    rng = np.random.default_rng(0)
    made = {name: rng.normal(size=(2, frames, 3, 5, 8)) + rng.normal(size=(2, 1, 3, 5, 8)) for name in (DATA, "m")}
    made["m"] *= 2
    return SimpleNamespace(noise={name: torch.from_numpy(x) for name, x in made.items()}, frames=frames)


def test_means_of_frames_correlations_jumps_and_rows_in_time() -> None:
    measured = sequences()
    real, sampled = measured.noise[DATA].numpy(), measured.noise["m"].numpy()
    found = mean_of_frames(measured)
    assert found.counts == (1, 2, 5, 10)
    assert mean_of_frames(sequences(10)).counts == (1, 2, 5, 10)
    assert mean_of_frames(sequences(9)).counts == (1, 2, 5)
    for count, value in zip(found.counts, found.values["m"], strict=True):
        means = [sampled[:, k : k + count].mean(1) for k in range(0, 12 - count + 1, count)]
        assert value == pytest.approx(np.mean(np.square(means)) / (real**2).mean())
    assert variance_of_mean(measured.noise[DATA], 12) == pytest.approx((real.mean(1) ** 2).mean())
    for lag in (1, 5):
        early, late = real[:, :-lag], real[:, lag:]
        expected = 2 * (early * late).sum() / ((early**2).sum() + (late**2).sum())
        assert correlation_at(measured.noise[DATA], lag) == pytest.approx(expected)
    leaps = jumps(measured)
    sigma = np.sqrt((np.diff(real, axis=1) ** 2).mean())
    assert leaps.sigma == pytest.approx(sigma)
    edges = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 12.0)
    assert leaps.edges == edges
    size = abs(np.diff(sampled, axis=1)) / sigma
    assert leaps.parts["m"] == pytest.approx(np.histogram(size, (*edges, np.inf))[0] / size.size)
    rows = row_spectrum(measured)
    assert rows.frequencies == pytest.approx(np.arange(7) / 12)
    waves = abs(np.fft.rfft(sampled.mean(4), axis=1)) ** 2
    assert rows.power["m"] == pytest.approx(waves.mean((0, 2, 3)) / ((sampled**2).mean() / 8 * 12))


def test_the_strip_shows_four_sigma_to_each_side_of_grey() -> None:
    measured = sequences(4)
    picture = np.asarray(Image.open(io.BytesIO(strip(measured))))
    assert picture.shape == (4 * (4 + 3 + 4), 4 * 2 * 8)
    small = picture[2::4, 2::4]
    sigma = np.sqrt((measured.noise[DATA].numpy() ** 2).mean())
    for top, name in ((0, DATA), (7, "m")):
        for tile in range(2):
            row = measured.noise[name].numpy()[tile, :, 0, 2] / sigma
            expected = np.clip((row / 4 + 1) * 127.5, 0, 255).astype(int)
            assert small[top : top + 4, 8 * tile : 8 * tile + 8].tolist() == expected.tolist()
    assert (small[4:7] == 255).all()
