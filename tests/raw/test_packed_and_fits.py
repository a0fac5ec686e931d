"""Packed pixels, row strides, left-aligned codes, and what FITS keywords say."""

from pathlib import Path

import numpy as np
import pytest
from builders import array_file

from noiseflow.core.errors import RawError
from noiseflow.raw.bayer import BAYER_PHASES, offsets
from noiseflow.raw.formats.headerless import _fits
from noiseflow.raw.packed_bits import PACKINGS
from noiseflow.raw.reading import frame_count, read_raw
from noiseflow.raw.settings import RawSettings

SHAPE = (12, 24)
KNOWN = {"cfa": "BGGR", "black": (64.0,), "iso": 100.0}


def bits(value: int, count: int) -> list[int]:
    return [value >> place & 1 for place in range(count)]


def packed_row(row: list[int], name: str) -> bytes:
    """A row by the words of the standards, bit by bit."""
    packing = PACKINGS[name]
    low = packing.bits - 8
    if name.endswith("p"):
        stream = [bit for code in row for bit in bits(code, packing.bits)]
    elif name.startswith("RAW"):
        stream = []
        for start in range(0, len(row), packing.pixels):
            group = row[start : start + packing.pixels]
            stream += [bit for code in group for bit in bits(code >> low, 8)]
            stream += [bit for code in group for bit in bits(code & ((1 << low) - 1), low)]
    else:
        stream = []
        for first, second in zip(row[::2], row[1::2], strict=True):
            stream += bits(first >> low, 8)
            stream += (bits(first & ((1 << low) - 1), low) + [0] * 4)[:4] + (
                bits(second & ((1 << low) - 1), low) + [0] * 4
            )[:4]
            stream += bits(second >> low, 8)
    return bytes(sum(bit << place for place, bit in enumerate(stream[at : at + 8])) for at in range(0, len(stream), 8))


@pytest.mark.parametrize("name", PACKINGS)
@pytest.mark.parametrize("padding", [0, 7])
def test_packed_pixels(tmp_path: Path, name: str, padding: int) -> None:
    codes = np.random.default_rng(0).integers(0, 2 ** PACKINGS[name].bits, SHAPE).astype(np.uint16)
    rows = [packed_row(row, name) for row in codes.tolist()]
    path = tmp_path / "a.raw"
    path.write_bytes(b"".join(row + bytes(padding) for row in rows))
    stride = len(rows[0]) + padding if padding else None
    image = read_raw(path, RawSettings(size=SHAPE[::-1], dtype=name, stride=stride, **KNOWN))
    assert np.array_equal(image.mosaic, codes)
    assert image.white == 2 ** PACKINGS[name].bits - 1


@pytest.mark.parametrize("last", [True, False])
def test_a_stride_of_plain_pixels(tmp_path: Path, last: bool) -> None:
    codes = np.random.default_rng(0).integers(0, 1000, SHAPE).astype("<u2")
    content = b"".join(row.tobytes() + bytes(16) for row in codes)
    (tmp_path / "a.raw").write_bytes(content if last else content[:-16])
    settings = RawSettings(size=SHAPE[::-1], white=1023.0, **KNOWN)
    if last:
        with pytest.raises(RawError, match="rows of 64 bytes would fit: give --stride 64"):
            read_raw(tmp_path / "a.raw", settings)
    image = read_raw(tmp_path / "a.raw", RawSettings(stride=64).over(settings))
    assert np.array_equal(image.mosaic, codes)


@pytest.mark.parametrize(
    ("found", "fits"), [(119, False), (120, True), (121, False), (130, True), (150, True), (160, False), (170, False)]
)
def test_a_size_is_one_of_packed_rows_if_it_is_theirs_or_of_padded_rows_below_16_bits(found: int, fits: bool) -> None:
    """Ten rows of 8 pixels: 12 bytes a row, or up to 15."""
    assert _fits(PACKINGS["RAW12"], 8, 10, found) is fits


