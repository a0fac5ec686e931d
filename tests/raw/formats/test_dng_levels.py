"""Level tags of a DNG's page, tag by tag: areas, cells, deltas and levels that are none."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from noiseflow.core.errors import RawError
from noiseflow.raw.formats.tags.dng_levels import (
    ACTIVE_AREA,
    BLACK,
    BLACK_REPEAT,
    DELTA_H,
    DELTA_V,
    LINEARIZATION,
    MASKED_AREAS,
    WHITE,
    levels_of,
)

SIZE = (12, 16)

CODES = {
    "BLACK": BLACK,
    "BLACK_REPEAT": BLACK_REPEAT,
    "DELTA_H": DELTA_H,
    "DELTA_V": DELTA_V,
    "WHITE": WHITE,
    "LINEARIZATION": LINEARIZATION,
    "ACTIVE_AREA": ACTIVE_AREA,
    "MASKED_AREAS": MASKED_AREAS,
}


def page(**tags: Any) -> Any:
    """A page of 12 × 16 pixels with tags, each by its name in `dng_levels`."""
    entries = {
        CODES[name]: SimpleNamespace(value=value if isinstance(value, tuple) else (value,), dtype=12)
        for name, value in tags.items()
    }
    return SimpleNamespace(tags=entries, imagelength=SIZE[0], imagewidth=SIZE[1])


def test_the_active_area_is_the_tag_s_or_the_whole() -> None:
    assert levels_of(page(BLACK=64)).area == (0, 0, *SIZE)
    assert levels_of(page(BLACK=64, ACTIVE_AREA=(1, 2, 11, 14))).area == (1, 2, 11, 14)
    assert levels_of(page(BLACK=64, ACTIVE_AREA=(1, 2, 11))).area == (0, 0, *SIZE)


@pytest.mark.parametrize(("top", "left"), [(1, 2), (2, 3), (4, 4)])
def test_the_cell_and_the_deltas_count_from_the_active_area(top: int, left: int) -> None:
    """Black(y, x) = BlackLevel[y mod R, x mod C] + DeltaV[y] + DeltaH[x], y and x from the active area's corner."""
    cell, rows, columns = (10.0, 20.0, 30.0, 40.0, 50.0, 60.0), tuple(range(10)), tuple(100.0 * x for x in range(12))
    found = levels_of(
        page(BLACK=cell, BLACK_REPEAT=(2, 3), DELTA_V=rows, DELTA_H=columns, ACTIVE_AREA=(1, 2, 11, 14), WHITE=4095)
    )
    assert (found.white, found.cautions) == (4095.0, ())
    assert found.said_by == "BlackLevel (2×3) + BlackLevelDeltaV + BlackLevelDeltaH"
    shape = (11 - top, 14 - left)
    black, said, _ = found.black_at(np.zeros(SIZE), "RGGB", top, left, shape)
    assert said == found.said_by
    expected = [
        [cell[3 * ((y - 1) % 2) + (x - 2) % 3] + rows[y - 1] + columns[x - 2] for x in range(left, 14)]
        for y in range(top, 11)
    ]
    assert black.pixels(shape) == pytest.approx(np.array(expected))  # type: ignore[union-attr]


def test_four_levels_without_a_cell_are_taken_as_two_by_two_and_said() -> None:
    found = levels_of(page(BLACK=(1.0, 2.0, 3.0, 4.0)))
    assert found.black is not None
    assert found.black.cell == ((1.0, 2.0), (3.0, 4.0))
    assert len(found.cautions) == 1
    for levels in ((1.0, 2.0, 3.0), (1.0, 2.0, 3.0, 4.0, 5.0)):
        other = levels_of(page(BLACK=levels))
        assert other.black is not None
        assert other.black.cell == ((1.0,),)
        assert "the first were taken" in other.cautions[0]


