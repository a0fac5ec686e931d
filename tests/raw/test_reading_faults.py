"""Files that lie, change, or have odd names: one clear line each."""

import struct
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from builders import burst_folder
from click.testing import CliRunner
from PIL import Image

from noiseflow.cli import main
from noiseflow.core.errors import RawError
from noiseflow.raw import RawSettings, read_raw, reading
from noiseflow.raw.guards import MAX_PIXELS

SETTINGS = RawSettings(cfa="RGGB", black=(0.0,), white=1023.0, size=(40_000, 25_000))


def bomb_tiff(path: Path) -> None:
    tifffile.imwrite(path, np.zeros((8, 8), np.uint16), photometric="minisblack", metadata=None)
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        for tag, value in ((256, 40_000), (257, 25_000)):
            entry = tiff.pages[0].tags[tag]
            struct.pack_into({3: "<H", 4: "<I"}[int(entry.dtype)], data, entry.valueoffset, value)
    path.write_bytes(data)


def bomb_png(path: Path) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(path)
    data = bytearray(path.read_bytes())
    struct.pack_into(">II", data, 16, 40_000, 25_000)
    path.write_bytes(data)


def bomb_npy(path: Path) -> None:
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<u2", "fortran_order": False, "shape": (40_000, 25_000)})


def bomb_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("mosaic", (40_000, 25_000), "u2", chunks=(1000, 1000))


def bomb_raw(path: Path) -> None:
    path.write_bytes(bytes(100))


def bomb_fits(path: Path) -> None:
    fits = pytest.importorskip("astropy.io.fits")
    fits.PrimaryHDU(np.zeros((8, 8), np.uint16)).writeto(path)
    text = path.read_bytes().replace(b"NAXIS1  =                    8", b"NAXIS1  =                40000")
    path.write_bytes(text.replace(b"NAXIS2  =                    8", b"NAXIS2  =                25000"))


def bomb_dng(path: Path) -> None:
    from builders import frame

    from noiseflow.raw.formats.dng import write_dng

    write_dng(path, frame(np.full((32, 32), 100, np.uint16)))
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        for tag, value in ((256, 40_000), (257, 25_000)):
            struct.pack_into("<I", data, tiff.pages[0].tags[tag].valueoffset, value)
    path.write_bytes(data)


