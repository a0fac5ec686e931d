"""Black levels by the DNG specification's formula, against the formula written out here and against LibRaw."""

import math
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import rawpy
from tiff_writer import write_dng_tags

from noiseflow.core.errors import RawError
from noiseflow.raw.bayer import BAYER_PHASES, MONO, offsets
from noiseflow.raw.black_levels import BlackMap, plane_levels, said_of_leak
from noiseflow.raw.formats.tags.dng_levels import masked_means
from noiseflow.raw.image import RawImage
from noiseflow.raw.reading import read_raw
from noiseflow.raw.settings import RawSettings

SHAPE = (40, 48)


def codes(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(300, 3000, SHAPE).astype(np.uint16)


@pytest.mark.parametrize("seeds", [range(200), pytest.param(range(200, 1000), marks=pytest.mark.slow)])
def test_the_specifications_formula(tmp_path: Path, seeds: range) -> None:
    """1,000 random combinations of base, cell, row and column deltas, masked areas, byte order and phase."""
    for seed in seeds:
        check_formula(tmp_path, seed)


def check_formula(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    order, cfa = rng.choice(["<", ">"]), str(rng.choice([*BAYER_PHASES, MONO]))
    repeat = (int(rng.integers(1, 5)), int(rng.integers(1, 5)))
    cell = rng.integers(0, 200, repeat) if rng.random() < 0.5 else np.full(repeat, 64)
    top, left = 2 * rng.integers(0, 4, 2)
    height, width = SHAPE[0] - top, SHAPE[1] - left
    tags: dict[int, tuple[str, object]] = {50829: ("long", [int(top), int(left), *SHAPE])}
    rows, columns = np.zeros(height), np.zeros(width)
    if rng.random() < 0.5:
        rows = np.round(rng.normal(0, 3, height), 4)
        tags[50716] = ("srational", rows.tolist())
    if rng.random() < 0.5:
        columns = np.round(rng.normal(0, 3, width), 4)
        tags[50715] = ("srational", columns.tolist())
    if rng.random() < 0.3 and left:
        tags[50830] = ("long", [0, 0, SHAPE[0], int(left)])
    tags[50713], tags[50714] = ("short", list(repeat)), ("rational", cell.ravel().tolist())
    path = write_dng_tags(tmp_path / "a.dng", codes(seed), cfa, tags, order=order)
    image = read_raw(path)
    y, x = np.mgrid[:height, :width]
    expected = cell[y % repeat[0], x % repeat[1]] + rows[y] + columns[x]
    found = np.array(
        np.broadcast_to(
            image.levels("mono" if cfa == MONO else "bayer")[0], image.planes("mono" if cfa == MONO else "bayer").shape
        )
    )
    side = 1 if cfa == MONO else 2
    for plane, (row, column) in enumerate(offsets(cfa)[: side * side]):
        assert found[plane] == pytest.approx(expected[row::side, column::side], abs=2e-4)
        assert image.black[plane] == pytest.approx(expected[row::side, column::side].mean(), abs=2e-4)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("cfa", BAYER_PHASES)
@pytest.mark.parametrize("raw_in", ["ifd0", "subifd"])
def test_levels_and_pixels_are_those_of_libraw_for_constant_planes(
    tmp_path: Path, order: str, cfa: str, raw_in: str
) -> None:
    tags = {
        50713: ("short", [2, 2]),
        50714: ("short", [60, 61, 62, 63]),
        50717: ("long", [4000]),
        50716: ("srational", [4.0, 0.0] * 20),
    }
    path = write_dng_tags(tmp_path / "a.dng", codes(), cfa, tags, order=order, raw_in=raw_in)
    image = read_raw(path)
    with rawpy.imread(str(path)) as raw:
        assert np.array_equal(image.mosaic, raw.raw_image_visible)
        assert image.white == raw.white_level == 4000
    cell = [64.0, 65.0, 62.0, 63.0]
    assert image.black == tuple(cell[2 * row + column] for row, column in offsets(cfa))
    assert image.black_map is None


def test_four_levels_without_a_cell_are_a_2x2_cell_and_said(tmp_path: Path) -> None:
    path = write_dng_tags(tmp_path / "a.dng", codes(), "GBRG", {50714: ("short", [60, 61, 62, 63])})
    image = read_raw(path)
    assert image.black == (62.0, 63.0, 60.0, 61.0)
    assert "without BlackLevelRepeatDim" in image.cautions[0]


@pytest.mark.parametrize("delta", [50715, 50716])
def test_deltas_that_are_too_few_are_refused(tmp_path: Path, delta: int) -> None:
    path = write_dng_tags(tmp_path / "a.dng", codes(), "RGGB", {delta: ("srational", [1.0, 2.0])})
    with pytest.raises(RawError, match=r"a\.dng: BlackLevelDelta. contains 2 values; expected 4"):
        read_raw(path)


@pytest.mark.parametrize("raw_in", ["ifd0", "subifd"])
@pytest.mark.parametrize("order", "<>")
def test_levels_in_the_first_directory_count_where_the_raw_one_has_none(
    tmp_path: Path, raw_in: str, order: str
) -> None:
    levels = {50713: ("short", [2, 2]), 50714: ("short", [60, 61, 62, 63]), 50717: ("long", [4000])}
    path = write_dng_tags(tmp_path / "a.dng", codes(), "RGGB", raw_in=raw_in, camera=levels, order=order)
    image = read_raw(path)
    assert (image.black, image.white) == ((60.0, 61.0, 62.0, 63.0), 4000.0)
    with rawpy.imread(str(path)) as raw:
        assert sorted(raw.black_level_per_channel) == [60, 61, 62, 63]
    assert dict(image.taken_from)["black"] == "BlackLevel (2×2)" + (" of IFD0" if raw_in == "subifd" else "")


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({}, "no tag gives the black level"),
        ({50714: ("rational", [(64, 0)])}, "BlackLevel contains a ratio with denominator 0"),
        ({50830: ("long", [0, 90, 40, 96])}, "no tag gives the black level"),
    ],
)
def test_a_black_level_of_0_that_nothing_says_is_doubted(tmp_path: Path, tags: dict, said: str) -> None:
    path = write_dng_tags(tmp_path / "a.dng", codes(), "RGGB", tags)
    image = read_raw(path)
    assert image.black == (0.0,) * 4
    assert any(said in words for words in image.cautions)
    assert read_raw(path, RawSettings(black=(64.0,))).black == (64.0,) * 4
    dark = codes() * (np.arange(SHAPE[1]) > 3).astype(np.uint16)
    assert not read_raw(write_dng_tags(tmp_path / "b.dng", dark, "RGGB")).cautions


