import numpy as np
import pytest
from scipy.ndimage import binary_dilation
from simulated_scenes import pairs, prepared, scene, shoot

from noiseflow.patches.pairings.frames.blocks import within_variance
from noiseflow.patches.pairings.frames.motion import frame_shift, sample_rows, with_neighbours
from noiseflow.simulate.scenes import render

SIZE = (256, 384)
PICTURES = ("000_wedge", "001_astronaut", "003_chelsea", "008_grass")


def picture(name: str) -> np.ndarray:
    return np.clip(2500 * render(name, SIZE, np.random.default_rng(1)), 0, 3900)


@pytest.mark.parametrize("name", PICTURES)
def test_what_is_static_is_said_to_be(name: str) -> None:
    """Five bursts of each picture, with row noise and flicker: 40 scenes at one false alarm in a thousand each."""
    signal = picture(name)
    for seed in range(5):
        for count in (2, 6):
            gains = 1 + 0.01 * np.random.default_rng(seed).normal(size=count)
            reference = prepared("burst", scene(shoot([g * signal for g in gains], seed, row_sigma=1.0)))
            test = reference.facts["static_test"]
            assert (test["moving_part"], test["moves_as_a_whole"]) == (0, False)
            assert reference.facts["masked_pixels"] == 0
            assert reference.cautions == ()


@pytest.mark.parametrize("count", [2, 6])
@pytest.mark.parametrize("name", PICTURES)
def test_a_tripod_that_moves_is_found_out(name: str, count: int) -> None:
    """One frame shifted by two pixels of the mosaic, one of a plane."""
    signal = picture(name)
    moved = [np.roll(signal, 2 * (n == 1), 1) for n in range(count)]
    reference, made = pairs("burst", scene(shoot(moved, 4)))
    assert reference.facts["static_test"]["moves_as_a_whole"]
    assert 1 in reference.facts["static_test"]["moving_frames"]
    assert "all of it is masked" in reference.cautions[0]
    assert not any(pair.valid.any() for pair in made)


@pytest.mark.parametrize("count", [2, 6])
@pytest.mark.parametrize("name", PICTURES)
def test_what_moves_is_masked_and_the_rest_is_not(name: str, count: int) -> None:
    """A square of 40×40 pixels, 80 DN brighter, that wanders."""
    signal, frames, touched = picture(name), [], np.zeros(SIZE, bool)
    for n in range(count):
        frame = signal.copy()
        at = np.s_[100:140, 60 + 20 * n : 100 + 20 * n]
        frame[at] += 80
        touched[at] = True
        frames.append(frame)
    touched[100:140, 60 + 20 * (count - 1) : 80] = False
    reference, made = pairs("burst", scene(shoot(frames, 6)))
    valid = made[0].valid.all(0)
    cells = touched[::2, ::2]
    assert not reference.facts["static_test"]["moves_as_a_whole"]
    # What is always lit by the square does not change; the blocks around a move cover the rest.
    assert valid[cells].mean() < 0.02
    # The blocks that hold it, their neighbours, and no more.
    assert valid[~binary_dilation(cells, np.ones((3, 3), bool), iterations=32)].all()
    assert valid.mean() > 0.6
    assert "moves" in reference.cautions[0]


def test_a_wild_pixel_is_no_motion() -> None:
    mosaics = shoot([picture("003_chelsea")] * 6, 2)
    mosaics[3][100, 100] = 4000
    reference = prepared("burst", scene(mosaics))
    assert reference.facts["static_test"]["moving_part"] == 0
    assert reference.facts["defects"]["counts"]["unsteady"] == 1
    assert reference.facts["masked_pixels"] == 0


def test_blocks_and_their_neighbours_are_as_scipy_has_them() -> None:
    rng = np.random.default_rng(0)
    for shape in ((1, 1), (1, 7), (5, 1), (9, 13)):
        blocks = rng.random(shape) < 0.1
        assert np.array_equal(with_neighbours(blocks), binary_dilation(blocks, np.ones((3, 3), bool)))