def test_a_packing_that_fits_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(bytes(SHAPE[0] * SHAPE[1] * 5 // 4))
    with pytest.raises(RawError, match="give --dtype RAW10 or Mono10p"):
        read_raw(tmp_path / "a.raw", RawSettings(size=SHAPE[::-1], white=1023.0, **KNOWN))


def test_a_shift_drops_empty_bits(tmp_path: Path) -> None:
    codes = np.random.default_rng(0).integers(0, 4095, SHAPE).astype(np.uint16)
    np.save(tmp_path / "a.npy", codes << 4)
    settings = RawSettings(shift=4, white=4095.0, **KNOWN)
    assert np.array_equal(read_raw(tmp_path / "a.npy", settings).mosaic, codes)
    np.save(tmp_path / "a.npy", (codes << 4) + 1)
    with pytest.raises(RawError, match="not all codes are multiples of 16"):
        read_raw(tmp_path / "a.npy", settings)


@pytest.mark.parametrize("pattern", BAYER_PHASES)
@pytest.mark.parametrize("keyword", ["BAYERPAT", "COLORTYP", "CFATYPE"])
@pytest.mark.parametrize("order", ["TOP-DOWN", "BOTTOM-UP", None])
@pytest.mark.parametrize("moved", [(0, 0), (1, 0), (0, 1)])
@pytest.mark.parametrize("rows", [12, 13])
def test_the_phase_of_a_fits_image(
    tmp_path: Path, pattern: str, keyword: str, order: str | None, moved: tuple[int, int], rows: int
) -> None:
    fits = pytest.importorskip("astropy.io.fits")
    y, x = np.mgrid[:rows, :24]
    colours = np.array(list(pattern)).reshape(2, 2)[(y + moved[0]) % 2, (x + moved[1]) % 2]
    top_down = np.select([colours == "R", colours == "G"], [200, 800], 400).astype(np.uint16)
    unit = fits.PrimaryHDU(top_down[::-1].copy() if order == "BOTTOM-UP" else top_down)
    unit.header.update({keyword: pattern, "YBAYROFF": moved[0], "XBAYROFF": moved[1]})
    if order:
        unit.header["ROWORDER"] = order
    unit.writeto(tmp_path / "a.fits")
    image = read_raw(tmp_path / "a.fits", RawSettings(black=(0.0,), white=4095.0, iso=1.0))
    assert [float(plane.mean()) for plane in image.planes()] == [200.0, 800.0, 800.0, 400.0]
    assert len(offsets(image.cfa)) == 4


@pytest.mark.parametrize(
    ("gain", "comment", "iso"),
    [(0, "", 0.0), (120, "", 120.0), (0.0, "[dB] gain", 100.0), (20.0, "gain in dB", 1000.0), (200, "0.1 dB", 1000.0)],
)
def test_gains_are_values(tmp_path: Path, gain: float, comment: str, iso: float) -> None:
    fits = pytest.importorskip("astropy.io.fits")
    unit = fits.PrimaryHDU(np.full(SHAPE, 500, np.uint16))
    unit.header["GAIN"] = (gain, comment)
    unit.header.update({"EXPTIME": 0.0, "DATAMAX": 501})
    unit.writeto(tmp_path / "a.fits")
    image = read_raw(tmp_path / "a.fits", RawSettings(black=(0.0,), white=4095.0))
    assert (image.iso, image.exposure_s) == (pytest.approx(iso), 0.0)
    with pytest.raises(RawError, match="the file lacks white"):
        read_raw(tmp_path / "a.fits", RawSettings(black=(0.0,)))


@pytest.mark.parametrize(("gain", "exposure"), [("120", "0.5"), (" 120.0", "5e-1"), ("high", "0.5")])
def test_numbers_in_quotes_are_numbers(tmp_path: Path, gain: str, exposure: str) -> None:
    fits = pytest.importorskip("astropy.io.fits")
    unit = fits.PrimaryHDU(np.full(SHAPE, 500, np.uint16))
    unit.header.update({"ISOSPEED": gain, "GAIN": 7, "EXPTIME": exposure})
    unit.writeto(tmp_path / "a.fits")
    image = read_raw(tmp_path / "a.fits", RawSettings(black=(0.0,), white=4095.0))
    assert (image.iso, image.exposure_s) == (7.0 if gain == "high" else 120.0, 0.5)


def test_two_images_in_one_fits_file_are_refused(tmp_path: Path) -> None:
    fits = pytest.importorskip("astropy.io.fits")
    units = [fits.PrimaryHDU(), *(fits.ImageHDU(np.full(SHAPE, 9, np.uint16), name=name) for name in ("A", "B"))]
    fits.HDUList(units).writeto(tmp_path / "a.fits")
    with pytest.raises(RawError, match=r"contains 2 images \(A, B\); expected one"):
        read_raw(tmp_path / "a.fits", RawSettings(black=(0.0,), white=4095.0))


def test_a_binned_mosaic_is_doubtful(tmp_path: Path) -> None:
    fits = pytest.importorskip("astropy.io.fits")
    unit = fits.PrimaryHDU(np.full(SHAPE, 500, np.uint16))
    unit.header.update({"BAYERPAT": "RGGB", "XBINNING": 2, "YBINNING": 2, "GAIN": 1})
    unit.writeto(tmp_path / "a.fits")
    image = read_raw(tmp_path / "a.fits", RawSettings(black=(0.0,), white=4095.0))
    assert any("binned 2×2" in words and "--cfa MONO" in words for words in image.cautions)


def test_a_binning_that_is_no_number_does_not_stand_in_the_way(tmp_path: Path) -> None:
    fits = pytest.importorskip("astropy.io.fits")
    unit = fits.PrimaryHDU(np.full(SHAPE, 500, np.uint16))
    unit.header.update({"BAYERPAT": "RGGB", "XBINNING": "2x2", "GAIN": 1})
    unit.writeto(tmp_path / "a.fits")
    assert read_raw(tmp_path / "a.fits", RawSettings(black=(0.0,), white=4095.0)).cfa == "RGGB"


def test_a_packed_fits_image(tmp_path: Path) -> None:
    fits = pytest.importorskip("astropy.io.fits")
    codes = np.random.default_rng(0).integers(64, 900, SHAPE).astype(np.uint16)
    header = fits.Header({"BAYERPAT": "GRBG", "GAIN": 100, "EXPTIME": 0.5})
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(codes, header)]).writeto(tmp_path / "a.fits.fz")
    image = read_raw(tmp_path / "a.fits.fz", RawSettings(black=(0.0,), white=4095.0))
    assert np.array_equal(image.mosaic, codes)
    assert (image.cfa, image.iso, image.exposure_s) == ("GRBG", 100.0, 0.5)


