"""Position-keyed random numbers: the published generator, the right distributions, and nothing but position."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy import stats

from noiseflow.core.errors import DataError
from noiseflow.ops.libraries.build import available
from noiseflow.ops.native import compiled
from noiseflow.ops.random import keyed_draws
from noiseflow.ops.random.philox import philox
from noiseflow.ops.random.sampling import Keyed, Stream, integers, normal, of_elements, poisson, row_normal, uniform

KNOWN_ANSWERS = [
    ((0, 0, 0, 0), 0, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, 2**64 - 1, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        0x299F31D0_A4093822,
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
"""philox4x32-10 in the file kat_vectors of the authors' Random123."""

needs_compiler = pytest.mark.skipif(not available(), reason="no C++ compiler")

BOTH = ("keyed", "generator")


def source(kind: str, seed: int = 11) -> Keyed | torch.Generator:
    return Keyed(seed) if kind == "keyed" else torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_philox_gives_the_published_words(counter: tuple[int, ...], key: int, expected: tuple[int, ...]) -> None:
    c0, c1, c2, c3 = (torch.tensor(word) for word in counter)
    assert tuple(int(word) for word in philox((c0, c1, c2, c3), key)) == expected


def test_philox_agrees_with_whole_number_arithmetic() -> None:
    rng = np.random.default_rng(0)
    words = rng.integers(0, 2**32, (4, 50))
    key = int(rng.integers(0, 2**63)) * 2 + 1
    drawn = philox(tuple(torch.from_numpy(word) for word in words), key)  # type: ignore[arg-type]
    for column in range(50):
        c, k = [int(word) for word in words[:, column]], [key % 2**32, key // 2**32]
        for _ in range(10):
            even, odd = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
            c = [odd // 2**32 ^ c[1] ^ k[0], odd % 2**32, even // 2**32 ^ c[3] ^ k[1], even % 2**32]
            k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
        assert [int(word[column]) for word in drawn] == c


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 9), st.integers(0, 9), st.integers(1, 9), st.integers(1, 9), st.sampled_from(["n", "u", "p", "r"])
)
def test_a_tile_has_the_numbers_of_the_frame(top: int, left: int, height: int, width: int, what: str) -> None:
    keyed = Keyed(5, (3, 9))
    rate = torch.linspace(0, 60, 18 * 18, dtype=torch.float64).reshape(18, 18).expand(2, 4, 18, 18)
    draw = {
        "n": lambda like, source: normal(like, source),
        "u": lambda like, source: uniform(like, source),
        "p": lambda like, source: poisson(like, source),
        "r": lambda like, source: row_normal(like, 2, source).expand(-1, -1, -1, like.shape[3]),
    }[what]
    whole = draw(rate, keyed)
    part = rate[:, :, top : top + height, left : left + width]
    tile = draw(part, replace(keyed, top=top, left=left))
    # Elementary functions may round the last bit by where in a vector a number stands.
    torch.testing.assert_close(tile, whole[:, :, top : top + height, left : left + width], rtol=1e-14, atol=1e-15)
    alone = draw(part[1:], of_elements(replace(keyed, top=top, left=left), [1]))
    torch.testing.assert_close(alone, tile[1:], rtol=1e-14, atol=1e-15)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 40), st.integers(0, 300), st.integers(1, 20), st.sampled_from([1, 3, 32, 127, 128, 200, 260]))
def test_a_tile_has_the_bits_of_the_frame_on_any_number_of_threads(
    top: int, left: int, height: int, width: int
) -> None:
    keyed = Keyed(2**63 + 5, (3, 2**32 - 1))
    whole = normal(torch.empty(2, 2, 60, 560), keyed)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2 if before == 1 else 1)
        tile = normal(torch.empty(2, 2, height, width), replace(keyed, top=top, left=left))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(tile, whole[:, :, top : top + height, left : left + width])


def test_seed_frame_stream_and_plane_are_all_in_the_key() -> None:
    like = torch.empty(1, 2, 64, 64)
    drawn = [
        normal(like, keyed, stream)
        for keyed in (Keyed(1), Keyed(2), Keyed(1 << 32 | 1), Keyed(1, (1,)))
        for stream in (Stream.BASE, Stream.READ)
    ]
    rows = torch.cat([each.reshape(2, -1) for each in drawn])
    correlation = np.corrcoef(rows.numpy()) - np.eye(len(rows))
    # 4,096 pairs: σ of a correlation 1/64; 120 of them, a false alarm in 10,000.
    assert np.abs(correlation).max() < 5 / 64


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_normal_numbers_are_normal_and_white(dtype: torch.dtype) -> None:
    z = normal(torch.empty(1, 4, 250, 200, dtype=dtype), Keyed(7)).double().numpy()[0]
    assert stats.kstest(z.ravel(), "norm").pvalue > 1e-4
    # 200,000 values: four standard errors of kurtosis, and of lag-one correlations in every direction.
    assert abs(stats.kurtosis(z.ravel())) < 4 * np.sqrt(24 / z.size)
    for a, b in ((z[:, :, 1:], z[:, :, :-1]), (z[:, 1:], z[:, :-1]), (z[1:], z[:-1]), (z[:, :, 2:], z[:, :, :-2])):
        assert abs((a * b).mean()) < 4 / np.sqrt(a.size)