def test_a_cell_has_as_many_levels_as_it_has_places() -> None:
    with pytest.raises(RawError, match="lists 3 levels for a repeating cell of 2×2"):
        levels_of(page(BLACK=(1.0, 2.0, 3.0), BLACK_REPEAT=(2, 2)))
    # One level, or equal ones, are the level of all places.
    for equal in ((7.0,), (7.0, 7.0), (7.0,) * 6):
        found = levels_of(page(BLACK=equal, BLACK_REPEAT=(2, 2)))
        assert found.black is not None
        assert found.black.cell == ((7.0, 7.0), (7.0, 7.0))
        assert found.cautions == ()
    assert levels_of(page(WHITE=100)).black is None


@pytest.mark.parametrize(("name", "length"), [("DELTA_V", 12), ("DELTA_H", 16)])
def test_deltas_are_one_for_each_row_or_column_and_more_are_cut(name: str, length: int) -> None:
    found = levels_of(page(**{name: tuple(range(length + 3))}))
    assert found.black is not None
    assert found.black.pixels(SIZE)[-1, -1] == length - 1
    levels_of(page(**{name: tuple(range(length))}))
    with pytest.raises(RawError, match=f"contains {length - 1} values; expected {length}"):
        levels_of(page(**{name: tuple(range(length - 1))}))


@pytest.mark.parametrize("white", [0, -5])
def test_a_white_level_that_is_none_is_not_taken(white: float) -> None:
    found = levels_of(page(WHITE=white))
    assert found.white is None
    assert "WhiteLevel" in found.cautions[0]


def test_a_table_of_compressed_codes_is_said() -> None:
    """As of 8 bits that stand for 12: σ was 6.5 for 6 DN by its rounding, and nothing was said."""
    roots = tuple(np.rint((np.arange(256) / 255) ** 2 * 4095).tolist())
    (words,) = levels_of(page(BLACK=64.0, WHITE=4095.0, LINEARIZATION=roots)).cautions
    assert "LinearizationTable has steps of 2 to 30 DN" in words
    to_white = (*range(256), 65535.0)
    for even in ((0.0, 1.0, 2.0, 3.0), (0.0, 4.0, 8.0, 12.0), (0.0, 1.0, 1.0, 2.0), to_white):
        assert not levels_of(page(BLACK=64.0, WHITE=4095.0, LINEARIZATION=even)).cautions


@pytest.mark.parametrize("white", [1000.0, 100_000.0])
def test_masked_pixels_contradict_the_tags_beyond_both_limits(white: float) -> None:
    limit = max(2.0, 0.002 * (white - 64.0))
    found = levels_of(page(BLACK=64, WHITE=white, MASKED_AREAS=(0, 0, 12, 4, 0, 14, 12, 16)))
    assert found.masked == ((0, 0, 12, 4), (0, 14, 12, 16))
    for off, said in ((limit * 0.999, False), (limit * 1.001, True), (-limit * 1.001, True)):
        _, _, cautions = found.black_at(np.full(SIZE, 64.0 + off), "RGGB", 0, 4, (12, 10))
        assert bool(cautions) == said
    without = levels_of(page(MASKED_AREAS=(0, 0, 12, 4)))
    means, what, _ = without.black_at(np.full(SIZE, 65.0), "RGGB", 0, 4, (12, 12))
    assert means == (65.0,) * 4
    assert "MaskedAreas" in what
    leaking = np.full(SIZE, 65.0) + 20 * (np.arange(SIZE[1]) == 3)
    *_, (words,) = without.black_at(leaking, "RGGB", 0, 4, (12, 12))
    assert "the masked pixels are uneven: 65 DN on the left" in words
    # Without any level 0 is doubted if no code is near it.
    for lowest, said in ((0.0, False), (2.0, False), (2.1, True)):
        black, _, cautions = levels_of(page(WHITE=9)).black_at(np.full(SIZE, lowest), "RGGB", 0, 0, SIZE)
        assert black == (0.0,)
        assert bool(cautions) == said
