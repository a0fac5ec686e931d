"""Mutations of HDF5 files: well formed ones that lie."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tools.readers.structured_text import NUMBER, TEXTS, WORDS, Rng, one_of

__all__ = ["of_hdf5"]


def of_hdf5(path: Path, rng: Rng) -> None:
    """Datasets and attributes swapped, of other types, sizes and storage; values by 1 %; rows in another order."""
    with h5py.File(path, "r+") as file:
        # Nothing is read of what an earlier change made huge or a part of itself.
        names = [name for name in file if isinstance(file.get(name), h5py.Dataset) and _is_small(file[name])]
        name, other = one_of(rng, names), one_of(rng, names)
        how = int(rng.integers(0, 14))
        if how == 0:
            alike = [each for each in names if file[each].shape == file[name].shape]
            other = one_of(rng, alike)
            if other != name:
                file.move(name, "aside")
                file.move(other, name)
                file.move("aside", other)
        elif how == 1:
            _again(file, name, one_of(rng, (np.float64, np.int64, np.float32, np.uint8, ">u2", "S8", "c8", bool)))
        elif how == 2:
            _attributes(file, name, rng)
        elif how == 3:
            _attributes(file, None, rng)
        elif how in (4, 5):
            _values(file[name], rng)
        elif how == 6:
            values = file[name][()]
            if np.ndim(values):
                file[name][...] = values[rng.permutation(len(values))]
        elif how == 7:
            del file[name]
        elif how == 8:
            kept = file[name]
            dtype, shape = kept.dtype, kept.shape
            huge = one_of(
                rng, ((2**40, *shape[1:]), (2**31, *shape[1:]), (0, *shape[1:]), shape[:-1] or (1,), (*shape, 1))
            )
            del file[name]
            file.create_dataset(name, shape=huge, dtype=dtype)
        elif how == 9:
            values = file[name][()]
            kept_attributes = dict(file[name].attrs)
            del file[name]
            if np.ndim(values):
                file.create_dataset(name, data=values, chunks=True, compression="gzip")
            else:
                file.create_dataset(name, data=values)
            file[name].attrs.update(kept_attributes)
        elif how == 10:
            del file[name]
            file[name] = one_of(
                rng, (h5py.SoftLink(f"/{other}"), h5py.ExternalLink("/etc/hosts", "/x"), h5py.SoftLink("/"))
            )
        elif how == 11:
            del file[name]
            file.create_group(name)
        elif how == 12:
            file.create_dataset(
                one_of(rng, ("extra", "mask", "mean", "clean", "gain", "mosaic")) + one_of(rng, ("", "_")),
                data=np.zeros(3),
            )
        else:
            shape, dtype = file[name].shape, file[name].dtype
            del file[name]
            if shape and dtype.kind in "uif":
                layout = h5py.VirtualLayout(shape=shape, dtype=dtype)
                layout[...] = h5py.VirtualSource(str(path), other, shape=shape)
                file.create_virtual_dataset(name, layout)
            else:
                file[name] = np.zeros(shape, np.float32)


def _is_small(dataset: h5py.Dataset) -> bool:
    return not dataset.is_virtual and dataset.size is not None and dataset.size < 1 << 20


def _again(file: h5py.File, name: str, dtype: Any) -> None:
    kept = dict(file[name].attrs)
    values = file[name][()]
    try:
        values = np.asarray(values).astype(dtype)
    except (TypeError, ValueError):
        return
    del file[name]
    file[name] = values
    file[name].attrs.update(kept)


def _attributes(file: h5py.File, name: str | None, rng: Rng) -> None:
    place = file if name is None or not len(file[name].attrs) else file[name]
    keys = list(place.attrs)
    if not keys:
        return
    key, other = one_of(rng, keys), one_of(rng, keys)
    value = place.attrs[key]
    how = int(rng.integers(0, 6))
    if how == 0:
        place.attrs[key], place.attrs[other] = place.attrs[other], value
    elif how == 1:
        del place.attrs[key]
    elif how == 2 and np.issubdtype(np.asarray(value).dtype, np.number):
        place.attrs[key] = np.asarray(value) * 1.01
    elif how == 3 and isinstance(value, str):
        try:
            content = json.loads(value)
        except ValueError:
            place.attrs[key] = one_of(rng, [*TEXTS[2:3], value + "x", value.upper(), value[:-1]])
            return
        numbers = list(NUMBER.finditer(value))
        if numbers and rng.random() < 0.7:
            found = one_of(rng, numbers)
            new = one_of(rng, (repr(float(found[0]) * 1.01), *WORDS[:6], *WORDS[15:18]))
            place.attrs[key] = (value[: found.start()] + new + value[found.end() :])[:60_000]
        else:
            place.attrs[key] = json.dumps([content])
    else:
        place.attrs[key] = one_of(rng, (1, 1.5, "x", np.zeros(3), np.zeros(0), np.bytes_(b"\xff\xfe"), np.nan, 2**62))


def _values(dataset: h5py.Dataset, rng: Rng) -> None:
    """One value by 1 %, or a field of one row, or two rows' field swapped, or a name changed."""
    values = dataset[()]
    if not np.ndim(values) or not np.size(values):
        return
    if dataset.dtype.names:
        field = one_of(rng, dataset.dtype.names)
        one, other = int(rng.integers(0, len(values))), int(rng.integers(0, len(values)))
        if rng.random() < 0.5:
            values[field][[one, other]] = values[field][[other, one]]
        else:
            old = values[field][one]
            values[field][one] = np.asarray(old * 1.01 if values[field].dtype.kind == "f" else old + 1).astype(
                values[field].dtype
            )
    elif dataset.dtype.kind == "O":
        at = int(rng.integers(0, len(values)))
        values[at] = one_of(rng, (values[at] + b"x", b"", values[-1 - at], values[at].upper()))
    else:
        flat = values.reshape(-1)
        at = int(rng.integers(0, flat.size))
        if values.dtype.kind == "f":
            flat[at] = one_of(rng, (flat[at] * 1.01, np.nan, np.inf))
        else:
            flat[at] ^= np.asarray(1).astype(flat.dtype)
    dataset[...] = values