@pytest.mark.parametrize("kind", ["short", "long"])
def test_white_levels_that_differ_are_said(tmp_path: Path, kind: str) -> None:
    several = {50714: ("short", [64]), 50717: (kind, [4000, 3900, 3900, 3950])}
    image = read_raw(write_dng_tags(tmp_path / "a.dng", codes(), "RGGB", several))
    assert image.white == 3900
    assert "WhiteLevel lists 4000, 3900, 3900, 3950" in image.cautions[0]
    same = {50714: ("short", [64]), 50717: (kind, [4000] * 4)}
    assert read_raw(write_dng_tags(tmp_path / "b.dng", codes(), "RGGB", same)).cautions == ()


def test_masked_areas_count_outside_of_the_active_area(tmp_path: Path) -> None:
    pixels = codes()
    pixels[:, :8] = 70
    tags = {50829: ("long", [0, 8, *SHAPE]), 50830: ("long", [0, 0, SHAPE[0], 20]), 50717: ("long", [4000])}
    image = read_raw(write_dng_tags(tmp_path / "a.dng", pixels, "RGGB", tags))
    assert image.black == (70.0,) * 4
    assert "overlaps the active area" in image.cautions[0]


@pytest.mark.parametrize("delta", [50715, 50716])
def test_deltas_of_a_ratio_to_0_are_refused(tmp_path: Path, delta: int) -> None:
    values = [(1, 1)] * (SHAPE[delta == 50715] - 1) + [(1, 0)]
    path = write_dng_tags(tmp_path / "a.dng", codes(), "RGGB", {50714: ("short", [64]), delta: ("srational", values)})
    with pytest.raises(RawError, match=r"a\.dng: BlackLevelDelta. contains a ratio with denominator 0"):
        read_raw(path)