def test_a_pattern_that_is_none_names_the_file(tmp_path: Path) -> None:
    fits = pytest.importorskip("astropy.io.fits")
    unit = fits.PrimaryHDU(np.full(SHAPE, 500, np.uint16))
    unit.header["BAYERPAT"] = "TRUE"
    unit.writeto(tmp_path / "a.fits")
    with pytest.raises(RawError, match=r"a\.fits: BAYERPAT 'TRUE' is not supported"):
        read_raw(tmp_path / "a.fits", RawSettings(black=(0.0,), white=4095.0))


@pytest.mark.parametrize("suffix", ["npy", "npz", "h5", "fits", "tif"])
@pytest.mark.parametrize(("planes", "said"), [(4, r"mosaic\[0::2, 0::2\]"), (3, "picture|interpolated"), (1, "")])
def test_planes_in_the_last_axis_are_refused_with_what_to_do(
    tmp_path: Path, suffix: str, planes: int, said: str
) -> None:
    """An HDF5 file, a FITS file and a TIFF file of 60 pages were 60 frames of 80 by 4 pixels."""
    array = np.arange(60 * 80 * planes, dtype=np.uint16).reshape(60, 80, planes)
    path = tmp_path / f"a.{suffix}"
    array_file(path, array)
    settings = RawSettings(cfa="RGGB", black=(64.0,), white=65535.0, iso=100.0)
    if suffix == "tif" and planes == 1:
        assert read_raw(path, settings).mosaic.shape == (60, 80)
        return
    with pytest.raises(RawError, match=rf"a\.{suffix}: .*({said})"):
        read_raw(path, settings, 0)
    with pytest.raises(RawError, match=r"a\."):
        frame_count(path)


@pytest.mark.parametrize("suffix", ["npy", "h5", "fits"])
def test_planes_in_the_first_axis_are_frames(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    array_file(path, np.arange(4 * 60 * 80, dtype=np.uint16).reshape(4, 60, 80))
    assert frame_count(path) == 4
