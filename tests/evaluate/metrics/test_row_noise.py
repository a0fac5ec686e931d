from types import SimpleNamespace

import numpy as np
import pytest
import torch

from noiseflow.evaluate.metrics.row_noise import SIGNAL_BINS, RowNoiseMetric, row_ratio

H, W, PATCHES = 24, 32, 2000


def mean_and_error(noise: np.ndarray) -> tuple[float, float]:
    ratio = row_ratio(torch.from_numpy(noise)).numpy().ravel()
    return float(ratio.mean()), float(ratio.std() / np.sqrt(len(ratio)))


def test_is_one_for_independent_pixels_of_any_shape_of_variance() -> None:
    # Four standard errors: a false alarm once in 16,000.
    rng = np.random.default_rng(0)
    white = rng.normal(size=(PATCHES, 1, H, W))
    for scale in (np.ones((H, 1)), np.linspace(1, 2, W)[None, :]):
        mean, error = mean_and_error(white * scale)
        assert mean == pytest.approx(1, abs=4 * error)
    # A variance that changes from row to row: the ratio of means is 1, the mean of ratios within 1 %.
    mean, error = mean_and_error(white * np.linspace(1, 2, H)[:, None])
    assert mean == pytest.approx(1, abs=4 * error + 0.01)


@pytest.mark.parametrize("strength", [0.1, 0.3, 1.0])
def test_row_noise_raises_it_by_its_share_times_the_width(strength: float) -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(PATCHES, 1, H, W)) + strength * rng.normal(size=(PATCHES, 1, H, 1))
    mean, error = mean_and_error(noise)
    expected = (1 + W * strength**2) / (1 + strength**2)
    # 3 %: the mean of ratios is not the ratio of means.
    assert mean == pytest.approx(expected, abs=4 * error + 0.03 * expected)


def test_an_offset_of_the_frame_is_no_row_noise_and_columns_are_not_rows() -> None:
    rng = np.random.default_rng(2)
    noise = rng.normal(size=(50, 2, H, W))
    moved = row_ratio(torch.from_numpy(noise + 5.0))
    torch.testing.assert_close(moved, row_ratio(torch.from_numpy(noise)))
    columns = noise + 2 * rng.normal(size=(50, 2, 1, W))
    assert float(row_ratio(torch.from_numpy(columns)).mean()) < 0.5


def test_pixels_that_do_not_vary_have_no_ratio() -> None:
    assert torch.isnan(row_ratio(torch.zeros(1, 1, 4, 4))).all()


def test_patches_are_put_into_bins_that_are_even_in_the_root_of_the_signal() -> None:
    low, high = 0.04, 0.81
    root = np.sqrt(low) + (np.sqrt(high) - np.sqrt(low)) * (np.arange(SIGNAL_BINS) + 0.5) / SIGNAL_BINS
    brightness = np.array([low, high])
    survey = SimpleNamespace(patch_shape=(1, 8, W), groups=2, brightness=brightness)
    metric = RowNoiseMetric(SimpleNamespace(sources=("data",), survey=survey))  # type: ignore[arg-type]
    light = torch.tensor([*root**2, low, high, 0.0, 1.0])
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=(len(light), 1, 8, W)))
    group = np.array([0] * SIGNAL_BINS + [1] * 4)
    clean = light[:, None, None, None].expand(-1, 1, 8, W)
    metric.update(
        SimpleNamespace(clean=clean, group=group, noise={"data": noise}, scale_dn=np.full((len(light), 1), 100.0))  # type: ignore[arg-type]
    )
    # The ends, and what lies beyond them, are in the first and in the last.
    assert metric.counts[..., 0].T.tolist() == [[1.0] * SIGNAL_BINS, [2.0, *[0.0] * (SIGNAL_BINS - 2), 2.0]]
    assert metric.signal[0, :, 0] == pytest.approx(100 * root**2, rel=1e-6)
    assert metric.sums["data"][:, 0, 0] == pytest.approx(row_ratio(noise)[:SIGNAL_BINS, 0].numpy())
