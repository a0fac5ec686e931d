"""Sums over the frames of a scene, some rows and some frames at a time, against plain NumPy of all at once."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from simulated_scenes import BLACK, image, shoot

from noiseflow.patches.pairings.burst import _saturating
from noiseflow.patches.pairings.frames.blocks import SIDE
from noiseflow.patches.pairings.frames.defects import DEFECT_KINDS
from noiseflow.patches.pairings.frames.motion import Motion
from noiseflow.patches.pairings.frames.packed_frames import PackedFrame, PackedFrames
from noiseflow.patches.pairings.frames.sums import Strip, Sums, noise_shares, strips, sum_strip
from noiseflow.patches.pairings.pairing import without_pixels
from noiseflow.raw.inspection import QUIET, loud_words, quiet_words

FRAMES = 5


def in_memory(mosaics: list[np.ndarray]) -> PackedFrames:
    frames = []
    for mosaic in mosaics:
        planes = np.array(image(mosaic).planes())
        frames.append(PackedFrame(without_pixels(image(mosaic)), planes.mean((1, 2)), planes))
    return PackedFrames(frames)


def burst(size: tuple[int, int]) -> PackedFrames:
    """A ramp under light that drifts, with hot pixels in every part of it, and light where blocks meet."""
    signal = np.linspace(200, 2500, size[1])[None].repeat(size[0], 0)
    stack = in_memory(shoot([signal + 3 * number for number in range(FRAMES)], 0))
    for frame in stack.frames:
        # Not beside each other in two planes, as light would be.
        for plane, pixels in enumerate(frame.planes):
            pixels[5::24, 4 + 5 * plane :: 20] = 3500
        for row in edges(pixels.shape[0])[1:-1]:
            # Neighbours in the mosaic on either side: whoever sees one side alone takes them for hot pixels.
            frame.planes[0, row - 1, 2] = 3500
            frame.planes[1:3, row, 2] = 3500
        frame.levels[:] = frame.planes.mean((1, 2))
    return stack


def edges(length: int) -> list[int]:
    """Of the blocks."""
    return np.linspace(0, length, length // SIDE + 1).astype(int).tolist()


def summed(stack: PackedFrames) -> tuple[list[Strip], Sums, np.ndarray]:
    found = [sum_strip(stack, blocks, structured=True) for blocks in strips(stack.shape)]
    sums = Sums(stack, [each.arrays() for each in found], [each.defects for each in found])
    return found, sums, np.concatenate([each.defects.mask for each in found], 1)


@pytest.mark.parametrize("size", [(196, 140), (128, 128), (60, 290)])
@pytest.mark.parametrize("rows", [1, 2, 8])
@pytest.mark.parametrize("frames", [1, 2, FRAMES])
def test_sums_of_bands_are_those_of_whole_frames(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], rows: int, frames: int
) -> None:
    stack = burst(size)
    height, width = stack.shape
    monkeypatch.setattr("noiseflow.patches.pairings.frames.blocks.STRIP", rows)
    monkeypatch.setattr("noiseflow.patches.pairings.frames.sums.BYTES_AT_ONCE", frames * SIDE * width * 4)
    found, sums, mask = summed(stack)
    assert len(found) == -(-(height // SIDE) // rows)

    planes = np.stack([frame.planes for frame in stack.frames]).astype(np.float64)
    mean = planes.mean(0)
    np.testing.assert_allclose(np.concatenate([each.mean for each in found], 1), mean, rtol=1e-7)
    steady = planes - (stack.levels - stack.levels.mean(0))[:, :, None, None]
    variance = steady.var(0, ddof=1)
    for row, (top, end) in enumerate(pairwise(edges(height))):
        for column, (left, right) in enumerate(pairwise(edges(width))):
            block = np.s_[..., top:end, left:right]
            np.testing.assert_allclose(sums.signal[:, row, column] + BLACK, mean[block].mean((1, 2)), rtol=1e-6)
            np.testing.assert_allclose(sums.variance[:, row, column], variance[block].mean((1, 2)), rtol=1e-4)
            halves = ((top + end) // 2, (left + right) // 2)
            quarters = [
                (planes - mean)[..., y, x].mean((2, 3))
                for y in (slice(top, halves[0]), slice(halves[0], end))
                for x in (slice(left, halves[1]), slice(halves[1], right))
            ]
            np.testing.assert_allclose(sums.middles[:, :, row, column], np.median(quarters, 0), atol=1e-3)
    hot = np.zeros(mask.shape, bool)
    for plane, pixels in enumerate(hot):
        pixels[5::24, 4 + 5 * plane :: 20] = True
    np.testing.assert_array_equal(mask, hot)
    assert sums.defects.counts == dict.fromkeys(DEFECT_KINDS, 0) | {"hot": hot.sum()}
    assert {pixel[:3] for pixel in sums.defects.listed} == set(zip(*np.nonzero(hot), strict=True))


def test_the_variance_of_two_frames_is_half_the_square_of_their_difference() -> None:
    stack = in_memory(shoot([np.full((64, 64), level) for level in (500.0, 520.0)], 3))
    _, sums, _ = summed(stack)
    one, other = (frame.planes - frame.levels[:, None, None] for frame in stack.frames)
    assert float(sums.variance.mean()) == pytest.approx(float(((one - other) ** 2 / 2).mean()), rel=1e-4)


def test_defects_do_not_depend_on_where_rows_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A neighbour's own neighbours count: light on some of them makes a pixel no defect."""
    rng = np.random.default_rng(2)
    stack = in_memory(shoot([np.full((640, 400), 300.0)] * FRAMES, 0))
    bright = (rng.uniform(size=(4, *stack.shape)) < 0.05) * rng.uniform(200, 3000, (4, *stack.shape))
    for frame in stack.frames:
        frame.planes[:] = frame.planes + bright.astype(np.uint16)
        frame.levels[:] = frame.planes.mean((1, 2))
    found = {}
    for rows in (1, 1000):
        monkeypatch.setattr("noiseflow.patches.pairings.frames.blocks.STRIP", rows)
        strips_of, sums, mask = summed(stack)
        found[rows] = len(strips_of), mask, sums.defects.counts
    assert found[1][0] == 320 // SIDE
    assert found[1000][0] == 1
    assert found[1][1].sum() > 100
    np.testing.assert_array_equal(found[1][1], found[1000][1])
    assert found[1][2] == found[1000][2]


