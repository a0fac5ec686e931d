"""Every phase of every array: names, planes of one colour and one place in the readout, DNG files that LibRaw reads."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import rawpy

from noiseflow.core.errors import RawError
from noiseflow.raw import RawImage, RawSettings, pack, plane_names, read_raw, unpack
from noiseflow.raw.bayer import one_plane
from noiseflow.raw.formats.dng import write_dng
from noiseflow.raw.image import fits_layout
from noiseflow.raw.inspection import inspected
from noiseflow.raw.patterns import (
    CELLS,
    CFAS,
    MONO,
    NAMED_CFAS,
    cell_side,
    cfa_name,
    cfa_of_colours,
    known_cfa,
    layout_of,
    offsets,
    shifted,
)

LARGE = [cfa for cfa in CFAS if len(cfa) > 4]
SOME = [CELLS["quad"], shifted(CELLS["quad"], 1, 2), CELLS["xtrans"], shifted(CELLS["xtrans"], 4, 5)]


def colours(cfa: str, shape: tuple[int, int]) -> np.ndarray:
    """The colour of each pixel of a mosaic, R, G, B as 0, 1, 2."""
    side = cell_side(cfa)
    cell = np.array(["RGB".index(letter) for letter in cfa]).reshape(side, side)
    return np.tile(cell, (shape[0] // side + 1, shape[1] // side + 1))[: shape[0], : shape[1]]


def mosaic(cfa: str, shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (300 + 400 * colours(cfa, shape) + rng.integers(0, 100, shape)).astype(np.uint16)


def image(cfa: str, shape: tuple[int, int] = (48, 60), **said: object) -> RawImage:
    black = tuple(float(64 + plane) for plane in range(cell_side(cfa) ** 2))
    return RawImage(mosaic(cfa, shape), cfa, black, 4095.0, **{"iso": 100.0, "exposure_s": 0.01, **said})  # type: ignore[arg-type]


def test_stores_keep_indices_of_the_list() -> None:
    assert CFAS[:5] == ("RGGB", "GRBG", "GBRG", "BGGR", MONO)
    assert Counter(map(layout_of, CFAS)) == {"bayer": 4, "mono2x2": 1, "quad": 16, "xtrans": 18}
    assert len(set(CFAS)) == len(CFAS)


@pytest.mark.parametrize("cfa", LARGE)
def test_a_plane_has_one_colour_and_planes_of_a_row_of_the_cell_one_sensor_row(cfa: str) -> None:
    side = cell_side(cfa)
    names = plane_names(layout_of(cfa))
    y, _ = np.mgrid[: 2 * side, : 3 * side]
    packed = pack(colours(cfa, y.shape), cfa)
    assert [str("RGB"[int(plane.flat[0])]) for plane in packed] == [name[0] for name in names]
    assert all(np.ptp(plane) == 0 for plane in packed)
    rows = pack(y, cfa).reshape(side, side, 2, 3) % side
    assert all(np.ptp(group) == 0 for group in rows)
    assert len({int(group.flat[0]) for group in rows}) == side
    places = np.arange(y.size).reshape(y.shape)
    np.testing.assert_array_equal(unpack(pack(places, cfa), cfa), places)
    for plane, offset in zip(pack(places, cfa), offsets(cfa), strict=True):
        np.testing.assert_array_equal(one_plane(places, offset, side), plane)


@pytest.mark.parametrize("cell", [CELLS["quad"], CELLS["xtrans"]])
def test_mirrors_and_transposes_of_a_cell_are_phases_of_it(cell: str) -> None:
    side = cell_side(cell)
    letters = np.array(list(cell)).reshape(side, side)
    for turned in (letters[::-1], letters[:, ::-1], letters.T):
        assert "".join(turned.ravel()) in CFAS


@pytest.mark.parametrize("cfa", CFAS)
def test_names_lead_back_to_the_array(cfa: str) -> None:
    assert known_cfa(cfa.lower()) == cfa
    assert RawSettings(cfa=cfa_name(cfa).split()[-1]).cfa == cfa
    if cfa != MONO:
        assert cfa in NAMED_CFAS.values()
        side = cell_side(cfa)
        rows = [cfa[start : start + side] * 2 for start in range(0, len(cfa), side)] * 3
        assert cfa_of_colours(rows) == cfa


@pytest.mark.parametrize("rows", [["RY", "YB"], ["RG", "GB", "RG"], ["RGB"], [], ["RG", "G"], ["WR", "GB"]])
def test_other_arrays_have_no_name(rows: list[str]) -> None:
    assert cfa_of_colours(rows) is None


@pytest.mark.parametrize("cfa", LARGE)
def test_a_written_dng_opens_in_libraw_with_equal_integers(cfa: str, tmp_path: Path) -> None:
    written = image(cfa)
    write_dng(tmp_path / "a.dng", written)
    read = read_raw(tmp_path / "a.dng")
    assert read.cfa == cfa
    assert read.layout == layout_of(cfa)
    assert read.black == written.black
    np.testing.assert_array_equal(read.mosaic, written.mosaic)
    with rawpy.imread(str(tmp_path / "a.dng")) as raw:
        np.testing.assert_array_equal(raw.raw_image_visible, written.mosaic)
        if read.layout == "xtrans":
            found = np.array([["RGBG"[colour] for colour in row] for row in raw.raw_pattern])
            assert "".join(found.ravel()) == cfa


@pytest.mark.parametrize("cfa", SOME)
def test_what_libraw_decodes_has_the_array_of_the_tag(cfa: str, tmp_path: Path) -> None:
    # Without an exposure time LibRaw is asked for it, and gives the pixels too.
    write_dng(tmp_path / "a.dng", image(cfa, exposure_s=None))
    read = read_raw(tmp_path / "a.dng")
    assert (read.cfa, read.black) == (cfa, image(cfa).black)
    np.testing.assert_array_equal(read.mosaic, mosaic(cfa, (48, 60)))


@pytest.mark.parametrize("cfa", SOME)
def test_a_crop_keeps_the_colour_of_each_pixel(cfa: str) -> None:
    settings = RawSettings(cfa=cfa, black=(64.0,), white=4095.0, crop=(3, 5, 24, 30))
    cropped = settings.image(mosaic(cfa, (48, 60)), "a")
    for plane, name in zip(cropped.planes(), plane_names(cropped.layout), strict=True):
        assert (plane // 400 == "RGB".index(name[0])).all()


@pytest.mark.parametrize("cfa", SOME)
def test_normalised_planes_lead_back_to_the_codes(cfa: str) -> None:
    frame = image(cfa, (50, 63))
    again = frame.with_signal(frame.normalised())
    np.testing.assert_array_equal(again.mosaic, frame.mosaic)
    assert fits_layout(frame, frame.layout)
    assert not fits_layout(frame, "bayer")
    with pytest.raises(RawError, match=r"a (X-Trans|Quad Bayer) [RGB/]+ mosaic cannot be packed as 'bayer'"):
        frame.planes("bayer")


@pytest.mark.parametrize("cfa", SOME)
def test_blocks_that_were_not_decoded_and_clips_are_found(cfa: str) -> None:
    rng = np.random.default_rng(1)
    side = cell_side(cfa)
    codes = np.clip(rng.normal(900, 200, (240, 480)), 70, 1200).astype(np.uint16)
    found = inspected(RawImage(codes, cfa, (64.0,) * side**2, 4095.0, iso=100.0))
    # A spike of independent pixels is no clip; a block of them is.
    assert not found.clip
    codes[60:120, 120:240] = 1600
    found = inspected(RawImage(codes, cfa, (64.0,) * side**2, 4095.0, iso=100.0))
    assert found.clip == (1600.0,) * side**2
    codes[60:120, 120:240] = 0
    with pytest.raises(RawError, match="they were not decoded"):
        inspected(RawImage(codes, cfa, (64.0,) * side**2, 4095.0, iso=100.0))


def test_black_levels_for_another_number_of_planes_are_refused() -> None:
    settings = RawSettings(cfa="XTRANS", black=(1.0, 2.0, 3.0, 4.0), white=100.0)
    with pytest.raises(RawError, match=r"a: 4 black levels for 36 planes; expected one, or one for each"):
        settings.image(np.zeros((12, 12), np.uint16), "a")


def test_pixels_of_a_monochrome_cell_are_in_raster_order() -> None:
    assert offsets(MONO) == ((0, 0), (0, 1), (1, 0), (1, 1))
