"""Round trips: what others write into each format is what we read, whatever phase, size, depth and byte order."""

import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings, strategies as st
from PIL import Image

from noiseflow.core.errors import RawError
from noiseflow.raw import RawSettings, is_raw, raw_files, read_raw
from noiseflow.raw.bayer import BAYER_PHASES, MONO

BLACK, WHITE = 3.0, 250.0


def write_tiff(path: Path, pixels: np.ndarray, order: str) -> Path:
    tifffile.imwrite(path.with_suffix(".tif"), pixels, photometric="minisblack", metadata=None, byteorder=order)
    return path.with_suffix(".tif")


def write_png(path: Path, pixels: np.ndarray, order: str) -> Path:
    Image.fromarray(pixels).save(path.with_suffix(".png"))
    return path.with_suffix(".png")


def write_npy(path: Path, pixels: np.ndarray, order: str) -> Path:
    np.save(path.with_suffix(".npy"), pixels.astype(pixels.dtype.newbyteorder(order)))
    return path.with_suffix(".npy")


def write_npz(path: Path, pixels: np.ndarray, order: str) -> Path:
    np.savez_compressed(path.with_suffix(".npz"), pixels.astype(pixels.dtype.newbyteorder(order)))
    return path.with_suffix(".npz")


def write_hdf5(path: Path, pixels: np.ndarray, order: str) -> Path:
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        file["frames"] = pixels.astype(pixels.dtype.newbyteorder(order))
    return path.with_suffix(".h5")


def write_headerless(path: Path, pixels: np.ndarray, order: str) -> Path:
    path.with_suffix(".raw").write_bytes(b"head" + pixels.astype(pixels.dtype.newbyteorder(order)).tobytes())
    return path.with_suffix(".raw")


def write_fits(path: Path, pixels: np.ndarray, order: str) -> Path:
    fits = pytest.importorskip("astropy.io.fits")
    fits.PrimaryHDU(pixels).writeto(path.with_suffix(".fits"), overwrite=True)
    return path.with_suffix(".fits")


FORMATS = {
    "tiff": write_tiff,
    "png": write_png,
    "npy": write_npy,
    "npz": write_npz,
    "hdf5": write_hdf5,
    "headerless": write_headerless,
    "fits": write_fits,
}


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=30, deadline=None)
@given(
    cfa=st.sampled_from([*BAYER_PHASES, MONO]),
    bits=st.integers(8, 16),
    order=st.sampled_from("<>"),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    seed=st.integers(0, 2**16),
)
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    cfa: str,
    bits: int,
    order: str,
    size: tuple[int, int],
    seed: int,
) -> None:
    dtype = np.uint8 if bits == 8 else np.uint16
    pixels = np.random.default_rng(seed).integers(0, 2**bits, size).astype(dtype)
    path = FORMATS[name](tmp_path_factory.mktemp("trip") / "frame", pixels, order)
    said = RawSettings(cfa=cfa, black=(BLACK,), white=2.0**bits - 1, iso=100.0, camera="One")
    if name == "headerless":
        dtype_name = f"{order}u{pixels.dtype.itemsize}"
        said = RawSettings(size=(size[1], size[0]), dtype=dtype_name, header_bytes=4).over(said)
    image = read_raw(path, said)
    assert np.array_equal(image.mosaic, pixels)
    assert image.mosaic.dtype.isnative
    assert (image.cfa, image.white, image.iso, image.camera) == (cfa, 2.0**bits - 1, 100.0, "One")
    assert image.black == (BLACK,) * (1 if cfa == MONO else 4)


def test_the_real_headerless_file(shared_data: Path) -> None:
    path = shared_data / "raw" / "DSC_1339_768x512_rggb.raw"
    image = read_raw(path, RawSettings(cfa="RGGB", black=(600.0,), white=16383.0, iso=100.0, size=(768, 512)))
    assert image.mosaic.shape == (512, 768)
    # The two greens agree and the others do not: size, byte order and phase are right.
    red, green1, green2, blue = image.normalised().mean((1, 2))
    assert abs(green1 / green2 - 1) < 0.02
    assert min(abs(red / green1 - 1), abs(blue / green1 - 1)) > 0.1


def test_a_wrong_size_of_a_headerless_file_is_told_in_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(100))
    with pytest.raises(RawError, match=r"a\.bin: 6×8 pixels of <u2 after 0 bytes of header are 96 bytes .*has 100"):
        read_raw(path, RawSettings(cfa="MONO", black=(0.0,), white=9.0, size=(6, 8)))
    with pytest.raises(RawError, match=r"--size WIDTHxHEIGHT"):
        read_raw(path)


