import numpy as np
import pytest
from scipy import stats
from simulated_scenes import BLACK, pairs, prepared, scene, shoot

from noiseflow.patches.pairings.frames.blocks import Blocks
from noiseflow.patches.pairings.frames.defects import (
    DEFECT_KINDS,
    _constant,
    _departure,
    _rare_ratio,
    _steady,
    find_defects,
)
from noiseflow.simulate.scenes import render

SIZE = (256, 384)


def places(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of a mosaic, none next to another, GRBG offsets to plane positions below."""
    rng = np.random.default_rng(seed)
    cells = rng.choice((SIZE[0] // 8) * (SIZE[1] // 8), count, replace=False)
    y, x = 8 * (cells // (SIZE[1] // 8)), 8 * (cells % (SIZE[1] // 8))
    return y + rng.integers(2, 6, count), x + rng.integers(2, 6, count)


def mask_of(name: str, mosaics: list[np.ndarray], kind: str = "") -> tuple[np.ndarray, dict]:
    """Where a pairing's pairs are not valid, on the mosaic, and the facts."""
    from noiseflow.raw.bayer import unpack

    reference, made = pairs(name, scene(mosaics, kind))
    return ~unpack(made[0].valid, "GRBG"), dict(reference.facts["defects"])


def test_hot_pixels_of_darks_are_found_and_no_others() -> None:
    mosaics = shoot([np.zeros(SIZE)] * 8, 1, row_sigma=0.5)
    y, x = places(60, 2)
    for mosaic in mosaics:
        # 40 DN: thirteen σ of one frame.
        mosaic[y, x] += 40
    mask, defects = mask_of("dark", mosaics, "dark")
    assert mask[y, x].all()
    assert mask.sum() == 60
    assert defects["counts"] == {**dict.fromkeys(DEFECT_KINDS, 0), "hot": 60}
    plane, row, column, kind = defects["pixels"][0]
    assert kind == "hot"
    offset = ((0, 1), (0, 0), (1, 1), (1, 0))[plane]
    assert mask[2 * row + offset[0], 2 * column + offset[1]]


def test_a_pair_of_hot_neighbours_is_found() -> None:
    mosaics = shoot([np.zeros(SIZE)] * 8, 1)
    for mosaic in mosaics:
        mosaic[100, [100, 102]] += 200
    mask, _ = mask_of("dark", mosaics, "dark")
    assert mask[100, [100, 102]].all()
    assert mask.sum() == 2


def test_stuck_and_unsteady_pixels_of_darks() -> None:
    mosaics = shoot([np.zeros(SIZE)] * 32, 3)
    y, x = places(40, 4)
    for number, mosaic in enumerate(mosaics):
        mosaic[y[:20], x[:20]] = BLACK
        # Random telegraph noise of ±20 DN.
        mosaic[y[20:], x[20:]] = BLACK + 20 * (-1) ** number
    mask, defects = mask_of("dark", mosaics, "dark")
    assert mask[y[:20], x[:20]].all()
    # Telegraph noise is noise: counted, not masked.
    assert mask.sum() == 20
    assert (defects["counts"]["stuck"], defects["counts"]["unsteady"]) == (20, 20)


def test_dead_pixels_of_flats_are_found_and_no_others() -> None:
    response = 1 + 0.01 * np.random.default_rng(1).normal(size=SIZE)
    mosaics = shoot([1500 * response] * 6, 5)
    y, x = places(50, 6)
    for mosaic in mosaics:
        mosaic[y, x] = BLACK + (mosaic[y, x] - BLACK) * 0.4
    mask, defects = mask_of("flat", mosaics, "flat")
    assert mask[y, x].all()
    assert mask.sum() == 50
    assert defects["counts"]["dead"] == 50


def test_nothing_is_found_in_three_million_good_pixels() -> None:
    """One false alarm in 10¹⁰ is stated for hot and dead; Gaussian noise, 3 frames each."""
    found = 0
    for seed in range(3):
        rng = np.random.default_rng(seed)
        mosaics = [np.rint(rng.normal(200, 5, (1024, 1024))).astype(np.uint16) for _ in range(3)]
        facts = prepared("dark", scene(mosaics, "dark")).facts
        found += sum(facts["defects"]["counts"].values())
    assert found == 0


@pytest.mark.parametrize("frames", [2, 8])
@pytest.mark.parametrize("name", ["000_wedge", "001_astronaut", "003_chelsea", "007_brick", "008_grass"])
def test_edges_and_texture_of_a_scene_are_no_defects(name: str, frames: int) -> None:
    signal = np.clip(2500 * render(name, SIZE, np.random.default_rng(1)), 0, 3900)
    mask, defects = mask_of("burst", shoot([signal] * frames, 7))
    assert mask.sum() == 0
    assert set(defects["counts"].values()) == {0}


def stars(sigma: float) -> np.ndarray:
    """Stars of 20 to 3000 DN at random places between pixels, on a dark sky."""
    rng = np.random.default_rng(9)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    sky = np.full(SIZE, 20.0)
    for _ in range(60):
        y, x = rng.uniform(8, SIZE[0] - 8), rng.uniform(8, SIZE[1] - 8)
        sky += rng.uniform(20, 3000) * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * sigma**2))
    return np.clip(sky, 0, 3900)


@pytest.mark.parametrize("frames", [2, 8, 30])
@pytest.mark.parametrize("sigma", [0.6, 1.0, 2.0])
def test_stars_are_not_hot(sigma: float, frames: int) -> None:
    _, defects = mask_of("burst", shoot([stars(sigma)] * frames, 10))
    assert set(defects["counts"].values()) == {0}


