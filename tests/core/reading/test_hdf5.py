"""Datasets of our own files: what no writer of ours makes is refused."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from noiseflow.core.reading.hdf5 import own_dataset

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
