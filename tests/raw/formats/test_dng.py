from pathlib import Path

import exifread
import numpy as np
import pytest
import rawpy
import tifffile
from builders import frame

from noiseflow.core.errors import OutputError, RawError
from noiseflow.raw.bayer import BAYER_PHASES, unpack
from noiseflow.raw.formats.dng import SMALLEST, XYZ_TO_SRGB, write_dng
from noiseflow.raw.image import RawImage
from noiseflow.raw.reading import read_raw


def mosaic(height: int = 32, width: int = 48, top: int = 1023) -> np.ndarray:
    return np.random.default_rng(0).integers(0, top + 1, (height, width)).astype(np.uint16)


@pytest.mark.parametrize("cfa", BAYER_PHASES)
def test_libraw_reads_back_the_same_numbers(tmp_path: Path, cfa: str) -> None:
    image = RawImage(
        mosaic(), cfa, (60.0, 64.0, 65.0, 70.0), 1000.0, 640.0, 1 / 50, "Maker", "Mark II", "made", ((1e-4, 2e-6),)
    )
    write_dng(tmp_path / "a.dng", image)
    read = read_raw(tmp_path / "a.dng")
    assert np.array_equal(read.mosaic, image.mosaic)
    for name in ("cfa", "black", "white", "iso", "make", "model", "noise_profile"):
        assert getattr(read, name) == getattr(image, name), name
    assert read.exposure_s == pytest.approx(1 / 50)


@pytest.mark.parametrize("cfa", BAYER_PHASES)
def test_libraw_sees_the_same_colours(tmp_path: Path, cfa: str) -> None:
    # A red surface, developed by LibRaw itself: an independent reading of phase and levels.
    red = unpack(np.stack([np.full((32, 32), value) for value in (900, 100, 100, 100)]), cfa).astype(np.uint16)
    write_dng(tmp_path / "red.dng", frame(red, cfa))
    with rawpy.imread(str(tmp_path / "red.dng")) as raw:
        developed = raw.postprocess(use_camera_wb=True, no_auto_bright=True, output_color=rawpy.ColorSpace.raw)
    r, g, b = developed[8:-8, 8:-8].reshape(-1, 3).mean(0)
    assert r > 3 * max(g, b)


@pytest.mark.parametrize("size", [(22, 22), (33, 47), (64, 100)])
def test_odd_and_small_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    image = frame(mosaic(*size))
    write_dng(tmp_path / "a.dng", image)
    assert np.array_equal(read_raw(tmp_path / "a.dng").mosaic, image.mosaic)


def test_other_readers_find_the_tags(tmp_path: Path) -> None:
    write_dng(tmp_path / "a.dng", frame(mosaic()), noise_profile=[(1e-3, 1e-6)])
    with tifffile.TiffFile(tmp_path / "a.dng") as tiff:
        tags = tiff.pages[0].tags
        assert np.array_equal(tiff.pages[0].asarray(), mosaic())
        assert tuple(tags["DNGVersion"].value)[:2] == (1, 4)
        assert tags["NoiseProfile"].value == pytest.approx((1e-3, 1e-6))
    with (tmp_path / "a.dng").open("rb") as file:
        assert str(exifread.process_file(file)["EXIF ISOSpeedRatings"]) == "400"


def test_an_iso_beyond_16_bits(tmp_path: Path) -> None:
    write_dng(tmp_path / "a.dng", frame(mosaic(), iso=102400.0))
    assert read_raw(tmp_path / "a.dng").iso == 102400.0


def test_a_monochrome_frame_comes_back_as_one_or_is_refused(tmp_path: Path) -> None:
    image = frame(mosaic(), "MONO")
    write_dng(tmp_path / "a.dng", image)
    read = read_raw(tmp_path / "a.dng")
    assert read.cfa == "MONO"
    assert np.array_equal(read.mosaic, image.mosaic)


def test_an_unknown_pattern_is_refused_by_its_name(tmp_path: Path) -> None:
    # Fujifilm's 6×6 cell; 0, 1, 2 are R, G, B.
    cell = "110112 110110 202101 112110 110112 021202".replace(" ", "")
    tags = [
        (33421, "H", 2, (6, 6), True),
        (33422, "B", 36, bytes(int(colour) for colour in cell), True),
        (50706, "B", 4, bytes((1, 4, 0, 0)), True),
        (50708, "s", 0, "X-T test", True),
        (271, "s", 0, "Fujifilm", True),
        (272, "s", 0, "X-T test", True),
    ]
    path = tmp_path / "xtrans.dng"
    tifffile.imwrite(path, mosaic(48, 48), photometric=32803, extratags=tags, metadata=None)
    with pytest.raises(RawError, match=r"xtrans\.dng: its colour filter array GGRGGB/[RGB/]+ is not supported"):
        read_raw(path)


def test_nothing_half_written_and_nothing_replaced_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.dng"
    path.write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(OutputError, match=r"exists|was not written by noiseflow"):
            write_dng(path, frame(mosaic()), overwrite=overwrite)
    assert path.read_text() == "mine"

    def full(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RawError, match="No space left"):
        write_dng(tmp_path / "b.dng", frame(mosaic()))
    assert [file.name for file in tmp_path.iterdir()] == ["a.dng"]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (frame(mosaic(SMALLEST - 1, 40)), "LibRaw needs at least 22 a side"),
        (frame(mosaic().astype(np.float32)), "holds integers"),
        (RawImage(np.full((32, 32), 70_000), "RGGB", (0.0,) * 4, 80_000.0), "got int64 70000…70000"),
    ],
)
def test_what_does_not_fit_into_a_dng(tmp_path: Path, image: RawImage, message: str) -> None:
    with pytest.raises(RawError, match=message):
        write_dng(tmp_path / "a.dng", image)
    assert not list(tmp_path.iterdir())


def test_the_matrix_to_srgb_is_the_inverse_of_the_primaries() -> None:
    """IEC 61966-2-1: chromaticities of the primaries and of D65, to the four digits of the standard's matrix."""
    primaries = np.array([[0.64, 0.33], [0.30, 0.60], [0.15, 0.06]])
    columns = np.stack([primaries[:, 0], primaries[:, 1], 1 - primaries.sum(1)])
    white = np.array([0.3127, 0.3290, 1 - 0.3127 - 0.3290]) / 0.3290
    to_xyz = columns * np.linalg.solve(columns, white)
    assert XYZ_TO_SRGB @ to_xyz == pytest.approx(np.eye(3), abs=6e-4)
