"""Datasets of our own files: what no writer of ours makes is refused."""

import re
import struct
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from builders import gaussian_store

from noiseflow.calibrate.body.body_file import read_body, write_body
from noiseflow.calibrate.body.body_maps import BodyMaps, DarkMap
from noiseflow.core.errors import NoiseflowError
from noiseflow.core.reading.hdf5 import check_texts, own_dataset
from noiseflow.patches import PatchStore

VALUES = np.arange(12.0)


def soft(file: h5py.File) -> None:
    file["other"] = VALUES
    file["x"] = h5py.SoftLink("/other")


def outside(file: h5py.File) -> None:
    file["x"] = h5py.ExternalLink("other.h5", "/x")


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((12,), float)
    layout[:] = h5py.VirtualSource("other.h5", "x", (12,))
    file.create_virtual_dataset("x", layout)


def external(file: h5py.File) -> None:
    file.create_dataset("x", (12,), float, external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])


def packed(file: h5py.File) -> None:
    file.create_dataset("x", data=VALUES, compression="gzip")


def never_written(file: h5py.File) -> None:
    file.create_dataset("x", (1 << 40,), float)


def group(file: h5py.File) -> None:
    file.create_group("x")


def missing(file: h5py.File) -> None:
    file["y"] = VALUES


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (soft, "is a link"),
        (outside, "is a link"),
        (virtual, "virtual"),
        (external, "external"),
        (packed, "filtered"),
        (never_written, "never written"),
        (group, "is a Group"),
        (missing, "missing"),
    ],
)
def test_what_we_never_write_is_refused(tmp_path: Path, change: Callable[[h5py.File], None], words: str) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = VALUES
    with h5py.File(tmp_path / "a.h5", "w") as file:
        change(file)
    with h5py.File(tmp_path / "a.h5") as file, pytest.raises(ValueError, match=words):
        own_dataset(file, "x")


def test_plain_and_empty_datasets_pass(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w", libver="v110") as file:
        file["x"] = VALUES
        file["none"] = np.zeros((0, 3), np.int32)
        file["words"] = np.array(["a", "b"], h5py.string_dtype())
        file.create_dataset("later", (8,), float)
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(own_dataset(file, "x")[:], VALUES)
        assert own_dataset(file, "none").shape == (0, 3)
        assert [each.decode() for each in own_dataset(file, "words")] == ["a", "b"]
        assert own_dataset(file, "later", written=False).shape == (8,)


def end_a_heap_early(path: Path) -> None:
    """Set the size of the free space of each heap to 0: the library reads that entry for ever."""
    data = bytearray(path.read_bytes())
    heap = data.find(b"GCOL")
    assert heap > 0
    while heap > 0:
        at, end = heap + 16, heap + struct.unpack_from("<Q", data, heap + 8)[0]
        while at + 16 <= end:
            index, size = struct.unpack_from("<H6xQ", data, at)
            if not index:
                struct.pack_into("<Q", data, at + 8, 0)
                break
            at += 16 + (size + 7) // 8 * 8
        heap = data.find(b"GCOL", heap + 1)
    path.write_bytes(bytes(data))


def test_a_heap_that_does_not_end_is_refused_in_a_part_of_the_file_too(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.zeros(1 << 16)
        file.attrs["text"] = "long enough for a heap"
    check_texts(path)
    check_texts(path, 1 << 16)
    end_a_heap_early(path)
    for ends in (None, 1 << 16):
        with pytest.raises(ValueError, match="a damaged heap of texts"):
            check_texts(path, ends)


def a_store(path: Path) -> Callable[[], object]:
    gaussian_store(path, patches=8).close()
    return lambda: PatchStore(path)


def a_body(path: Path) -> Callable[[], object]:
    dark = DarkMap(100.0, np.zeros((8, 8), np.float32), 0.1, 2.0, 9, (0.1,))
    write_body(BodyMaps("One", "RGGB", (dark,), None, np.zeros((0, 3), np.int32)), path)
    return lambda: read_body(path)


@pytest.mark.parametrize("made", [a_store, a_body])
def test_no_file_of_ours_hangs_the_library(made: Callable[[Path], Callable[[], object]], tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    opened = made(path)
    opened()
    end_a_heap_early(path)
    with pytest.raises(NoiseflowError, match=r"x\.h5: .*damaged.*a damaged heap of texts"):
        opened()


@pytest.mark.parametrize("number", [0, 20, -1])
def test_no_text_of_a_store_claims_more_than_the_file(tmp_path: Path, number: int) -> None:
    """The library takes that much memory before it looks for the text: of attributes, and of datasets."""
    resource = pytest.importorskip("resource")
    path = tmp_path / "x.h5"
    opened = a_store(path)
    data = bytearray(path.read_bytes())
    heaps = [match.start() for match in re.finditer(b"GCOL", data)]
    owners = [
        match.start() - 4
        for heap in heaps
        for match in re.finditer(re.escape(struct.pack("<Q", heap)), data)
        if 0 < struct.unpack_from("<I", data, match.start() + 8)[0] < 1000
        and 0 < struct.unpack_from("<I", data, match.start() - 4)[0] < 10_000
    ]
    struct.pack_into("<I", data, sorted(owners)[number], 2**31)
    path.write_bytes(bytes(data))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(NoiseflowError, match=r"x\.h5: .*damaged.*a text "):
        opened()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@pytest.mark.parametrize("libver", ["earliest", "v110", "latest"])
@pytest.mark.parametrize("number", [0, 39])
def test_no_text_of_an_array_claims_more_than_the_file(tmp_path: Path, libver: str, number: int) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w", libver=libver) as file:
        file["x"] = np.zeros(64)
        file.attrs["texts"] = np.array([f"text {each}" for each in range(40)], object)
    check_texts(path)
    data = bytearray(path.read_bytes())
    heap = struct.pack("<Q", data.index(b"GCOL"))
    owners = [each.start() - 4 for each in re.finditer(re.escape(heap), data)]
    owners = [at for at in owners if struct.unpack_from("<I", data, at)[0] in (6, 7)]
    assert len(owners) == 40
    struct.pack_into("<I", data, owners[number], 2**31)
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match="a text longer than the file"):
        check_texts(path)