@pytest.mark.parametrize("masked", [256, 64])
def test_masked_pixels_are_compared_with_the_tags(tmp_path: Path, masked: int) -> None:
    pixels = codes()
    pixels[:, :8] = masked
    tags = {
        50829: ("long", [0, 8, *SHAPE]),
        50830: ("long", [0, 0, SHAPE[0], 8]),
        50714: ("short", [64]),
        50717: ("long", [4000]),
    }
    image = read_raw(write_dng_tags(tmp_path / "a.dng", pixels, "RGGB", tags))
    assert image.black == (64.0,) * 4
    assert [("masked pixels have a mean of 256 DN" in words) for words in image.cautions] == [True] * (masked == 256)


def test_a_flag_wins(tmp_path: Path) -> None:
    tags = {50714: ("short", [64]), 50716: ("srational", np.linspace(-9, 9, SHAPE[0]).tolist())}
    image = read_raw(write_dng_tags(tmp_path / "a.dng", codes(), "RGGB", tags), RawSettings(black=(70.0,)))
    assert (image.black, image.black_map) == ((70.0,) * 4, None)
    assert dict(image.taken_from)["black"] == "--black"


def test_a_crop_moves_the_map(tmp_path: Path) -> None:
    deltas = np.arange(SHAPE[0], dtype=float)
    tags = {50713: ("short", [1, 3]), 50714: ("short", [10, 20, 30]), 50716: ("srational", deltas.tolist())}
    path = write_dng_tags(tmp_path / "a.dng", codes(), "RGGB", tags)
    image = read_raw(path, RawSettings(crop=(5, 4, 12, 10)))
    assert image.black_map is not None
    y, x = np.mgrid[5:17, 4:14]
    assert np.allclose(image.black_map.pixels((12, 10)), np.array([10, 20, 30])[x % 3] + y, atol=1e-4)


def test_levelled_keeps_the_noise_and_what_is_clipped() -> None:
    rng = np.random.default_rng(1)
    rows = tuple(np.round(rng.normal(0, 20, SHAPE[0]), 3).tolist())
    mosaic = codes(3)
    mosaic[0, :5], mosaic[1, :5] = 0, 4095
    levels, black_map = plane_levels(BlackMap(((100.0,),), rows), "RGGB", SHAPE)
    image = RawImage(mosaic, "RGGB", levels, 4095.0, black_map=black_map)
    plain = image.levelled()
    assert plain.black_map is None
    assert "subtracted pixel by pixel" in plain.cautions[0]
    assert np.array_equal(plain.mosaic == 0, mosaic == 0)
    assert np.array_equal(plain.mosaic >= 4095, mosaic >= 4095)
    inside = (mosaic > 0) & (mosaic < 4095)
    moved = mosaic.astype(int) - plain.mosaic
    mean = np.where(np.arange(SHAPE[0]) % 2, levels[2], levels[0])
    assert np.array_equal(moved[inside], np.rint(100 + np.array(rows) - mean)[:, None].repeat(SHAPE[1], 1)[inside])
    above = plain.mosaic - mean[:, None] - (mosaic - 100 - np.array(rows)[:, None])
    assert np.abs(above[inside]).max() <= 0.5
    left = plain.left_by_levelling()
    assert left is not None
    remaining = (above + mean[:, None] - plain.black[0])[::2, ::2]
    assert np.allclose(left[0][inside[::2, ::2]], remaining[inside[::2, ::2]])
    assert np.allclose(left.mean((1, 2)), 0, atol=1e-12)


