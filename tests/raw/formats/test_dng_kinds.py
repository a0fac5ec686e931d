"""DNGs as others write them: compressed, tiled, of floats, with masked borders."""

import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings, strategies as st
from lossless_jpeg import encode

from noiseflow.core.errors import RawError
from noiseflow.raw.bayer import BAYER_PHASES, offsets, shifted
from noiseflow.raw.reading import read_raw

RNG = np.random.default_rng(0)
CODES = RNG.integers(0, 4000, (64, 96)).astype(np.uint16)


def tags(cfa: str = "RGGB", *more: tuple[object, ...]) -> list[tuple[object, ...]]:
    pattern = bytes("RGB".index(colour) for colour in cfa)
    return [
        (33421, "H", 2, (2, 2), True),
        (33422, "B", 4, pattern, True),
        (50706, "B", 4, bytes((1, 4, 0, 0)), True),
        (271, "s", 0, "Maker", True),
        (272, "s", 0, "One", True),
        *more,
    ]


def write(path: Path, pixels: np.ndarray, *more: tuple[object, ...], cfa: str = "RGGB", **how: object) -> Path:
    tifffile.imwrite(path, pixels, photometric=32803, extratags=tags(cfa, *more), metadata=None, **how)
    return path


@pytest.mark.parametrize("cfa", BAYER_PHASES)
def test_lossless_jpeg(tmp_path: Path, cfa: str) -> None:
    path = write(tmp_path / "a.dng", np.zeros_like(CODES), cfa=cfa)
    data, jpeg = bytearray(path.read_bytes()), encode(CODES)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        changes = {259: 7, 273: len(data), 279: len(jpeg)}
        places = {tag: page.tags[tag] for tag in changes}
        for tag, value in changes.items():
            form = {3: "<H", 4: "<I"}[int(places[tag].dtype)]
            struct.pack_into(form, data, places[tag].valueoffset, value)
    path.write_bytes(bytes(data) + jpeg)
    image = read_raw(path)
    assert image.cfa == cfa
    assert np.array_equal(image.mosaic, CODES)


@pytest.mark.parametrize("how", [{}, {"tile": (32, 32)}, {"rowsperstrip": 8, "predictor": True}, {"byteorder": ">"}])
def test_deflated_integers(tmp_path: Path, how: dict[str, object]) -> None:
    image = read_raw(write(tmp_path / "a.dng", CODES, (50714, "H", 1, 60, True), compression="zlib", **how))
    assert np.array_equal(image.mosaic, CODES)
    assert (image.cfa, image.black, image.white, image.camera) == ("RGGB", (60.0,) * 4, 65535.0, "Maker One")


@pytest.mark.parametrize(("dtype", "how"), [("f4", {}), ("f2", {}), ("f4", {"compression": "zlib"})])
def test_floats_stay_floats(tmp_path: Path, dtype: str, how: dict[str, object]) -> None:
    pixels = RNG.uniform(0, 1, (64, 96)).astype(dtype)
    image = read_raw(write(tmp_path / "a.dng", pixels, **how))
    assert image.mosaic.dtype.kind == "f"
    assert not image.whole
    assert np.array_equal(image.mosaic, pixels.astype(np.float32))
    assert image.white == 1.0


def test_a_compression_that_cannot_be_decoded_says_what_to_do(tmp_path: Path) -> None:
    try:
        import imagecodecs  # noqa: F401
    except ImportError:
        pass
    else:
        pytest.skip("imagecodecs is installed: all is decoded")
    path = write(tmp_path / "a.dng", CODES.astype(np.float32) / 4000, compression="zlib")
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        compression = tiff.pages[0].tags[259]
        struct.pack_into("<H", data, compression.valueoffset, 34712)
    path.write_bytes(bytes(data))
    with pytest.raises(RawError, match=r"a\.dng: .*; install it with: pip install imagecodecs"):
        read_raw(path)


@pytest.mark.parametrize(("code", "name"), [(52546, "JPEG XL, as of DNG 1.7"), (34892, "lossy JPEG")])
@pytest.mark.parametrize("order", "<>")
def test_what_libraw_lacks_is_named(tmp_path: Path, code: int, name: str, order: str) -> None:
    path = write(tmp_path / "a.dng", CODES, byteorder=order)
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        struct.pack_into(order + "H", data, tiff.pages[0].tags[259].valueoffset, code)
    path.write_bytes(bytes(data))
    with pytest.raises(RawError, match=rf"a\.dng: .*compressed as {name}; convert it to an uncompressed DNG"):
        read_raw(path)


