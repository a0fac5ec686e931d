"""Fields that array files (NPZ, HDF5) may hold beside the mosaic."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from noiseflow.core.errors import RawError
from noiseflow.raw.patterns import LEVEL_COUNTS

__all__ = ["FIELDS", "said_by"]

TEXTS = frozenset(("cfa", "make", "model"))
NUMBERS = frozenset(("white", "iso", "gain_db", "exposure_s"))
FIELDS = TEXTS | NUMBERS | {"black"}
"""Names, as those of `RawImage`; and gain_db, which stands for an ISO of 100·10^(dB/20)."""


def said_by(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The fields among `values`, as `RawImage` takes them.

    Raises
    ------
    RawError
        A value of a wrong type.
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
        raise RawError(f"{source}: black: expected one level, or four of R, G1, G2, B; got {said['black']}")
    if "gain_db" in said:
        decibel = said.pop("gain_db")
        # An ISO orders gains; 0 dB stands for ISO 100.
        said.setdefault("iso", 100 * 10 ** (decibel / 20))
    return said
