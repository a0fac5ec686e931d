from pathlib import Path

import numpy as np
import pytest
from skimage import io

from noiseflow.core.errors import RawError
from noiseflow.raw.formats.emva import LISTING, read_emva, read_frame


def make_folder(path: Path, listing: str | None = None) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name, level in (("a.png", 500), ("b.png", 500), ("c.png", 20), ("d.png", 22)):
        io.imsave(
            path / name, np.full((6, 8), level, np.uint16) + rng.integers(0, 2, (6, 8), np.uint16), check_contrast=False
        )
    text = "# c\r\nv 3.0\r\nn 12 8 6\r\nb 1000.0 9.0\r\ni a.png\r\ni b.png\r\nd 1000.0\r\ni c.png\r\ni d.png\r\n"
    (path / LISTING).write_text(text if listing is None else listing, newline="")
    return path


def test_listing_and_black_level(tmp_path: Path) -> None:
    folder = read_emva(make_folder(tmp_path / "set"))
    assert [(series.kind, len(series.files)) for series in folder.series] == [("b", 2), ("d", 2)]
    darks = [io.imread(tmp_path / "set" / name).mean() for name in ("c.png", "d.png")]
    assert folder.black == pytest.approx(np.mean(darks))
    image = read_frame(folder, folder.series[0], folder.series[0].files[0])
    assert (image.cfa, image.white, image.exposure_s) == ("MONO", 4095.0, pytest.approx(1e-6))


def test_the_real_folder(shared_data: Path) -> None:
    folder = read_emva(shared_data / "emva1288" / "EMVA1288_ReferenceSet_001_CCD_12Bit")
    assert (folder.bits, folder.shape) == (12, (480, 640))
    assert len(folder.series) == 102
    assert sum(len(series.files) for series in folder.series) == 300
    assert folder.black == pytest.approx(14.76, abs=0.1)


@pytest.mark.parametrize(
    ("listing", "message"),
    [
        ("v 3.0\n", "no line 'n BITS"),
        ("n 12 8 6\nb 1 1\ni a.png\n", "no dark frames"),
        ("n 12 8 6\nd 1\ni gone.png\n", "listed in"),
        ("n twelve\n", "cannot understand"),
        ("n 12 9 6\nd 1\ni c.png\n", "expected 9×6 pixels"),
    ],
)
def test_bad_listings_name_what_is_wrong(tmp_path: Path, listing: str, message: str) -> None:
    with pytest.raises(RawError, match=message):
        read_emva(make_folder(tmp_path / "set", listing))


def test_a_series_has_its_exposure_and_its_photons_and_darks_have_none(tmp_path: Path) -> None:
    folder = read_emva(make_folder(tmp_path / "set"))
    assert [(series.exposure_ns, series.photons) for series in folder.series] == [(1000.0, 9.0), (1000.0, 0.0)]


@pytest.mark.parametrize(("shift", "bits"), [(0, 12), (4, 12), (6, 10), (2, 12)])
def test_empty_low_bits_are_found_in_the_brightest_frames(tmp_path: Path, shift: int, bits: int) -> None:
    """Darks and dim frames alone would pass for plain codes."""
    rng = np.random.default_rng(0)
    codes = {
        name: level + rng.integers(0, 3, (6, 8), np.uint16)
        for name, level in (("dark", 2), ("dim", 5), ("bright", 2**bits - 4))
    }
    for name, values in codes.items():
        io.imsave(tmp_path / f"{name}.png", (values << shift).astype(np.uint16), check_contrast=False)
    series = "d 9000.0\ni dark.png\nb 1000.0 9.0\ni dim.png\nb 1000.0 900.0\ni bright.png\n"
    (tmp_path / LISTING).write_text(f"v 3.0\nn {bits} 8 6\n{series}")
    folder = read_emva(tmp_path)
    assert folder.black == pytest.approx(codes["dark"].mean())
    for entry, name in zip(folder.series, ("dark", "dim", "bright"), strict=True):
        assert np.array_equal(read_frame(folder, entry, entry.files[0]).mosaic, codes[name])


def test_values_beyond_the_bits_of_the_listing_are_refused(tmp_path: Path) -> None:
    listing = "n 8 8 6\nb 1000.0 9.0\ni a.png\nd 1000.0\ni c.png\n"
    with pytest.raises(
        RawError, match=r"a\.png: contains values up to 501, but its listing says 8 bits; expected at most 255"
    ):
        read_emva(make_folder(tmp_path / "set", listing))
