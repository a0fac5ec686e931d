import numpy as np

from noiseflow.augment.denoise.lines.posterior import Differences, _gaussian, offset_posterior

ROWS = 4000
SIGMA = 2.0


def differences(values: np.ndarray, error: float = 1e-3) -> list[Differences]:
    """Exact differences of rows one and two apart."""
    return [
        Differences(lag, np.arange(len(values) - lag), values[lag:] - values[:-lag], np.full(len(values) - lag, error))
        for lag in (1, 2)
    ]


def drawn(seed: int, step: float, sigma: float = SIGMA) -> tuple[np.ndarray, np.ndarray]:
    """Offsets, and a scene that walks with heavy-tailed steps."""
    rng = np.random.default_rng(seed)
    return sigma * rng.normal(size=ROWS), np.cumsum(step * rng.standard_t(3, ROWS))


def test_the_banded_solution_is_the_dense_one() -> None:
    rng, rows = np.random.default_rng(0), 12
    prior, step, weight = rng.uniform(0.5, 2, rows), rng.normal(size=rows - 1), rng.uniform(0, 5, rows - 1)
    mean, spread, between = _gaussian(prior, step, weight)
    along = np.diff(np.eye(rows), axis=0)
    covariance = np.linalg.inv(np.diag(1 / prior) + along.T @ (weight[:, None] * along))
    np.testing.assert_allclose(mean, covariance @ along.T @ (weight * step), atol=1e-12)
    np.testing.assert_allclose(spread, np.diag(covariance), atol=1e-12)
    np.testing.assert_allclose(between, np.diag(covariance, 1), atol=1e-12)


def test_offsets_are_found_to_what_their_variance_says() -> None:
    for seed, (step, most) in enumerate(((0.1, 0.1), (0.5, 0.3))):
        offsets, scene = drawn(seed, step)
        found = offset_posterior(ROWS, differences(offsets + scene), SIGMA**2)
        square = float(np.square(found.mean - offsets).mean())
        assert square < most * SIGMA**2
        # 4,000 rows: the mean square is known to 3 %, but the scene's scale only to a few.
        assert 0.7 < square / found.variance.mean() < 1.3


def test_a_scene_rougher_than_the_offsets_loses_nothing() -> None:
    offsets, scene = drawn(2, 2.0)
    found = offset_posterior(ROWS, differences(offsets + scene), SIGMA**2)
    assert np.square(found.mean - offsets).mean() < 0.9 * SIGMA**2


def test_a_scene_without_offsets_is_left_alone() -> None:
    for seed, step in enumerate((0.1, 0.5, 2.0)):
        _, scene = drawn(seed, step)
        found = offset_posterior(ROWS, differences(scene), SIGMA**2)
        assert found.mean.std() < 0.15 * SIGMA


def test_what_no_offset_explains_is_the_scenes() -> None:
    offsets, _ = drawn(0, 0.1)
    scene = np.zeros(ROWS)
    scene[2000:] += 20 * SIGMA  # a horizon
    scene[1000:1002] += 10 * SIGMA  # a wire
    found = offset_posterior(ROWS, differences(offsets + scene), SIGMA**2)
    assert np.abs(found.mean - offsets)[990:1012].max() < 4 * SIGMA
    assert np.abs(found.mean - offsets)[1995:2005].max() < 2 * SIGMA
    assert np.abs(found.mean).max() < 4.5 * SIGMA


def test_rows_without_a_measurement_have_the_prior() -> None:
    offsets, _ = drawn(0, 0.1)
    given = [
        Differences(each.lag, each.first, each.value, np.where(each.first < 100, np.inf, each.variance))
        for each in differences(offsets)
    ]
    found = offset_posterior(ROWS, given, SIGMA**2)
    assert np.abs(found.mean[:90]).max() == 0
    np.testing.assert_allclose(found.variance[:90], SIGMA**2, rtol=0.1)
