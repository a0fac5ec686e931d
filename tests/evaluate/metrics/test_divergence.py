import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from noiseflow.core.errors import DataError
from noiseflow.evaluate.metric import DATA
from noiseflow.evaluate.statistics.divergence import BLOCKS, PARTS, divergences, halves, kl_divergence

COUNTS = hnp.arrays(np.float64, 12, elements=st.integers(0, 50)).filter(lambda counts: counts.sum() > 0)


@given(COUNTS, COUNTS)
def test_agrees_with_scipy_and_is_not_negative(p: np.ndarray, q: np.ndarray) -> None:
    ours = float(kl_divergence(p=p, q=q, pseudo_count=0.5))
    assert ours == pytest.approx(stats.entropy(p + 0.5, q + 0.5), abs=1e-12)
    assert ours >= -1e-12


def test_two_bins_by_hand() -> None:
    # (1 + 1)/6 and (3 + 1)/6 against (3 + 1)/6 and (1 + 1)/6.
    kl = kl_divergence(p=np.array([1.0, 3.0]), q=np.array([3.0, 1.0]), pseudo_count=1.0)
    assert kl == pytest.approx(1 / 3 * np.log(1 / 2) + 2 / 3 * np.log(2))


def test_large_samples_of_gaussians_approach_the_closed_form() -> None:
    rng, edges = np.random.default_rng(0), np.linspace(-6, 6, 121)
    p, q = (np.histogram(sigma * rng.normal(size=400_000), edges)[0].astype(float) for sigma in (1.0, 1.1))
    # Standard error of log-ratio's mean, sqrt(Var log p/q / n), is 2e-4; bias (B − 1)/n is 3e-4.
    assert kl_divergence(p=p, q=q, pseudo_count=0.5) == pytest.approx(np.log(1.1) + 0.5 / 1.21 - 0.5, abs=1.5e-3)


def test_mass_where_the_data_has_none_is_not_dropped() -> None:
    # The published estimator leaves out bins that either histogram leaves empty, and gives 0 here.
    data = np.array([100.0, 100.0, 0.0, 0.0])
    moved = np.array([0.0, 100.0, 0.0, 100.0])
    assert kl_divergence(p=data, q=moved, pseudo_count=0.5) > 2


def test_rows_are_scored_one_by_one() -> None:
    rng = np.random.default_rng(0)
    p, q = rng.integers(0, 9, (2, 5, 7)).astype(float)
    together = kl_divergence(p=p, q=q, pseudo_count=0.5)
    alone = [float(kl_divergence(p=a, q=b, pseudo_count=0.5)) for a, b in zip(p, q, strict=True)]
    assert together == pytest.approx(alone)


@pytest.mark.parametrize(
    ("p", "q", "pseudo_count", "words"),
    [
        (np.ones(3), np.ones(4), 0.5, "the same bins"),
        (np.ones(3), np.ones(3), 0.0, "positive"),
        (np.zeros(3), np.ones(3), 0.5, "empty"),
    ],
)
def test_refuses_what_has_no_divergence(p: np.ndarray, q: np.ndarray, pseudo_count: float, words: str) -> None:
    with pytest.raises(DataError, match=words):
        kl_divergence(p=p, q=q, pseudo_count=pseudo_count)


def test_halves_are_all_of_them_with_their_complements() -> None:
    mask = halves(4)
    assert mask.shape == (6, 4)
    assert (mask.sum(1) == 2).all()
    rows = {tuple(row) for row in mask.tolist()}
    assert rows == {tuple(row) for row in (~mask).tolist()}


@pytest.mark.parametrize(("values", "known"), [(2, True), (1, False)])
def test_a_value_in_each_of_two_halves_is_the_least_that_has_a_floor(values: int, known: bool) -> None:
    counts = np.zeros((BLOCKS, PARTS, 4), np.int64)
    counts[0, range(values), 0] = 1
    found = divergences({DATA: counts, "A": counts}, ("A",), np.array(1.0))
    assert [each.floor is not None for each in found] == [known] * 3
    if known:
        assert [each.floor for each in found] == [0.0] * 3
