import numpy as np

from noiseflow.augment.denoise.lines.differences import PixelNoise, row_differences
from noiseflow.augment.denoise.lines.posterior import Differences

CELLS, WIDTH = 40, 400
SIGMA = 1e-3
NOISE = PixelNoise(np.zeros((4, 1, 1)), np.full((4, 1, 1), SIGMA**2), np.ones((4, 1, 1)))


def noisy(offsets: np.ndarray, seed: int = 0) -> np.ndarray:
    """Planes of a flat scene whose sensor rows have these offsets, (4, h, w)."""
    planes = 0.1 + SIGMA * np.random.default_rng(seed).normal(size=(4, CELLS, WIDTH))
    return (planes + offsets.reshape(CELLS, 2).T[[0, 0, 1, 1], :, None]).astype(np.float32)


def offsets(seed: int = 1) -> np.ndarray:
    return 0.5 * SIGMA * np.random.default_rng(seed).normal(size=2 * CELLS)


def errors(found: list[Differences], truth: np.ndarray) -> np.ndarray:
    """Of all differences but their common constant where rows alternate, in stated standard errors."""
    parts = []
    for each in found:
        error = each.value - (truth[each.first + each.lag] - truth[each.first])
        parts.append((error - np.median(error) * (each.lag == 1)) / np.sqrt(each.variance))
    return np.concatenate(parts)


def test_differences_of_offsets_are_measured_with_honest_errors() -> None:
    truth = offsets()
    found = row_differences([(0, noisy(truth))], NOISE)
    assert sum(len(each.value) for each in found) == 2 * (CELLS - 1) + CELLS + CELLS - 1
    # 157 errors of variance 1: their σ is within 0.8 and 1.3 but for one seed in thousands.
    assert 0.8 < errors(found, truth).std() < 1.3


def test_texture_edges_and_hot_pixels_do_not_count() -> None:
    truth = offsets()
    planes = noisy(truth)
    rng = np.random.default_rng(2)
    planes[:, :, :120] += 50 * SIGMA * rng.normal(size=(1, CELLS, 120))  # texture
    planes[:, 20:, 120:200] += 100 * SIGMA  # an edge in a fifth of the width
    planes.reshape(-1)[rng.integers(planes.size, size=200)] += 0.5
    found = row_differences([(0, planes)], NOISE)
    assert np.abs(errors(found, truth)).max() < 6
    assert max(float(np.sqrt(each.variance).max()) for each in found) < 0.3 * SIGMA


def test_clipped_pixels_say_nothing() -> None:
    truth = offsets()
    planes = noisy(truth)
    planes[:, :, 100:] = 1.0
    found = row_differences([(0, planes)], NOISE)
    assert np.abs(errors(found, truth)).max() < 6
    planes[:] = 1.0
    assert all(np.isinf(each.variance).all() for each in row_differences([(0, planes)], NOISE))


def test_greens_of_unequal_gain_do_not_look_like_offsets() -> None:
    truth = offsets()
    planes = noisy(truth)
    planes[2] *= 1.05
    found = row_differences([(0, planes)], NOISE)
    assert np.abs(errors(found, truth)).max() < 6
    # Five thousandths are ten of the offsets' σ.
    assert max(abs(np.median(each.value)) for each in found if each.lag == 1) < 0.1 * SIGMA


def test_strips_are_the_whole() -> None:
    planes = noisy(offsets())
    whole = row_differences([(0, planes)], NOISE)
    strips = row_differences([(0, planes[:, :12]), (11, planes[:, 11:31]), (30, planes[:, 30:])], NOISE)
    for one, other in zip(whole, strips, strict=True):
        np.testing.assert_array_equal(one.first, other.first)
        np.testing.assert_allclose(one.value, other.value, atol=1e-9)
        np.testing.assert_allclose(one.variance, other.variance, rtol=1e-5)


def test_rows_too_short_say_nothing() -> None:
    assert row_differences([(0, noisy(offsets())[:, :, :24])], NOISE) == []