def test_a_shift_is_measured_in_pixels_whatever_offset_and_gain_go_with_it() -> None:
    """Central differences of a quadratic are its slopes, so that the fit has the shift's own numbers."""
    y, x = np.mgrid[:40, :60]
    surface = 500 + 3 * x + 2 * y + 0.05 * x**2 + 0.04 * y**2 + 0.03 * x * y
    across, down = (3 + 0.1 * x + 0.03 * y)[1:-1], (2 + 0.08 * y + 0.03 * x)[1:-1]
    rows = np.stack([surface[:-2], surface[1:-1], surface[2:]], 1).astype(np.float32)
    rest = np.random.default_rng(0).normal(0, 0.5, across.shape)
    still = 4 + 0.01 * surface[1:-1] + rest
    moved = still - 0.3 * across + 0.2 * down
    found = frame_shift(moved.astype(np.float32), rows)
    # The slopes are 2.3 and 1.5 DN a pixel apart from their means, of 2,204 pixels: standard error 0.005.
    assert found.size == pytest.approx(np.hypot(0.3, 0.2), abs=0.025)
    # Offset and gain take most of what the shift does; the share is that of least squares with and without it.
    inner = np.s_[:, 1:-1]
    design = np.stack([np.ones_like(across), surface[1:-1], across, down])[(slice(None), *inner)].reshape(4, -1).T
    left = [np.linalg.lstsq(design[:, :n], moved[inner].ravel(), rcond=None)[1][0] for n in (2, 4)]
    assert found.part == pytest.approx(1 - left[1] / left[0], rel=1e-3)
    assert found.chi2 == pytest.approx((left[0] - left[1]) / 0.5**2, rel=0.1)
    none = frame_shift(still.astype(np.float32), rows)
    # χ² of two degrees: 0.1 % is above 13.8.
    assert none.chi2 < 13.8
    assert none.part < 0.01


@pytest.mark.parametrize("height", [3, 4, 5, 17, 65, 66, 67, 68, 1000])
def test_up_to_64_rows_are_sampled_evenly_from_the_second_to_the_last_but_one(height: int) -> None:
    rows = sample_rows(height)
    assert (rows[0], rows[-1], len(rows)) == (1, height - 2, min(64, height - 2))
    steps = np.diff(rows)
    assert not len(steps) or steps.max() - steps.min() <= 1


@pytest.mark.parametrize("margin", [0, 16])
@pytest.mark.parametrize("width", [0.5, 0.6, 0.7])
@pytest.mark.parametrize("kind", ["flat", "wedge"])
def test_a_large_object_that_moves_between_two_frames_is_found(kind: str, width: float, margin: int) -> None:
    """Its blocks change as a whole, which is no noise of their pixels, and fills columns: K was 0 without a word."""
    scenes = {"flat": np.full(SIZE, 900.0), "wedge": np.linspace(300, 1900, SIZE[1])[None].repeat(SIZE[0], 0)}
    frames = []
    for number in range(2):
        signal = scenes[kind].copy()
        start = number * round((1 - width) * SIZE[1])
        signal[margin : SIZE[0] - margin, start : start + round(width * SIZE[1])] = 2600
        frames.append(signal)
    reference = prepared("burst", scene(shoot(frames, 5)))
    test = reference.facts["static_test"]
    assert test["moving_part"] > 0.2
    assert test["moves_as_a_whole"]
    (words,) = reference.cautions
    assert "not a static burst" in words
    assert "by up to 0 pixels" not in words


def test_what_moves_as_a_whole_is_no_noise_of_its_pixels() -> None:
    """v − Σr²/(n − 1), at least that of rounding."""
    residuals = np.array([3.0, -1.0, -2.0])[:, None, None, None] + np.zeros((3, 1, 2, 2))
    np.testing.assert_allclose(within_variance(np.full((1, 2, 2), 20.0), residuals + 5), 20 - (9 + 1 + 4) / 2)
    np.testing.assert_allclose(within_variance(np.full((1, 2, 2), 7.0), residuals), 1 / 12)
