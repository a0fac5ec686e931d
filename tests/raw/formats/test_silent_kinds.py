"""Files that hold other things than their first image says: thumbnails, colours, coded codes."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from tiff_writer import write_dng_tags

from noiseflow.core.errors import RawError
from noiseflow.raw import RawSettings, frame_count, read_raw

SAID = RawSettings(cfa="RGGB", black=(64.0,), white=4095.0, iso=100.0)
EXIF = {34855: ("short", [400]), 33434: ("rational", [0.01])}
SIZES = {256: ("long", [64]), 257: ("long", [48]), 278: ("long", [48])}
STACK = np.random.default_rng(0).integers(64, 4000, (3, 48, 64)).astype(np.uint16)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("kind", ["mosaic", "colour"])
@pytest.mark.parametrize("order", "<>")
def test_a_thumbnail_is_not_the_frame(tmp_path: Path, first: bool, kind: str, order: str) -> None:
    small = STACK[0, :12, :16] if kind == "mosaic" else np.zeros((12, 16, 3), np.uint8)
    photometric = "minisblack" if kind == "mosaic" else "rgb"
    with tifffile.TiffWriter(tmp_path / "a.tif", byteorder=order) as file:  # type: ignore[arg-type]
        pages = [(small, photometric), *((frame, "minisblack") for frame in STACK)]
        for pixels, how in pages if first else pages[1:] + pages[:1]:
            file.write(pixels, photometric=how, metadata=None)  # type: ignore[arg-type]
    assert frame_count(tmp_path / "a.tif") == 3
    for number, frame in enumerate(STACK):
        image = read_raw(tmp_path / "a.tif", SAID, number)
        np.testing.assert_array_equal(image.mosaic, frame)
        assert any("12×16" in words and "left out" in words for words in image.cautions)


def test_a_reduced_copy_needs_no_word(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(STACK[0], photometric="minisblack", metadata=None)
        file.write(STACK[0, ::4, ::4], photometric="minisblack", metadata=None, subfiletype=1)
    assert read_raw(tmp_path / "a.tif", SAID).cautions == ()


@pytest.mark.parametrize("order", "<>")
def test_a_linearization_table_is_applied_to_deflated_codes(tmp_path: Path, order: str) -> None:
    codes = np.random.default_rng(1).integers(0, 300, (48, 64)).astype(np.uint16)
    table = (np.arange(256, dtype=np.uint32) ** 2 // 16).astype(np.uint16)
    tags = [
        (33421, "H", 2, (2, 2), True),
        (33422, "B", 4, bytes((0, 1, 1, 2)), True),
        (50706, "B", 4, bytes((1, 4, 0, 0)), True),
        (50712, "H", 256, tuple(table.tolist()), True),
        (50717, "I", 1, int(table[-1]), True),
    ]
    how = {"photometric": 32803, "extratags": tags, "metadata": None, "byteorder": order}
    tifffile.imwrite(tmp_path / "deflated.dng", codes, compression="zlib", **how)
    tifffile.imwrite(tmp_path / "stored.dng", codes, **how)
    deflated, stored = (read_raw(tmp_path / f"{name}.dng") for name in ("deflated", "stored"))
    np.testing.assert_array_equal(deflated.mosaic, table[np.minimum(codes, 255)])
    # LibRaw applies it to the other.
    inside = codes < 256
    np.testing.assert_array_equal(deflated.mosaic[inside], stored.mosaic[inside])


@pytest.mark.parametrize("said", [None, "MONO", "RGGB"])
def test_three_fits_images_may_be_colours(tmp_path: Path, said: str | None) -> None:
    fits = pytest.importorskip("astropy.io.fits")
    fits.PrimaryHDU(STACK).writeto(tmp_path / "a.fits")
    settings = RawSettings(cfa=said, black=(64.0,), white=4095.0)
    if said is None:
        with pytest.raises(RawError, match=r"three images of 48×64, probably interpolated"):
            read_raw(tmp_path / "a.fits", settings, 1)
    else:
        np.testing.assert_array_equal(read_raw(tmp_path / "a.fits", settings, 1).mosaic, STACK[1])


def test_a_fits_cube_of_a_bayer_sensor_is_a_stack(tmp_path: Path) -> None:
    fits = pytest.importorskip("astropy.io.fits")
    unit = fits.PrimaryHDU(STACK)
    unit.header["BAYERPAT"] = "GBRG"
    unit.writeto(tmp_path / "a.fits")
    image = read_raw(tmp_path / "a.fits", RawSettings(black=(64.0,), white=4095.0), 2)
    assert image.cfa == "GBRG"
    np.testing.assert_array_equal(image.mosaic, STACK[2])


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("fill", [1, 2])
@pytest.mark.parametrize("order", "<>")
def test_pixels_packed_from_the_low_bits_are_refused(tmp_path: Path, bits: int, fill: int, order: str) -> None:
    """LibRaw does not look at FillOrder: codes of 12 bits came out as others of 12 bits."""
    codes = STACK[0] >> 2
    each = (codes[..., None] >> np.arange(bits - 1, -1, -1) & 1).astype(np.uint8).reshape(len(codes), -1)
    packed = np.packbits(each, axis=1, bitorder="little" if fill == 2 else "big")
    words = np.frombuffer(packed.tobytes() + b"\0" * (packed.size % 2), order + "u2")
    tags = {
        258: ("short", [bits]),
        266: ("short", [fill]),
        279: ("long", [packed.size]),
        50717: ("long", [2**bits - 1]),
    }
    path = write_dng_tags(tmp_path / "a.dng", words[None], "RGGB", tags | SIZES, order=order, exif=EXIF)
    if fill == 2:
        with pytest.raises(RawError, match=r"a\.dng: .*FillOrder 2"):
            read_raw(path)
        return
    np.testing.assert_array_equal(read_raw(path).mosaic, codes)


@pytest.mark.parametrize(("iso", "named", "said"), [(200, 12800, True), (200, 203, False), (200, None, False)])
def test_two_tags_of_one_iso_that_differ_are_said(tmp_path: Path, iso: int, named: int | None, said: bool) -> None:
    exif = {**EXIF, 34855: ("short", [iso]), 34864: ("short", [2])}
    exif |= {34866: ("long", [named])} if named else {}
    image = read_raw(write_dng_tags(tmp_path / "a.dng", STACK[0], "RGGB", exif=exif))
    assert image.iso == iso
    assert any("gives ISO 200 but RecommendedExposureIndex" in words for words in image.cautions) == said
