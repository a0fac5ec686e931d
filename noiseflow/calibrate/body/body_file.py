"""HDF5 files of body maps, with a checksum that is verified before any value is used."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from noiseflow.calibrate.body.body_maps import DEFECT_KINDS, BodyMaps, DarkMap, GainMap
from noiseflow.core.errors import DataError
from noiseflow.core.output.checks import writing
from noiseflow.core.output.ends import END, ENDED
from noiseflow.core.output.marks import MARK
from noiseflow.core.output.whole import write_bytes
from noiseflow.core.reading.hdf5 import TEXT_BYTES, check_texts, own_dataset
from noiseflow.core.reading.schema import ListOf, MapOf, Maybe, Number, Table, Text, checked
from noiseflow.core.reading.text import json_value
from noiseflow.raw.patterns import cell_side

__all__ = ["BODY_SCHEMA", "is_body", "read_body", "write_body"]

BODY_SCHEMA = "noiseflow body maps 1"

DAMAGED = (KeyError, OSError, ValueError, TypeError, AttributeError, RuntimeError, OverflowError, MemoryError)
"""Errors that h5py, JSON and NumPy raise for a damaged file."""

NUMBERS = ("iso", "offset_error", "noise", "frames", "exposures_s", "current_error")
"""Numbers of a `DarkMap`."""

COUNT = Number(1, 2**31, whole=True)

FACTS = Table(
    {
        "camera": Text(1000),
        "cfa": Text(100, 1),
        "provenance": MapOf(Text()),
        "darks": ListOf(
            Table(
                {
                    "iso": Number(0, above=True),
                    "offset_error": Number(0),
                    "noise": Number(0),
                    "frames": COUNT,
                    "exposures_s": ListOf(Number(0)),
                    "current_error": Maybe(Number(0)),
                }
            )
        ),
        "gain": Maybe(Table({"error": Number(0), "frames": COUNT})),
    }
)
"""Schema of the facts beside the maps."""


def is_body(path: str | Path) -> bool:
    """Return whether a file contains body maps, by its suffix and its schema attribute."""
    import h5py

    path = Path(path)
    if path.suffix.lower() not in (".h5", ".hdf5") or not path.is_file():
        return False
    try:
        check_texts(path, TEXT_BYTES)
        with h5py.File(path, "r") as file:
            return bool(file.attrs.get("schema") == BODY_SCHEMA)
    except DAMAGED:
        return False


def write_body(body: BodyMaps, path: str | Path, *, overwrite: bool = False) -> None:
    """Write body maps as HDF5; the file appears under its name only when complete.

    Parameters
    ----------
    body : BodyMaps
        Maps of one body.
    path : path
        File to write, ``.h5``.
    overwrite : bool
        Whether to replace an existing file that noiseflow wrote.

    Raises
    ------
    OutputError
        The file exists and may not be replaced, or cannot be written.
    """
    import h5py

    arrays, facts = _content(body)
    text = json.dumps(facts)
    with writing(path, overwrite=overwrite) as path:
        # Build the file in memory: on a full disk, HDF5 would fail a second time on closing it.
        content = io.BytesIO()
        with h5py.File(content, "w", libver="v110") as file:
            for name, values in arrays.items():
                file[name] = values
            file.attrs.update(schema=BODY_SCHEMA, made_by=MARK, facts=text, content_blake3=_checksum(arrays, text))
            file.attrs[ENDED] = True
        content.seek(0, io.SEEK_END)
        content.write(END)
        write_bytes(path, content.getbuffer(), replace=overwrite)


def _content(body: BodyMaps) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return the arrays of a file, and its facts for JSON."""
    arrays: dict[str, NDArray[Any]] = {"defects": body.defects}
    for index, each in enumerate(body.darks):
        arrays[f"dark_{index}"] = each.offset
        if each.current is not None:
            arrays[f"current_{index}"] = each.current
    if body.gain is not None:
        arrays["gain"] = body.gain.gain
    facts = {
        "camera": body.camera,
        "cfa": body.cfa,
        "provenance": dict(body.provenance),
        "darks": [{name: _plain(getattr(each, name)) for name in NUMBERS} for each in body.darks],
        "gain": None if body.gain is None else {"error": body.gain.error, "frames": body.gain.frames},
    }
    return arrays, facts