@pytest.mark.parametrize("count", [3, 4, 12])
@pytest.mark.parametrize("quiet", [None, 0, 2])
@pytest.mark.parametrize("rows_shake", [0.0, 8.0])
def test_a_frame_without_noise_is_found(count: int, quiet: int | None, rows_shake: float) -> None:
    """By 8,000 pairs of pixels a share is known to 2/√8000·(n − 1)/(n − 2): 0.4 is 13 standard errors away."""
    rng = np.random.default_rng(count)
    signal = np.linspace(200, 2500, 256)[None].repeat(128, 0)
    mosaics = shoot([signal + 3 * number for number in range(count)], count)
    if quiet is not None:
        mosaics[quiet] = np.rint(BLACK + signal).astype(np.uint16)
    for mosaic in mosaics:
        mosaic += np.rint(np.abs(rng.normal(0, rows_shake, (128, 1)))).astype(np.uint16)
    # Something moves through a twentieth of the frame.
    mosaics[1][40:56, 60:160] += 900
    shares = noise_shares(in_memory(mosaics)).of_least
    assert np.flatnonzero(shares < QUIET).tolist() == ([] if quiet is None else [quiet])
    if quiet is not None:
        # What moved, and choosing still pixels by the frames' own noise, leave some.
        assert abs(shares[quiet]) < 0.3