BOMBS = {
    "a.tiff": bomb_tiff,
    "a.png": bomb_png,
    "a.npy": bomb_npy,
    "a.h5": bomb_hdf5,
    "a.raw": bomb_raw,
    "a.fits": bomb_fits,
    "a.dng": bomb_dng,
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_header_that_claims_a_thousand_million_pixels(tmp_path: Path, name: str) -> None:
    BOMBS[name](tmp_path / name)
    with pytest.raises(RawError, match=rf"{name}: its header claims \d+×\d+ pixels; expected at most {MAX_PIXELS:,}"):
        read_raw(tmp_path / name, SETTINGS)


def test_a_header_that_claims_more_than_its_file_can_hold(tmp_path: Path) -> None:
    bomb_png(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    struct.pack_into(">II", data, 16, 4000, 4000)
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(RawError, match=r"a\.png: its header claims 4000×4000 pixels, which its \d+ bytes cannot hold"):
        read_raw(tmp_path / "a.png", SETTINGS)


def test_a_file_that_changes_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((4, 4), np.uint16))
    reader = reading.reader_of(path)
    assert reader is not None

    def slow(path: Path, settings: RawSettings) -> object:
        image = reader.read(path, settings)
        path.write_bytes(path.read_bytes()[:-4])
        return image

    monkeypatch.setattr(reading, "READERS", (reading.Reader("arrays", reader.suffixes, slow),))  # type: ignore[arg-type]
    with pytest.raises(RawError, match=r"a\.npy: changed while it was read"):
        read_raw(path, SETTINGS)


@pytest.mark.parametrize("name", ["a.dng", "a.tiff", "a.png", "a.npy", "a.npz", "a.raw", "a.fits"])
def test_an_empty_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(RawError, match=rf"{name}: is empty"):
        read_raw(tmp_path / name)


@pytest.mark.parametrize("name", ["a.tiff", "a.png", "a.npy", "a.npz", "a.fits", "0001_NOISY_RAW_010.MAT"])
def test_a_text_of_that_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("not a raw file, but one with enough text in it to be looked at" * 9)
    with pytest.raises(RawError, match=name) as caught:
        read_raw(tmp_path / name, SETTINGS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["with space.dng", "ünïcødé-写真.dng", "-leading-dash.dng", "two\nlines.dng"])
def test_odd_names(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "raw files"
    burst_folder(folder, frames=2, size=(32, 32), seed=0)
    (folder / "frame_00.dng").rename(folder / name)
    assert read_raw(folder / name).mosaic.shape == (32, 32)
    result = CliRunner().invoke(main, ["ingest", str(folder), "--patch-size", "8", "--out", str(tmp_path / "s.h5")])
    assert result.exit_code == 0, result.output


@pytest.mark.skipif(sys.platform == "win32", reason="folders that cannot be opened are made by mode bits")
def test_a_folder_of_other_files_is_one_clear_line(tmp_path: Path) -> None:
    for name in ("notes.txt", "page.pdf", "photo.jpg"):
        (tmp_path / name).write_text("x")
    result = CliRunner().invoke(main, ["info", str(tmp_path)])
    assert result.exit_code == 1
    assert "no raw file in this folder" in result.output
    assert ".jpg, .pdf, .txt" in result.output
    assert len(result.output.strip().splitlines()) == 1


@pytest.mark.parametrize(("entry", "change"), [(0, 0), (1, 2**64 - 16)])
def test_a_heap_that_would_send_hdf5_round_for_ever_is_refused(tmp_path: Path, entry: int, change: int) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("mosaic", data=np.zeros((8, 8), np.uint16)).attrs.update(cfa="RGGB", black=4.0, white=99.0)
    read_raw(path)
    data = bytearray(path.read_bytes())
    first = data.index(b"GCOL") + 16
    index, size = struct.unpack_from("<H6xQ", data, first)
    assert index == 1
    free = first + 16 + (size + 7) // 8 * 8
    assert struct.unpack_from("<H", data, free)[0] == 0
    struct.pack_into("<Q", data, (first if entry else free) + 8, change)
    path.write_bytes(bytes(data))
    with pytest.raises(RawError, match=r"a\.h5: cannot be read as an HDF5 file \(a damaged heap"):
        read_raw(path)


@pytest.mark.parametrize("length", [2**31, 2_634_022_916, 2**32 - 1, 5000, 7])
def test_a_text_that_claims_more_than_the_file_takes_no_memory(tmp_path: Path, length: int) -> None:
    """HDF5 took 2.6 GB and 17 s for it, before it found that the heap has another length."""
    resource = pytest.importorskip("resource")
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("mosaic", data=np.zeros((8, 8), np.uint16)).attrs.update(cfa="RGGB", black=4.0, white=99.0)
    data = bytearray(path.read_bytes())
    owner = data.index(struct.pack("<IQI", 4, data.index(b"GCOL"), 1))
    struct.pack_into("<I", data, owner, length)
    path.write_bytes(bytes(data))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(RawError, match=r"a\.h5: cannot be read as an HDF5 file"):
        read_raw(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@pytest.mark.parametrize(
    "names", [("entry/data/frames",), ("a/mosaic", "b/other"), ("a/x", "b/y"), ("a/mosaic", "mosaic")]
)
def test_a_mosaic_in_a_group_of_hdf5(tmp_path: Path, names: tuple[str, ...]) -> None:
    pixels = np.random.default_rng(0).integers(64, 900, (32, 32)).astype(">u2")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for number, name in enumerate(names):
            file[name] = pixels + number
        file["link"] = file[names[0]]
    settings = RawSettings(cfa="RGGB", black=(64.0,), white=1023.0)
    if names[0] == "a/x":
        with pytest.raises(RawError, match="expected one 2-D dataset, or one named 'mosaic'; got"):
            read_raw(tmp_path / "a.h5", settings)
    else:
        first = pixels + (names[-1] == "mosaic")
        assert np.array_equal(read_raw(tmp_path / "a.h5", settings).mosaic, first)


@pytest.mark.parametrize("what", ["NAXIS2", "NAXIS1"])
def test_an_axis_of_fits_that_is_no_number_is_refused(tmp_path: Path, what: str) -> None:
    fits = pytest.importorskip("astropy.io.fits")
    path = tmp_path / "a.fits"
    codes = np.full((24, 32), 500, np.int32)
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(codes)]).writeto(path)
    data = path.read_bytes()
    card = f"Z{what}".ljust(8).encode() + b"="
    path.write_bytes(data.replace(card, f"Z{what}".ljust(8).encode() + b"?"))
    with pytest.raises(RawError, match=r"a\.fits"):
        read_raw(path, RawSettings(cfa="RGGB", black=(64.0,), white=1023.0))
