"""Read the file of a store: check every dataset before it is used, and compare the checksum of the contents."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import StoreError
from noiseflow.core.output.checks import partial_of
from noiseflow.core.reading.hdf5 import TEXT_BYTES, check_texts, own_dataset
from noiseflow.core.reading.system import refused_by_system
from noiseflow.core.units import SIGNAL_UNIT
from noiseflow.patches.checksums import content_checksum
from noiseflow.patches.schema import (
    CFAS,
    CLEAN_TYPE,
    CONTENT,
    CRC_TYPE,
    LABELS,
    MASK_TYPE,
    NOISY_TYPE,
    PIXELS_OF,
    READABLE,
    SPLITS,
    fields,
    mask_bytes,
)
from noiseflow.raw.bayer import plane_names

__all__ = ["StoreContent", "read_content"]

DAMAGED = (
    KeyError,
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    RuntimeError,
    OverflowError,
    MemoryError,
)
"""Exceptions that h5py, JSON and NumPy raise for a damaged file."""


@dataclass(frozen=True, eq=False)
class StoreContent:
    """Contents of a store's file; the pixels are memory-mapped.

    Parameters
    ----------
    layout, pairing, fingerprint : str
        As in `Patches`.
    provenance : dict
        Tool version, arguments and notes of the ingest.
    truth : dict
        Parameters of simulated cameras, by name.
    believed : list of (str, str, str)
        Facts that the ingest used: name, value, and source.
    names : dict of str to tuple of str
        The lists ``cameras``, ``scenes`` and ``sources``.
    source_checksums : tuple of str
        Checksum of each source file.
    scene_facts : dict of str to dict
        Scene → its facts.
    table : structured ndarray, shape (N,)
        One row per patch.
    noisy : ndarray of uint16, shape (N, C, h, w)
        Codes, DN.
    clean : ndarray of float32, or None
        Clean signal in DN, shape (N, C, h, w); or the means, shape (M, C, h, w), if frames share it; None if unknown.
    mean_crc : ndarray of uint32, shape (M,), or None
        CRC-32 of each mean; None if frames do not share their clean signal.
    mask : ndarray of uint8, shape (K, bytes), or None
        Packed masks of the K patches with masked pixels; None if no pixel is masked.
    protected : bool
        Whether the file has a checksum of its contents; older schemas have none.
    """

    layout: str
    pairing: str
    fingerprint: str
    provenance: dict[str, Any]
    truth: dict[str, Any]
    believed: list[list[str]]
    names: dict[str, tuple[str, ...]]
    source_checksums: tuple[str, ...]
    scene_facts: dict[str, dict[str, Any]]
    table: NDArray[Any]
    noisy: NDArray[np.uint16]
    clean: NDArray[np.float32] | None
    mean_crc: NDArray[np.uint32] | None
    mask: NDArray[np.uint8] | None
    protected: bool


def read_content(path: Path) -> StoreContent:
    """Read and check the file of a store.

    Parameters
    ----------
    path : Path
        The store.

    Raises
    ------
    StoreError
        If the file does not exist, is no patch store, has an unknown schema, or is damaged.
    """
    with _opened(path) as file:
        try:
            return _content(file)
        except DAMAGED as error:
            raise _unreadable(path, error, "damaged patch store") from error


def _unreadable(path: Path, error: BaseException, what: str) -> StoreError:
    refused = refused_by_system(path, error)
    return StoreError(f"{path}: {refused}" if refused else f"{path}: {what} ({error}); ingest again")


def _opened(path: Path) -> h5py.File:
    """Open a file after checking that it is a patch store with a known schema."""
    partial = partial_of(path)
    if path.is_dir() or not path.exists():
        left = partial if partial.exists() else path if path.is_dir() else None
        hint = f"; {left.name} was left by an ingest that was stopped: ingest again to continue" if left else ""
        raise StoreError(f"{path}: no such file{hint}")
    if not path.is_file():
        raise StoreError(f"{path}: is a special file (pipe, socket or device); expected a patch store")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise _unreadable(path, error, "not a readable HDF5 file") from error
    try:
        check_texts(path, TEXT_BYTES)
        schema, unit = file.attrs.get("schema"), file.attrs.get("unit")
    except DAMAGED as error:
        file.close()
        raise _unreadable(path, error, "damaged patch store") from error
    if schema is None:
        problem = "an HDF5 file but not a patch store; make one with `noiseflow ingest`"
    elif not isinstance(schema, np.integer) or int(schema) not in READABLE:
        known = ", ".join(map(str, READABLE))
        problem = f"a patch store with schema {schema}; expected one of {known}: ingest again with this version"
    elif not isinstance(unit, str) or unit != SIGNAL_UNIT:
        problem = f"its signal is in {unit!r}; expected {SIGNAL_UNIT!r}"
    else:
        return file
    file.close()
    raise StoreError(f"{path}: {problem}")


def _content(file: h5py.File) -> StoreContent:
    attributes = dict(file.attrs)
    schema = READABLE[int(attributes["schema"])]
    layout = str(attributes["layout"])
    planes = len(plane_names(layout))
    table: NDArray[Any] = _array(file, "table", fields(planes, shared=schema.shared, masked=schema.masked))
    names = {label: _strings(file, label) for label in (*LABELS, schema.checksums, "scene_facts")}
    noisy = _mapped(file, "noisy", NOISY_TYPE, len(table), planes)
    if noisy is None:
        raise ValueError("no pixels were ever written")
    mean_crc = _array(file, "mean_crc", CRC_TYPE) if schema.shared else None
    name, count = ("clean", len(table)) if mean_crc is None else ("mean", len(mean_crc))
    clean = _mapped(file, name, CLEAN_TYPE, count, planes, noisy.shape[2:])
    if clean is None and mean_crc is not None:
        raise ValueError("no means were ever written")
    mask = _masks(file, noisy.shape[1:]) if schema.masked else None
    if mask is not None and (len(mask) != np.count_nonzero(table["mask"]) or int(table["mask"].max()) != len(mask)):
        raise ValueError(f"'mask' has {len(mask)} rows; its table points at {np.count_nonzero(table['mask'])}")
    if schema.protected or CONTENT in attributes:
        arrays: dict[str, Any] = {"table": table, **names, **({} if mean_crc is None else {"mean_crc": mean_crc})}
        pixels = {each: (file[each].dtype, file[each].shape) for each in PIXELS_OF if each in file}
        if content_checksum(attributes, arrays, pixels) != attributes.get(CONTENT):
            raise ValueError("its table, names, levels or attributes differ from their checksum")
    # A checksum says who wrote the table last, and not that its indices point at something.
    _check_table(table, names, 0 if mean_crc is None else len(mean_crc))
    facts = names["scene_facts"]
    return StoreContent(
        layout=layout,
        pairing=str(attributes["pairing"]),
        fingerprint=str(attributes["fingerprint"]),
        provenance=_json(attributes["provenance"], dict),
        truth=_json(attributes["truth"], dict),
        # Older stores lack this attribute.
        believed=_believed(attributes.get("believed", "[]")),
        names={label: names[label] for label in LABELS},
        source_checksums=names[schema.checksums],
        scene_facts={scene: _json(each, dict) for scene, each in zip(names["scenes"], facts, strict=True)},
        table=table,
        noisy=noisy,
        clean=clean,
        mean_crc=mean_crc,
        mask=mask,
        protected=schema.protected,
    )


def _json(text: str, kind: type) -> Any:
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("JSON nested too deep") from error
    if not isinstance(value, kind):
        raise ValueError(f"expected a JSON {kind.__name__}; got {text[:40]!r}")
    return value


def _believed(text: str) -> list[list[str]]:
    """What was believed of the frames: lists of a fact, its value and its source."""
    facts: list[list[str]] = _json(text, list)
    for each in facts:
        if not isinstance(each, list) or len(each) != 3 or not all(isinstance(word, str) for word in each):
            raise ValueError(f"'believed' has {str(each)[:40]!r}; expected a fact, its value and its source")
    return facts


def _array(file: h5py.File, name: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    dataset = own_dataset(file, name)
    if dataset.dtype != dtype or dataset.ndim != 1 or not dataset.size:
        raise ValueError(f"{name!r} is {dataset.dtype} {dataset.shape}; expected a list of {dtype}")
    return np.asarray(dataset[:])


def _strings(file: h5py.File, name: str) -> tuple[str, ...]:
    dataset = own_dataset(file, name)
    if dataset.ndim != 1 or h5py.check_string_dtype(dataset.dtype) is None:
        raise ValueError(f"{name!r} is {dataset.dtype} {dataset.shape}; expected a list of strings")
    return tuple(each.decode() for each in dataset[:]) if dataset.size else ()


def _mapped(
    file: h5py.File, name: str, dtype: np.dtype[Any], count: int, planes: int, size: tuple[int, ...] = ()
) -> NDArray[Any] | None:
    """Map a dataset of patches read-only; None if it was never allocated."""
    dataset = own_dataset(file, name, written=False)
    fits = dataset.dtype == dtype and dataset.ndim == 4 and dataset.shape[:2] == (count, planes)
    if not fits or not dataset.size or size not in ((), dataset.shape[2:]):
        raise ValueError(f"{name!r} is {dataset.dtype} {dataset.shape}; expected {count} patches of {planes} {dtype}")
    offset = dataset.id.get_offset()
    if offset is None:
        return None
    # A plain array, since every view of a memmap costs extra checks.
    return np.asarray(np.memmap(file.filename, dtype, "r", offset, dataset.shape))


def _masks(file: h5py.File, patch_shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Map the masks read-only."""
    dataset, size = own_dataset(file, "mask"), mask_bytes(patch_shape)
    offset = dataset.id.get_offset()
    if (
        dataset.dtype != MASK_TYPE
        or dataset.ndim != 2
        or dataset.shape[1] != size
        or not dataset.size
        or offset is None
    ):
        raise ValueError(f"'mask' is {dataset.dtype} {dataset.shape}; expected rows of {size} bytes")
    return np.asarray(np.memmap(file.filename, MASK_TYPE, "r", offset, dataset.shape))


def _check_table(table: NDArray[Any], names: dict[str, tuple[str, ...]], means: int) -> None:
    """Refuse a table in which an index is out of range or a level is not finite."""
    limits = {"camera": len(names["cameras"]), "scene": len(names["scenes"]), "source": len(names["sources"])}
    limits |= {"split": len(SPLITS), "cfa": len(CFAS), **({"mean": means} if means else {})}
    for column, limit in limits.items():
        # If a list of names is empty, the indices are 0.
        if len(table) and int(table[column].max()) >= max(limit, 1):
            raise ValueError(f"its table has a {column} {int(table[column].max())}; expected less than {limit}")
    for column in ("iso", "white", "black", "clean_variance"):
        if not np.isfinite(table[column]).all():
            raise ValueError(f"its table has a {column} that is not a finite number")