@pytest.mark.parametrize("quiet", [None, 1])
@pytest.mark.parametrize("light", [(0.95, 1, 1.05), (1.0, 0.9, 0.7, 0.6, 0.55)])
def test_light_that_changes_over_a_texture_is_no_quiet_frame(light: tuple[float, ...], quiet: int | None) -> None:
    """Frames between the others in light lie near their mean: their variance came to less than nothing."""
    rng = np.random.default_rng(0)
    texture = 1500 * np.exp(rng.normal(0, 0.3, (128, 256)))
    mosaics = shoot([each * texture for each in light], 0)
    if quiet is not None:
        mosaics[quiet] = np.rint(BLACK + light[quiet] * texture).clip(0, 4095).astype(np.uint16)
    shares = noise_shares(in_memory(mosaics)).of_least
    assert np.flatnonzero(shares < QUIET).tolist() == ([] if quiet is None else [quiet])
    if quiet is None:
        # By 16,000 pairs of pixels, 90 % of them, a share is known to 1.5 %.
        assert shares.min() > 0.9


@pytest.mark.parametrize(
    ("level", "contrast", "light"),
    [(12, 8, (1, 1.2)), (12, 5, (1, 1.3)), (300, 90, (1, 3)), (300, 90, (1, 1 / 2.1, 2.1))],
)
def test_frames_that_cannot_be_brought_to_one_light_are_not_quiet(
    level: float, contrast: float, light: tuple[float, ...]
) -> None:
    texture = np.random.default_rng(0).normal(level, contrast, (128, 256)).clip(0)
    shares = noise_shares(in_memory(shoot([each * texture for each in light], 0))).of_least
    assert not (shares < QUIET).any()


@pytest.mark.parametrize("light", [1.5, 1 / 1.5])
@pytest.mark.parametrize("photons", [True, False])
def test_a_frame_of_other_light_is_neither_quiet_nor_loud(light: float, photons: bool) -> None:
    """Shot noise has r times the variance, read noise once: 1.5 times the light was loud, with 1.5 of the variance."""
    signal = np.full((128, 256), 600.0)
    mosaics = shoot([light * signal] + [signal] * 5, 0)
    if not photons:
        rng = np.random.default_rng(0)
        mosaics = [
            np.rint(BLACK + (light if n == 0 else 1) * signal + rng.normal(0, 10, signal.shape)).astype(np.uint16)
            for n in range(6)
        ]
    shares = noise_shares(in_memory(mosaics))
    names = list("abcdef")
    assert quiet_words(names, shares.of_least) == ""
    assert loud_words(names, shares.of_most) == ""
    mosaics[3] = np.rint(BLACK + signal + 2 * (mosaics[3].astype(float) - BLACK - signal)).astype(np.uint16)
    assert loud_words(names, noise_shares(in_memory(mosaics)).of_most).startswith("d has ")