def _plain(value: Any) -> Any:
    """Convert to a JSON value; an infinite number becomes null."""
    if isinstance(value, tuple):
        return list(value)
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _checksum(arrays: Mapping[str, NDArray[Any]], text: str) -> str:
    """Return the BLAKE3 checksum of the facts and of all arrays with their names, types and shapes."""
    digest = blake3(text.encode())
    for name in sorted(arrays):
        values = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {values.dtype} {values.shape}".encode())
        digest.update(values.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def read_body(path: str | Path) -> BodyMaps:
    """Read body maps.

    Parameters
    ----------
    path : path
        File written by `write_body`.

    Returns
    -------
    BodyMaps
        The maps.

    Raises
    ------
    DataError
        No such file, a file without body maps, or a damaged one.
    """
    import h5py

    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected body maps written by `noiseflow calibrate --maps`")
    try:
        check_texts(path, TEXT_BYTES)
        with h5py.File(path, "r") as file:
            if file.attrs.get("schema") != BODY_SCHEMA:
                raise DataError(
                    f"{path}: contains no body maps; expected a file written by `noiseflow calibrate --maps`"
                )
            arrays = {name: np.asarray(own_dataset(file, name)[...]) for name in file}
            text = str(file.attrs["facts"])
            if _checksum(arrays, text) != file.attrs["content_blake3"]:
                raise ValueError("its maps or facts differ from their checksum")
        facts = json_value(text, str(path), "facts of body maps", DataError)
        return _body(arrays, checked(facts, FACTS, str(path), DataError, "measure the maps again"))
    except DAMAGED as error:
        raise DataError(f"{path}: the body maps are damaged ({error}); measure them again") from error


def _body(arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> BodyMaps:
    """Build the maps from the arrays and facts of a file; raise ValueError if they do not fit together."""
    darks = []
    for index, numbers in enumerate(facts["darks"]):
        known = {**numbers, "exposures_s": tuple(numbers["exposures_s"])}
        if known["current_error"] is None:
            known["current_error"] = float("inf")
        darks.append(
            DarkMap(offset=_of_map(arrays[f"dark_{index}"]), current=_maybe(arrays, f"current_{index}"), **known)
        )
    gain = None if facts["gain"] is None else GainMap(_of_map(arrays["gain"]), **facts["gain"])
    maps = [each.offset for each in darks] + [each.current for each in darks if each.current is not None]
    shapes = {each.shape for each in maps} | ({gain.gain.shape} if gain else set())
    defects = np.asarray(arrays["defects"], np.int32)
    side = cell_side(facts["cfa"])
    if len(shapes) != 1 or any(length % side for length in next(iter(shapes))):
        raise ValueError(f"the maps have sizes {sorted(shapes)}; expected one size of whole {side}×{side} cells")
    limits = (*next(iter(shapes)), len(DEFECT_KINDS))
    if defects.ndim != 2 or defects.shape[1] != 3 or ((defects < 0) | (defects >= limits)).any():
        raise ValueError("the listed defects are outside the frame")
    return BodyMaps(facts["camera"], facts["cfa"], tuple(darks), gain, defects, facts["provenance"])


def _maybe(arrays: Mapping[str, NDArray[Any]], name: str) -> NDArray[np.float32] | None:
    return _of_map(arrays[name]) if name in arrays else None


def _of_map(values: NDArray[Any]) -> NDArray[np.float32]:
    if values.ndim != 2 or values.dtype != np.float32 or not np.isfinite(values).all():
        raise ValueError(f"a map is {values.dtype} of shape {values.shape}; expected finite float32 of two dimensions")
    return values