@pytest.mark.parametrize("deltas", [(0.6, -0.2, -0.2, -0.2), (0.5, 0.0, 0.0, 0.0), (0.49, 0.49, 0.49, -1.47)])
def test_what_levelling_leaves_adds_up_to_nothing(deltas: tuple[float, ...]) -> None:
    """Rounded each by itself such offsets leave up to 0.25 DN on average: an error of the black level."""
    rows = tuple(deltas[row // 2 % 4] for row in range(16))
    levels, black_map = plane_levels(BlackMap(((100.0,),), rows), "RGGB", (16, 64))
    # Dithered by every part of a DN: the mean of the codes is that of the light to 1/32 DN.
    dither = (np.arange(64) // 2 + 0.5) / 32
    mosaic = np.floor(500 + np.array(rows)[:, None] + dither).astype(np.uint16)
    image = RawImage(mosaic, "RGGB", levels, 4095.0, black_map=black_map).levelled()
    assert abs(image.mosaic.mean() - np.mean(image.black) - 400) < 1 / 32


def test_rationals_of_any_cell_are_exact() -> None:
    third = float(Fraction(1, 3))
    levels, rest = plane_levels(BlackMap(((third, 1.0), (2.0, 3.0)), (1.0,) * 6), "RGGB", (6, 6))
    assert rest is None
    assert math.isclose(levels[0], 1 + third)


@pytest.mark.parametrize("cfa", ["RGGB", "GBRG", MONO])
@pytest.mark.parametrize("corner", [(0, 0), (0, 1), (1, 0), (1, 1), (5, 2)])
def test_masked_pixels_are_those_of_each_plane_wherever_their_areas_begin(cfa: str, corner: tuple[int, int]) -> None:
    """Each plane its own level, in the phase at `corner`; areas of both parities, that are averaged by their sizes."""
    top, left = corner
    cell = np.zeros((2, 2))
    for index, (row, column) in enumerate(offsets(cfa)[:4]):
        cell[row % 2, column % 2] = 100.0 if cfa == MONO else 100.0 + index
    rows, columns = np.indices((12, 14))
    pixels = cell[(rows - top) % 2, (columns - left) % 2]
    areas = ((0, 0, 5, 4), (1, 5, 4, 8), (6, 9, 12, 14))
    planes = 1 if cfa == MONO else 4
    assert masked_means(pixels, cfa, top, left, areas) == tuple(100.0 + index for index in range(planes))
    heavier = pixels.copy()
    heavier[6:12, 9:14] += 7.0
    found = masked_means(heavier, cfa, top, left, areas)
    assert found is not None
    for (row, column), level, before in zip(
        offsets(cfa), found, masked_means(pixels, cfa, top, left, areas) or (), strict=False
    ):
        of_plane = (
            np.ones(pixels.shape, bool)
            if cfa == MONO
            else (((rows - top) % 2 == row) & ((columns - left) % 2 == column))
        )
        sizes = [int(of_plane[y0:y1, x0:x1].sum()) for y0, x0, y1, x1 in areas]
        assert level == pytest.approx(before + 7.0 * sizes[2] / sum(sizes))


def test_a_plane_without_a_masked_pixel_has_no_mean() -> None:
    assert masked_means(np.zeros((4, 4)), "RGGB", 0, 0, ((0, 0, 1, 4),)) is None
    assert masked_means(np.zeros((4, 4)), MONO, 0, 0, ((0, 0, 1, 4),)) == (0.0,)


@pytest.mark.parametrize(
    ("leak", "said"),
    [
        ("right", r"6[34]\S* DN on the left of their area and [78]\S+ on the right"),
        ("top", r"6[34]\S* DN on the bottom of their area and [78]\S+ on the top"),
        ("", ""),
        ("rows", ""),
        ("columns", ""),
        ("little", ""),
        ("NaN", ""),
    ],
)
def test_light_that_leaks_into_masked_pixels_is_said(leak: str, said: str) -> None:
    """It was the black level, in silence; offsets of rows, columns and planes are no leak: six standard errors."""
    rng = np.random.default_rng(0)
    along = np.linspace(0, 1, 24) ** 3
    added = {
        "right": 30 * along + np.zeros((200, 1)),
        "top": 30 * along[::-1, None] + np.zeros((1, 200)),
        "rows": 2 * rng.standard_normal((200, 1)) + np.zeros((1, 24)),
        "columns": 0.3 * rng.standard_normal((1, 24)) + np.zeros((200, 1)),
        "little": 0.8 * along + np.zeros((200, 1)),
        "NaN": np.full((200, 24), np.nan),
    }.get(leak, np.zeros((200, 24)))
    planes = np.tile([[0.0, 2.0], [4.0, 6.0]], (added.shape[0] // 2, added.shape[1] // 2))
    pixels = 61 + planes + rng.normal(0, 3, added.shape) + added
    words = said_of_leak(pixels, 2, 1023.0)
    assert bool(re.search(said, words)) if said else words == ""


def test_a_leak_is_compared_with_the_range() -> None:
    pixels = 64 + np.repeat([[0.0, 0.0, 4.0, 4.0]], 100, 0)
    assert said_of_leak(pixels, 1, 1023.0)
    assert not said_of_leak(pixels, 1, 16383.0)
    assert not said_of_leak(pixels[:1], 1, 1023.0)
    assert not said_of_leak(pixels[:, :1], 2, 1023.0)
