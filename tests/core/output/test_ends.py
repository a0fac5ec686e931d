"""Single files of ours that their user changed in place: `--overwrite` leaves them, and replaces those as written."""

import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from builders import frame, gaussian_store
from PIL import Image

from noiseflow.augment import sample_frame, write_frame, write_preview
from noiseflow.calibrate.profiles.exchange import stamp_dng, write_darktable
from noiseflow.calibrate.profiles.published import shipped_profile
from noiseflow.core.errors import OutputError
from noiseflow.core.output.checks import check_output
from noiseflow.core.output.ends import END, ENDS, without_end
from noiseflow.models import ModelSpec, build
from noiseflow.patches import PatchStore
from noiseflow.raw import read_raw
from noiseflow.raw.formats.dng import write_dng


def written(path: Path) -> Path:
    """A file as our writer of its suffix makes it."""
    if path.name == "store.h5":
        gaussian_store(path, patches=20).close()
        return path
    clean = frame(np.full((32, 32), 500, np.uint16))
    if path.suffix == ".png":
        write_preview(path, clean)
    else:
        model = build(ModelSpec("nlf", cameras=("Maker One",), isos=(100.0, 1600.0))).eval()
        write_frame(path, sample_frame(model, clean, iso=400, seed=0))
    return path


def pixel_of_bytes(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-200] ^= 1
    path.write_bytes(content)


def pixel_of_tiff(path: Path) -> None:
    pixels = tifffile.memmap(path, mode="r+")
    pixels[3, 3] += 1
    pixels.flush()


def tag_of_dng(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"Maker", b"Other"))


def tag_of_tiff(path: Path) -> None:
    tifffile.tiffcomment(path, "My best picture")


def rewritten(path: Path) -> None:
    """As by a program that copies the tags and pixels that it knows, but nothing behind them."""
    path.write_bytes(without_end(path.read_bytes()) or b"")


def remark(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"my remark")


def value_of_npy(path: Path) -> None:
    values = np.load(path, mmap_mode="r+")
    values[0, 0, 0] += 1
    values.flush()


def of_hdf5(change: Callable[[h5py.File], Any]) -> Callable[[Path], None]:
    def changed(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            change(file)

    return changed


def value_of_hdf5(file: h5py.File) -> None:
    name = next(each for each in ("signal", "noisy") if each in file)
    file[name][0, 0, 0] = file[name][0, 0, 0] + 1


def title_of_png(path: Path) -> None:
    """A chunk before the end, as exiftool puts it there."""
    content, text = path.read_bytes(), b"tEXtTitle\0My best picture"
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    path.write_bytes(content[:-12] + chunk + content[-12:])


HDF5 = {
    "a value": of_hdf5(value_of_hdf5),
    "an attribute": of_hdf5(lambda file: file.attrs.update(remark="mine")),
    "labels": of_hdf5(lambda file: file.create_dataset("labels", data=np.arange(20))),
}
CHANGES: dict[str, dict[str, Callable[[Path], None]]] = {
    "noisy.dng": {"a pixel": pixel_of_bytes, "a tag": tag_of_dng, "written anew": rewritten, "more": remark},
    "noisy.tiff": {"a pixel": pixel_of_tiff, "a tag": tag_of_tiff, "written anew": rewritten, "more": remark},
    "noisy.npy": {"a value": value_of_npy, "more": remark},
    "noisy.h5": HDF5,
    "store.h5": HDF5,
    "picture.png": {"a pixel": pixel_of_bytes, "a title": title_of_png},
}
CASES = [(name, change) for name, changes in CHANGES.items() for change in changes]


@pytest.mark.parametrize(("name", "change"), CASES, ids=[": ".join(case) for case in CASES])
def test_a_file_that_its_user_changed_in_place_is_theirs(tmp_path: Path, name: str, change: str) -> None:
    path = written(tmp_path / name)
    before = path.read_bytes()
    check_output(path, overwrite=True)
    CHANGES[name][change](path)
    assert path.read_bytes() != before
    with pytest.raises(OutputError, match="or was changed since"):
        check_output(path, overwrite=True)


@pytest.mark.parametrize("name", CHANGES)
def test_other_programs_read_what_ends_so(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / name)
    if path.suffix == ".png":
        with Image.open(path) as picture:
            picture.load()
            assert picture.format == "PNG"
        return
    assert path.read_bytes().endswith(END)
    if name == "store.h5":
        with PatchStore(path) as store:
            store.verify()
        with h5py.File(path, "r") as file:
            assert file["noisy"].shape[0] == 20
        return
    if path.suffix in (".dng", ".tiff"):
        assert tifffile.imread(path).shape == (32, 32)
    if path.suffix != ".tiff":
        # A TIFF lacks levels.
        assert read_raw(path).mosaic.shape == (32, 32)


def test_profiles_for_darktable_that_got_another_camera_are_their_user_s(tmp_path: Path) -> None:
    path, profile = tmp_path / "noiseprofiles.json", shipped_profile("Sony A7S2")
    for overwrite in (False, True):
        write_darktable(profile, path, overwrite=overwrite)
    entry = json.loads(path.read_text())
    entry["noiseprofiles"].append(entry["noiseprofiles"][0])
    path.write_text(json.dumps(entry))
    with pytest.raises(OutputError, match="or was changed since"):
        write_darktable(profile, path, overwrite=True)


def test_files_of_earlier_versions_are_ours(tmp_path: Path) -> None:
    """They have neither an end nor anything in them that announces one."""
    tiff, npy, hdf5 = (tmp_path / f"old{suffix}" for suffix in (".tiff", ".npy", ".h5"))
    tifffile.imwrite(tiff, np.zeros((32, 32), np.uint16), software="noiseflow")
    np.save(npy, np.zeros((4, 8, 8), np.float32))
    npy.write_bytes(npy.read_bytes() + END)
    with h5py.File(hdf5, "w") as file:
        file.attrs["made_by"] = "noiseflow"
    darktable = tmp_path / "noiseprofiles.json"
    darktable.write_text(json.dumps({"made_by": "noiseflow", "noiseprofiles": []}))
    for path in (tiff, npy, hdf5, darktable):
        check_output(path, overwrite=True)


def test_the_copy_of_a_dng_of_ours_that_gets_a_noise_profile_has_its_own_end(tmp_path: Path) -> None:
    profile = shipped_profile("Sony A7S2")
    iso = profile.isos[0]
    shot = frame(np.full((32, 32), int(profile.white_dn) // 2, np.uint16))
    write_dng(tmp_path / "shot.dng", replace(shot, iso=iso, white=profile.white_dn))
    for overwrite in (False, True):
        stamp_dng(profile, tmp_path / "shot.dng", tmp_path / "copy.dng", overwrite=overwrite)
    assert read_raw(tmp_path / "copy.dng").noise_profile
    assert (tmp_path / "copy.dng").read_bytes().count(END) == 1
    pixel_of_bytes(tmp_path / "copy.dng")
    with pytest.raises(OutputError, match="or was changed since"):
        stamp_dng(profile, tmp_path / "shot.dng", tmp_path / "copy.dng", overwrite=True)


def test_the_tag_that_announces_an_end_is_the_private_one_of_dng(tmp_path: Path) -> None:
    """The DNG specification asks for a name that ends with NUL before private data."""
    with tifffile.TiffFile(written(tmp_path / "noisy.dng")) as file:
        assert bytes(file.pages[0].tags[ENDS[0]].value) == b"noiseflow\0sealed\0"