def test_single_and_double_precision_are_the_same_draw() -> None:
    keyed, size = Keyed(3), (1, 1, 50, 40)
    single = normal(torch.empty(size), keyed).double()
    torch.testing.assert_close(single, normal(torch.empty(size, dtype=torch.float64), keyed), rtol=1e-4, atol=2e-4)
    assert normal(torch.empty(size, dtype=torch.float16), keyed).dtype == torch.float16


def test_uniform_numbers_are_uniform() -> None:
    u = uniform(torch.empty(1, 4, 250, 200), Keyed(8)).numpy()
    assert u.min() > 0
    assert u.max() < 1
    assert stats.kstest(u.ravel(), "uniform").pvalue > 1e-4


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("rate", [0.0, 0.03, 1.0, 9.99, 10.0, 37.5, 1234.5, 80_000.0])
def test_poisson_counts_are_poisson(rate: float, kind: str) -> None:
    n = 100_000
    counts = poisson(torch.full((1, 1, 250, 400), rate, dtype=torch.float64), source(kind)).numpy().ravel()
    if rate == 0:
        assert not counts.any()
        return
    # Cells of about equal probability; the smallest expects more than 5.
    edges = np.unique(stats.poisson.ppf(np.linspace(0, 1, 60)[1:-1], rate))
    expected = n * np.diff(np.r_[0, stats.poisson.cdf(edges, rate), 1])
    found = np.bincount(np.searchsorted(edges, counts), minlength=len(expected))
    seen = expected > 5
    chi_square = ((found - expected)[seen] ** 2 / expected[seen]).sum()
    # 16 cases: a false alarm in 600.
    assert stats.chi2.sf(chi_square, max(seen.sum() - 1, 1)) > 1e-4


def test_no_retry_of_a_poisson_draw_reuses_a_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counters of all attempts, planes and frames differ: equal ones would give equal words."""
    asked: list[tuple[int, ...]] = []
    attempts = 0

    def noted(counter: tuple[torch.Tensor, ...], key: int) -> tuple[torch.Tensor, ...]:
        nonlocal attempts
        attempts += 1
        whole = torch.broadcast_tensors(*counter)
        asked.extend(zip(*(word.flatten().tolist() for word in whole), strict=True))
        return philox(counter, key)

    monkeypatch.setattr(keyed_draws, "philox", noted)
    with compiled(False):
        poisson(torch.full((2, 4, 24, 24), 30.0), Keyed(3, (0, 1)))
    assert attempts > 3
    assert len(set(asked)) == len(asked)
    # A counter's third word: attempt, stream and plane, each in bits of its own.
    assert {word[2] >> 8 & 255 for word in asked} == {Stream.SHOT}
    assert {word[2] & 255 for word in asked} == {0, 1, 2, 3}
    # The last attempt has none left to draw.
    assert max(word[2] >> 16 for word in asked) == attempts - 2


@pytest.mark.parametrize("kernels", [True, False])
def test_a_rate_that_is_not_finite_is_its_own_count(kernels: bool) -> None:
    rate = torch.tensor([float("nan"), float("inf"), 0.0, -1.0]).reshape(1, 1, 2, 2)
    with compiled(kernels):
        counts = poisson(rate, Keyed(1)).flatten().tolist()
    assert math.isnan(counts[0])
    assert counts[1:] == [float("inf"), 0.0, 0.0]


@needs_compiler
@pytest.mark.parametrize("rate", [0.5, 9.9, 10.0, 31.0, 4000.0])
def test_a_kernel_counts_as_its_reference_does(rate: float) -> None:
    rates = torch.full((1, 2, 60, 70), rate)
    with compiled(False):
        expected = poisson(rates, Keyed(3))
    assert torch.equal(poisson(rates, Keyed(3)), expected)


def test_poisson_far_out_in_the_tail() -> None:
    # PTRS has its least certain part there: expect 317 ± 18 of 10⁶ beyond the 1 − 3.17·10⁻⁴ quantile.
    counts = poisson(torch.full((1, 1, 1000, 1000), 50.0, dtype=torch.float64), Keyed(4)).numpy()
    edge = stats.poisson.ppf(1 - 3e-4, 50.0)
    expected = 1e6 * stats.poisson.sf(edge, 50.0)
    assert abs((counts > edge).sum() - expected) < 4 * np.sqrt(expected)


def test_integers_are_within_their_limits_and_the_frame_s_own() -> None:
    keyed = Keyed(1, tuple(range(200)))
    drawn = [integers((1, 3, 1000), row, keyed) for row in range(200)]
    assert {draw[0] for draw in drawn} == {0}
    assert {draw[1] for draw in drawn} == {0, 1, 2}
    assert max(draw[2] for draw in drawn) > 900
    assert drawn[7] == integers((1, 3, 1000), 0, of_elements(keyed, [7]))


def test_a_generator_draws_as_torch_does() -> None:
    like = torch.empty(2, 4, 3, 5)
    expected = torch.randn(like.shape, generator=source("generator"))  # type: ignore[call-overload]
    assert torch.equal(normal(like, source("generator")), expected)


def test_keys_that_cannot_be() -> None:
    for make, message in (
        (lambda: Keyed(-1), "seed"),
        (lambda: Keyed(2**64), "seed"),
        (lambda: Keyed(0, ()), "frames"),
        (lambda: Keyed(0, (2**32,)), "frames"),
        (lambda: Keyed(0, top=-1), "position"),
        (lambda: normal(torch.empty(2, 1, 1, 1), Keyed(0)), "expected 2, one for each element"),
    ):
        with pytest.raises(DataError, match=message):
            make()
