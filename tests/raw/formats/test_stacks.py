"""Arrays of three axes: which one counts the frames."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from builders import array_file

from noiseflow.core.errors import RawError
from noiseflow.raw import RawSettings, read_raw
from noiseflow.raw.formats import tiff

SETTINGS = RawSettings(cfa="RGGB", black=(64.0,), white=1023.0)


def frames(count: int, height: int, width: int, light: float, pattern: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    scene = 64 + light + rng.normal(0, pattern, (height, width))
    return np.rint(scene + rng.normal(0, 3, (count, height, width))).clip(0).astype(np.uint16)


def doubts(path: Path) -> list[str]:
    return [words for words in read_raw(path, SETTINGS).cautions if "was taken for" in words]


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5", ".fits"])
@pytest.mark.parametrize(("light", "pattern"), [(300, 6), (0, 2)])
def test_frames_in_the_last_axis_are_doubted(tmp_path: Path, suffix: str, light: float, pattern: float) -> None:
    array = np.moveaxis(frames(40, 100, 120, light, pattern), 0, -1)
    (words,) = doubts(array_file(tmp_path / f"a{suffix}", array))
    assert "(100, 120, 40) was taken for 100 frames of 120×40 pixels" in words
    assert "if these are 40 frames of 100×120, move that axis to the front" in words


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5", ".fits"])
@pytest.mark.parametrize("light", [(1.0,) * 100, tuple(np.linspace(0.8, 1.2, 100))])
def test_narrow_frames_in_the_first_axis_are_not(tmp_path: Path, suffix: str, light: tuple[float, ...]) -> None:
    array = frames(100, 90, 30, 300, 6) * np.array(light)[:, None, None]
    assert doubts(array_file(tmp_path / f"a{suffix}", np.rint(array).astype(np.uint16))) == []


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5", ".fits"])
def test_four_images_may_be_four_planes(tmp_path: Path, suffix: str) -> None:
    (words,) = doubts(array_file(tmp_path / f"a{suffix}", frames(4, 40, 60, 300, 6)))
    assert "(4, 40, 60) was taken for 4 frames of 40×60 pixels; if these are the planes of a packed mosaic" in words
    assert doubts(array_file(tmp_path / f"b{suffix}", frames(5, 40, 60, 300, 6))) == []


@pytest.mark.parametrize("how", [{"truncate": True}, {"imagej": True, "truncate": True}])
def test_a_stack_behind_one_page_is_refused(tmp_path: Path, how: dict[str, bool]) -> None:
    """Eight of nine frames were dropped in silence."""
    tifffile.imwrite(tmp_path / "a.tif", frames(9, 40, 60, 300, 6), **how)
    with pytest.raises(RawError, match=r"says 9 frames, but it has 1 page; a stack behind a single directory"):
        read_raw(tmp_path / "a.tif", SETTINGS)


@pytest.mark.parametrize("how", [{}, {"imagej": True}, {"metadata": None}])
def test_a_stack_of_pages_is_read(tmp_path: Path, how: dict[str, object]) -> None:
    array = frames(9, 40, 60, 300, 6)
    tifffile.imwrite(tmp_path / "a.tif", array, **how)
    assert np.array_equal(read_raw(tmp_path / "a.tif", SETTINGS, 8).mosaic, array[8])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_page_of_several_has_its_number_in_its_name(tmp_path: Path, count: int) -> None:
    pages = np.random.default_rng(0).integers(100, 900, (count, 32, 48)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="minisblack", metadata=None)
    for number in range(count):
        image = tiff.read(tmp_path / "a.tif", SETTINGS, number)
        assert image.source == str(tmp_path / "a.tif") + (f"[{number}]" if count > 1 else "")
        assert np.array_equal(image.mosaic, pages[number])


def test_the_first_axis_counts_the_frames_of_hdf5(tmp_path: Path) -> None:
    array = frames(3, 8, 12, 300, 6)
    path = array_file(tmp_path / "a.h5", array)
    assert np.array_equal(read_raw(path, SETTINGS, 2).mosaic, array[2])
    with pytest.raises(RawError, match="contains 3 frames, numbered from 0; there is no frame 3"):
        read_raw(path, SETTINGS, 3)