def test_hot_pixels_of_a_burst_are_found_among_stars() -> None:
    mosaics = shoot([stars(1.0)] * 8, 10)
    y, x = places(40, 11)
    for mosaic in mosaics:
        mosaic[y, x] = np.minimum(mosaic[y, x] + 800, 4000)
    mask, defects = mask_of("burst", mosaics)
    # Next to a star a hot pixel cannot be told from it: nine in ten are.
    assert mask[y, x].mean() > 0.9
    assert mask.sum() <= 40
    assert defects["counts"]["hot"] == mask.sum()


def test_stuck_pixels_of_a_burst_are_found_in_clusters_as_well() -> None:
    """Three of a cell, as light on it would be; light has noise, and is no defect with the same mean."""
    y, x = places(40, 13)
    bad = np.zeros(SIZE, bool)
    for down, across in ((0, 0), (0, 1), (1, 0)):
        bad[y + down, x + across] = True
    signal = np.where(bad, 1200.0, 50.0)
    lit = shoot([signal] * 7, 14)
    mask, defects = mask_of("burst", lit)
    assert mask.sum() == 0
    assert set(defects["counts"].values()) == {0}
    for mosaic in lit:
        mosaic[bad] = 1200
    mask, defects = mask_of("burst", lit)
    assert mask.sum() == bad.sum() == 120
    assert (mask == bad).all()


@pytest.mark.parametrize(("above", "below"), [(1, 8), (2, 16), (7, 56), (49, 392)])
@pytest.mark.parametrize("chance", [1e-3, 1e-6, 1e-10])
def test_rare_ratio_is_scipy_s_f(above: int, below: int, chance: float) -> None:
    assert stats.f.sf(_rare_ratio(chance, above, below), above, below) == pytest.approx(chance, rel=1e-9)


@pytest.mark.parametrize(("structured", "limit"), [(False, 8.0), (True, 35.0)])
def test_the_limit_of_a_departure_from_both_sides(structured: bool, limit: float) -> None:
    """In robust σ of what the neighbours of the pixels of its block leave of them."""
    rng = np.random.default_rng(6)
    mean = 500 + rng.normal(size=(1, 96, 96)).astype(np.float32)
    blocks, departure = Blocks((96, 96)), np.empty_like(mean[0])
    _departure(mean[0], departure)
    spread = 1.4826 * blocks.medians(np.abs(departure))
    at = [(y, x) for y in range(8, 96, 16) for x in range(8, 96, 16)]
    for number, (y, x) in enumerate(at):
        mean[0, y, x] += (1.0 if number % 2 else 1.3) * limit * spread[y // 16, x // 16] - departure[y, x]
    # A hot pixel moves its neighbours' departures, and with them the σ of its block.
    _departure(mean[0], departure)
    spread = 1.4826 * blocks.medians(np.abs(departure))
    ratios = {(y, x): departure[y, x] / (limit * spread[y // 16, x // 16]) for y, x in at}
    assert {round(10 * float(each)) for each in ratios.values()} >= {9, 11}
    found = find_defects(
        mean,
        None,
        1,
        levels=(np.full((1, 1, 1), 64.0), 4095.0),
        structured=structured,
        signal=np.full((1, *blocks.grid), 436.0),
        blocks=blocks,
        inner=slice(0, 96),
    )
    hot = {pixel[1:3] for pixel in found.listed}
    assert all((place in hot) == (ratio > 1) for place, ratio in ratios.items() if abs(ratio - 1) > 0.05)


@pytest.mark.parametrize("sign", [1, -1])
def test_an_unsteady_pixel_is_hot_or_dead_from_three_of_its_own_sigma_on(sign: int) -> None:
    """One that is not unsteady is, whatever its departure."""
    at = np.array([[0, 0], [1, 2], [3, 1], [3, 3]])
    departure, variance = np.zeros((4, 4), np.float32), np.full((4, 4), 25.0, np.float32)
    departure[tuple(at.T)] = sign * 5 * 3 * np.array([0.98, 1.02, 0.98, 1.02])
    assert _steady(at, at[:2], departure, variance).tolist() == [[1, 2], [3, 1], [3, 3]]
    assert _steady(at, at[:0], departure, variance).tolist() == at.tolist()


@pytest.mark.parametrize("frames", [2, 15, 40])
@pytest.mark.parametrize("sigma", [1.0, 4.0])
def test_a_pixel_could_be_constant_by_the_chance_of_its_likeliest_code(frames: int, sigma: float) -> None:
    """Each frame after the first repeats a code of probability 1/√(2πσ²); drift may have 1 % of the variance."""
    chance = (2 * np.pi * sigma**2) ** (-0.5 * (frames - 1))
    typical = np.full((1, 1), sigma**2)
    for part, drift, could in ((1.01, 0.0099, True), (0.99, 0.0099, False), (1.01, 0.0101, False)):
        found = _constant(typical, drift * sigma**2, frames, part * chance)
        assert bool(found.could.all()) is could
        assert found.limit == pytest.approx(1.02 * drift * sigma**2 + 1e-4)


def test_noise_below_rounding_has_the_variance_of_rounding() -> None:
    """Of σ = 0.01 DN a code may always repeat: 1/√(2π/12) is above 1, and no chance is below 1."""
    assert not _constant(np.full((1, 1), 1e-4), 0.0, 1000, 0.999).could.any()