@pytest.mark.parametrize("tag", [51008, 51009])
@pytest.mark.parametrize("codes", [(5, 7), (10, 9), (8,), (11, 11), (9, 1, 3), (5,)])
def test_opcodes_that_bend_the_codes_are_said(tmp_path: Path, tag: int, codes: tuple[int, ...]) -> None:
    body = b"".join(struct.pack(">4I", code, 0x01030000, 1, 12) + bytes(12) for code in codes)
    entry = (tag, "B", 4 + len(body), struct.pack(">I", len(codes)) + body, True)
    image = read_raw(write(tmp_path / "a.dng", CODES, (50714, "H", 1, 60, True), entry))
    said = [words for words in image.cautions if "reads the codes without it" in words]
    names = {7: "MapTable", 8: "MapPolynomial", 10: "DeltaPerRow", 11: "DeltaPerColumn"}
    expected = [names[code] for code in codes if code in names]
    assert len(said) == bool(expected)
    if expected:
        assert f"OpcodeList{tag - 51007} has {expected[0]}," in said[0]


def test_the_last_opcode_may_have_no_parameters(tmp_path: Path) -> None:
    body = struct.pack(">I", 1) + struct.pack(">4I", 8, 0x01030000, 1, 0)
    entry = (51008, "B", len(body), body, True)
    image = read_raw(write(tmp_path / "a.dng", CODES, (50714, "H", 1, 60, True), entry))
    assert any("OpcodeList1 has MapPolynomial," in words for words in image.cautions)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(BAYER_PHASES), st.integers(0, 5), st.integers(2, 7))
def test_masked_pixels_tell_the_black_level_where_no_tag_does(
    tmp_path_factory: pytest.TempPathFactory, cfa: str, top: int, left: int
) -> None:
    pixels = CODES.copy()
    height, width = pixels.shape
    # LibRaw begins at an even row and column, one further than an odd active area does.
    visible = pixels[top + top % 2 :, left + left % 2 :]
    masked = (50830, "H", 4, (0, 0, height, left), True)
    area = (50829, "H", 4, (top, left, height, width), True)
    folder = tmp_path_factory.mktemp("masked")
    image = read_raw(write(folder / "a.dng", pixels, area, masked, cfa=cfa))
    assert (image.cfa, image.mosaic.shape) == (shifted(cfa, top, left), visible.shape)
    assert np.array_equal(image.mosaic, visible)
    # Colour of each stored pixel, from the phase at the active area's corner.
    colours = np.array(list(shifted(cfa, top, left))).reshape(2, 2)
    for plane, (row, column) in enumerate(offsets(cfa)):
        stored = ((row + top) % 2, (column + left) % 2)
        assert colours[stored] == "RGGB"[plane]
        assert image.black[plane] == pytest.approx(pixels[stored[0] :: 2, :left][:, stored[1] :: 2].mean())


def test_the_tag_wins_over_masked_pixels(tmp_path: Path) -> None:
    area, masked = (50829, "H", 4, (4, 8, 64, 96), True), (50830, "H", 4, (0, 0, 64, 8), True)
    levels = [(50713, "H", 2, (2, 2), True), (50714, "H", 4, (10, 11, 12, 13), True)]
    image = read_raw(write(tmp_path / "a.dng", CODES, area, masked, *levels, cfa="BGGR"))
    assert image.black == (13.0, 12.0, 11.0, 10.0)


@pytest.mark.parametrize("shape", [(48, 64), (64, 48)])
def test_levels_by_row_and_column_of_deflated_pixels(tmp_path: Path, shape: tuple[int, int]) -> None:
    """BlackLevel of the cell, plus BlackLevelDeltaH of the column and BlackLevelDeltaV of the row."""
    pixels = RNG.integers(500, 4000, shape).astype(np.uint16)
    rows, columns = shape[0] - 8, shape[1] - 4
    down, across = np.arange(rows) // 4, np.arange(columns) // 3
    more = [
        (50713, "H", 2, (2, 2), True),
        (50714, "H", 4, (60, 64, 68, 72), True),
        (50715, "2i", columns, np.stack([across, np.ones_like(across)], 1).ravel().tolist(), True),
        (50716, "2i", rows, np.stack([down, np.ones_like(down)], 1).ravel().tolist(), True),
        (50717, "H", 1, 4000, True),
        (50829, "H", 4, (4, 2, shape[0] - 4, shape[1] - 2), True),
    ]
    image = read_raw(write(tmp_path / "a.dng", pixels, *more, compression="zlib"))
    cell = np.array([[60, 64], [68, 72]])[np.arange(rows)[:, None] % 2, np.arange(columns) % 2]
    assert np.array_equal(image.mosaic, pixels[4:-4, 2:-2])
    assert image.black_map is not None
    assert image.black_map.pixels((rows, columns)).tolist() == (cell + down[:, None] + across).tolist()
    assert (
        image.levels()[0].tolist()
        == image.black_map.pixels((rows, columns))
        .reshape(rows // 2, 2, columns // 2, 2)
        .transpose(1, 3, 0, 2)
        .reshape(4, rows // 2, columns // 2)
        .tolist()
    )
