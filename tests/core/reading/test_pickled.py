"""Pickles of plain values are parsed; what would run code is refused and does not run."""

import contextlib
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noiseflow.core.errors import ModelError
from noiseflow.core.reading.pickled import plain_values

VALUE = {
    "Kmin": 0.0939,
    "count": 3,
    "large": 2**70,
    "name": "Sony",
    "none": None,
    "flags": [True, False],
    "pair": (1, 2, 3, 4),
    "scalar": np.float64(1.5),
    "bias": np.arange(6, dtype=np.float32).reshape(2, 3),
    "inner": {"slope": -0.25, "list": []},
}
PLAIN = {**VALUE, "pair": [1, 2, 3, 4], "scalar": 1.5, "bias": [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]}


def read(path: Path) -> Any:
    return plain_values(path, "a table", ModelError, most=1 << 20)


def test_an_array_of_one_table(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array(VALUE, dtype=object), allow_pickle=True)
    assert read(tmp_path / "a.npy") == PLAIN


@pytest.mark.parametrize("protocol", range(2, 5))
def test_every_protocol_and_python_2(tmp_path: Path, protocol: int) -> None:
    for name, fixed in (("now", {}), ("for2", {"fix_imports": True})):
        path = tmp_path / f"{name}.npy"
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
            pickle.dump(np.array(VALUE, dtype=object), file, protocol=protocol, **fixed)  # type: ignore[arg-type]
        assert read(path) == PLAIN


class Runs:
    def __reduce__(self) -> Any:
        return os.mkdir, ("ran",)


def test_what_runs_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("bad.npy", np.array({"a": Runs()}, dtype=object), allow_pickle=True)
    with pytest.raises(ModelError, match=r"not a pickle of plain values \(it names (posix|nt)\.mkdir\)"):
        read(Path("bad.npy"))
    assert not Path("ran").exists()
    # The file does what it is here for.
    np.load("bad.npy", allow_pickle=True)
    assert Path("ran").is_dir()


def test_damage_raises_nothing_else(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array(VALUE, dtype=object), allow_pickle=True)
    content = (tmp_path / "a.npy").read_bytes()
    rng = np.random.default_rng(0)
    for case in range(300):
        damaged = bytearray(content)
        for place in rng.integers(80, len(content), 1 + case % 3):
            damaged[place] = rng.integers(256)
        if case % 3 == 0:
            damaged = damaged[: rng.integers(len(content))]
        (tmp_path / "b.npy").write_bytes(damaged)
        with contextlib.suppress(ModelError):
            read(tmp_path / "b.npy")


@pytest.mark.parametrize("array", [np.zeros(3), np.array(3.0), np.array([VALUE, VALUE], dtype=object)])
def test_an_array_of_numbers_or_of_several_objects_is_not_one_table(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "c.npy", array, allow_pickle=True)
    with pytest.raises(ModelError, match="not one pickled object"):
        read(tmp_path / "c.npy")
