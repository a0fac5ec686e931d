"""Metadata fields that array files (NPZ, HDF5) may store next to the mosaic."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from noiseflow.core.errors import RawError
from noiseflow.raw.patterns import LEVEL_COUNTS

__all__ = ["FIELDS", "said_by"]

TEXTS = frozenset(("cfa", "make", "model"))
NUMBERS = frozenset(("white", "iso", "gain_db", "exposure_s"))
FIELDS = TEXTS | NUMBERS | {"black"}
"""Field names: those of `RawImage`, and ``gain_db``, which is converted to an ISO of 100·10^(dB/20)."""


def said_by(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Metadata fields found in `values`, converted to keyword arguments of `RawImage`.

    Parameters
    ----------
    values : mapping of str to object
        Names and values in the file; names that are not in `FIELDS` are ignored.
    source : str
        Name of the file, for messages.

    Returns
    -------
    dict
        Levels in DN, exposure in seconds, the ISO.  ``gain_db`` becomes ``iso`` unless the file has an ISO.

    Raises
    ------
    RawError
        If a value has the wrong type, or the number of black levels fits no layout.
    """
    said: dict[str, Any] = {}
    for name in FIELDS & values.keys():
        value = values[name]
        try:
            if name in TEXTS:
                item = np.asarray(value).item()
                said[name] = item.decode() if isinstance(item, bytes) else str(item)
            else:
                levels = tuple(float(level) for level in np.ravel(value))
                said[name] = levels if name == "black" else levels[0]
        except (TypeError, ValueError, IndexError) as error:
            raise RawError(f"{source}: {name}: cannot understand {value!r}") from error
    if len(said.get("black", (0,))) not in LEVEL_COUNTS:
        raise RawError(
            f"{source}: black: expected one level, or one for each plane (R, G1, G2, B); got {said['black']}"
        )
    if "gain_db" in said:
        decibel = said.pop("gain_db")
        # Models need the ISO only to order gains; 0 dB is mapped to ISO 100.
        said.setdefault("iso", 100 * 10 ** (decibel / 20))
    return said