def test_arrays_say_their_own_levels(tmp_path: Path) -> None:
    pixels = np.arange(12, dtype=np.uint16).reshape(3, 4)
    said = {"cfa": "GBRG", "black": [1.0, 2.0, 3.0, 4.0], "white": 99.0, "iso": 400.0, "exposure_s": 0.5, "model": "M"}
    np.savez(tmp_path / "a.npz", mosaic=pixels, other=pixels, **said)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["mosaic"] = pixels
        file["other"] = pixels
        file.attrs.update(said)
    for path in (tmp_path / "a.npz", tmp_path / "a.h5"):
        image = read_raw(path)
        assert (image.cfa, image.black, image.white) == ("GBRG", (1.0, 2.0, 3.0, 4.0), 99.0)
        assert (image.iso, image.exposure_s, image.camera) == (400.0, 0.5, "M")
        # Overridden where asked.
        assert read_raw(path, RawSettings(white=50.0, black=(0.0,))).levels()[1] == 50.0


def test_fits_keywords(tmp_path: Path) -> None:
    fits = pytest.importorskip("astropy.io.fits")
    unit = fits.PrimaryHDU(np.arange(20, dtype=np.uint16).reshape(4, 5))
    unit.header.update(BAYERPAT="RGGB", XBAYROFF=1, YBAYROFF=0, EXPTIME=2.5, GAIN=120, INSTRUME="ZWO", SATURATE=4095)
    unit.writeto(tmp_path / "a.fits")
    image = read_raw(tmp_path / "a.fits", RawSettings(black=(10.0,)))
    assert (image.cfa, image.white, image.iso, image.exposure_s) == ("GRBG", 4095.0, 120.0, 2.5)
    scaled = fits.PrimaryHDU(np.array([[1, 2], [3, 4]], np.int16))
    scaled.header.update(BSCALE=2.0, BZERO=100.0)
    scaled.writeto(tmp_path / "b.fits")
    image = read_raw(tmp_path / "b.fits", RawSettings(black=(0.0,), white=4095.0))
    assert image.cfa == MONO
    assert image.mosaic.tolist() == [[102, 104], [106, 108]]


def test_fits_without_astropy_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.fits").write_bytes(b"SIMPLE")
    monkeypatch.setitem(__import__("sys").modules, "astropy.io", None)
    with pytest.raises(RawError, match="pip install 'astropy>="):
        read_raw(tmp_path / "a.fits")


def ordinary_pictures(folder: Path) -> list[Path]:
    colour = np.zeros((8, 8, 3), np.uint8)
    Image.fromarray(colour).save(folder / "rgb.png")
    Image.fromarray(colour).convert("P").save(folder / "palette.png")
    tifffile.imwrite(folder / "rgb.tiff", colour, photometric="rgb")
    return [folder / "rgb.png", folder / "palette.png", folder / "rgb.tiff"]


def test_an_ordinary_picture_is_refused_with_a_reason(tmp_path: Path) -> None:
    for path in ordinary_pictures(tmp_path):
        with pytest.raises(RawError, match=rf"{path.name}: an ordinary picture \("):
            read_raw(path, RawSettings(cfa="RGGB", black=(0.0,), white=255.0))


def test_nothing_loaded_executes(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[print]], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "a.npz", np.array([[print]], dtype=object))
    for name in ("a.npy", "a.npz"):
        with pytest.raises(RawError, match="pickled objects, which are never loaded"):
            read_raw(tmp_path / name)


def test_a_dng_named_tif_is_read_as_a_dng(tmp_path: Path) -> None:
    from builders import frame

    from noiseflow.raw.formats.dng import write_dng

    pixels = np.random.default_rng(0).integers(64, 1000, (32, 32)).astype(np.uint16)
    write_dng(tmp_path / "a.tif", frame(pixels, "BGGR"))
    image = read_raw(tmp_path / "a.tif")
    assert (image.cfa, image.iso) == ("BGGR", 400.0)


def test_a_patch_store_is_no_raw_file(tmp_path: Path) -> None:
    from builders import gaussian_store

    gaussian_store(tmp_path / "s.h5", patches=4).close()
    assert not is_raw(tmp_path / "s.h5")


def test_previews_beside_raws_are_left_out(tmp_path: Path) -> None:
    from builders import burst_folder

    burst_folder(tmp_path, frames=2, size=(32, 32), seed=0)
    ordinary_pictures(tmp_path)
    taken, left_out = raw_files(tmp_path.iterdir())
    assert [path.name for path in taken] == ["frame_00.dng", "frame_01.dng"]
    assert [path.name for path in left_out] == ["palette.png", "rgb.png", "rgb.tiff"]


@settings(deadline=None)
@given(st.sampled_from(["f4", "f8"]), st.booleans())
def test_floats_that_are_whole_become_codes(tmp_path_factory: pytest.TempPathFactory, dtype: str, whole: bool) -> None:
    path = tmp_path_factory.mktemp("floats") / "a.npy"
    np.save(path, np.array([[1, 2], [3, 4 if whole else 4.5]], dtype))
    image = read_raw(path, RawSettings(cfa="MONO", black=(0.0,), white=9.0))
    assert image.whole is whole
    assert image.mosaic.dtype == (np.uint16 if whole else np.dtype(dtype))


def test_nan_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[1, np.nan]]))
    with warnings.catch_warnings(), pytest.raises(RawError, match="NaN or infinite"):
        read_raw(tmp_path / "a.npy", RawSettings(cfa="MONO", black=(0.0,), white=9.0))