@pytest.mark.parametrize("count", [2, 4, 8])
@pytest.mark.parametrize("shape", ["flat", "ramp", "texture"])
def test_frames_of_another_gain_at_the_same_level_are_named(count: int, shape: str) -> None:
    """Half of the frames have twice the gain, and with it twice the variance of shot noise."""
    scene = {
        "flat": np.full((128, 256), 900.0),
        "ramp": np.linspace(200, 2500, 256)[None].repeat(128, 0),
        "texture": 900 * np.exp(np.random.default_rng(1).normal(0, 0.3, (128, 256))),
    }[shape]
    same = shoot([scene] * count, 0)
    assert noise_shares(in_memory(same)).unlike == ""
    mean = scene + BLACK
    other = [np.rint(mean + 2**0.5 * (each - mean)).astype(np.uint16) for each in shoot([scene] * (count // 2), 3)]
    said = noise_shares(in_memory([*same[: count - count // 2], *other])).unlike
    # Structure of a scene hides the noise of two frames.
    assert ("times the noise variance of the other frames" in said) == (count > 2 or shape != "texture")


def test_light_that_changes_is_no_other_gain() -> None:
    for light, level in (((1, 1.2, 0.9, 1.1), 900), ((1, 1.2, 0.8, 1.1, 0.9), 8)):
        scene = level * np.linspace(0.2, 1.8, 256)[None].repeat(128, 0)
        assert noise_shares(in_memory(shoot([each * scene for each in light], 0))).unlike == ""


def test_black_that_drifts_under_a_texture_is_no_other_gain() -> None:
    """Taken for light, 6 DN of 60 scale the texture by a tenth: 3 of 240 scenes were named."""
    for seed in range(6):
        rng = np.random.default_rng(seed)
        texture = 60 * np.exp(rng.normal(0, 0.4, (192, 256)))
        drift = np.rint(rng.normal(0, 8, 12)).astype(int)
        mosaics = [np.uint16(each + by) for each, by in zip(shoot([texture] * 12, seed), drift, strict=True)]
        assert noise_shares(in_memory(mosaics)).unlike == ""


def test_frames_that_are_cut_off_at_code_0_are_not_compared() -> None:
    dark = np.random.default_rng(0).normal(0, [[[9]], [[9]], [[9]], [[18]]], (4, 128, 256))
    for black, said in ((50, True), (8, False)):
        mosaics = [np.rint(each + black).clip(0).astype(np.uint16) for each in dark]
        assert bool(noise_shares(in_memory(mosaics)).unlike) == said


@pytest.mark.parametrize("count", [2, 6])
def test_what_cannot_be_compared_is_not(count: int) -> None:
    few = shoot([np.full((8, 16), 500.0)] * count, 0)
    clipped = [np.full_like(mosaic, 4095) for mosaic in shoot([np.full((128, 256), 500.0)] * count, 0)]
    for mosaics in (few, clipped):
        assert np.isnan(noise_shares(in_memory(mosaics)).of_least).all()


def test_a_frame_that_clips_is_not_quiet() -> None:
    """Half of the second frame is at the white level: its other half has the noise of the first."""
    mosaics = shoot([np.full((128, 256), 500.0)] * 2, 0)
    mosaics[1][:64] = 4095
    assert noise_shares(in_memory(mosaics)).of_least.min() > 0.9


def test_noise_below_a_code_is_not_compared() -> None:
    """Frames at the middle of a code have a fifth of the noise of those between two: σ is 0.3 DN."""
    levels = [500.0, 500.5, 500.0, 500.5, 500.5]
    rng = np.random.default_rng(0)
    mosaics = [np.rint(level + rng.normal(0, 0.3, (128, 256))).astype(np.uint16) for level in levels]
    assert np.isnan(noise_shares(in_memory(mosaics)).of_least).all()


@pytest.mark.parametrize("moves", [False, True])
def test_noise_that_falls_is_of_full_pixels_but_not_where_something_moves(moves: bool) -> None:
    """Foliage at a middle signal has 12 times the variance of photons, which is not that of what is brighter."""
    signal = np.linspace(100, 3000, 400).reshape(1, 20, 20)
    foliage = (signal > 500) & (signal < 900)
    sums = SimpleNamespace(variance=np.where(foliage, 6.0, 0.5) * signal, saturated=np.zeros(signal.shape, bool))
    motion = Motion(foliage[0] & moves, False, 0.1, (), 0.0, 1.0)
    found = _saturating(sums, signal, motion)  # type: ignore[arg-type]
    assert (found is None) == moves


@pytest.mark.parametrize(("width", "found"), [(0.3, False), (3.0, True)])
def test_noise_that_rounding_takes_away_is_not_of_full_pixels(width: float, found: bool) -> None:
    """At a σ of 0.3 DN codes vary by 0.25 DN² between two codes and by 0.09 at one; full pixels lose more."""
    signal = np.linspace(0.5, 0.0, 400).reshape(1, 20, 20)
    codes = np.rint(signal[..., None] + np.random.default_rng(0).normal(0, width, (1, 20, 20, 2000)))
    variance = codes.var(-1) * np.where((signal < 0.1) & found, 0.2, 1.0)
    sums = SimpleNamespace(variance=variance, saturated=np.zeros(signal.shape, bool))
    motion = Motion(np.zeros((20, 20), bool), False, 0.0, (), 0.0, 1.0)
    assert (_saturating(sums, 1 - signal, motion) is not None) == found  # type: ignore[arg-type]
