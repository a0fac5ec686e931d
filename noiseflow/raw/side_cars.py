"""Side-cars: small TOML files with settings for raw files.

Flags override side-cars, and side-cars override the raw file.  A side-car is ``NAME.toml`` next
to ``NAME.raw``, or ``noiseflow.toml`` for a folder and all folders below it; the one nearest
to the file takes precedence::

    cfa = "RGGB"
    black = 600                  # or for R, G1, G2, B: [600, 601, 601, 600]
    white = 16383
    iso = 200
    size = [768, 512]            # width, height; for headerless files
    dtype = "<u2"                # or packed: "RAW10", "Mono12p", …
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from noiseflow.core.errors import RawError
from noiseflow.core.reading.text import read_toml
from noiseflow.raw.patterns import LEVEL_COUNTS
from noiseflow.raw.settings import RawSettings

__all__ = ["FOLDER_SIDE_CAR", "settings_for"]

FOLDER_SIDE_CAR = "noiseflow.toml"

LARGEST_NUMBER = 1 << 53
"""Largest integer accepted in a side-car, which a double represents exactly."""

SIDE_CAR_BYTES = 1 << 16
"""Largest side-car that is read, in bytes."""

KEYS: dict[str, tuple[str, type | tuple[type, ...], int]] = {
    "cfa": ("a text", str, 0),
    "black": ("a number or a list of four, one for each plane", (int, float), 4),
    "white": ("a number", (int, float), 0),
    "iso": ("a number", (int, float), 0),
    "exposure_s": ("a number of seconds", (int, float), 0),
    "camera": ("a text", str, 0),
    "size": ("a list of width and height", int, 2),
    "dtype": ("a text such as '<u2' or 'RAW10'", str, 0),
    "header_bytes": ("a whole number", int, 0),
    "stride": ("a whole number of bytes", int, 0),
    "shift": ("a whole number of bits", int, 0),
    "crop": ("a list of top, left, height, width", int, 4),
    "masked": ("a list of top, left, height, width", int, 4),
}
"""Key → what is expected (for messages), the type of the values, and the length of a list (0 for no list)."""


def settings_for(path: Path, flags: RawSettings | None = None) -> RawSettings:
    """Settings of one raw file: flags, completed from ``NAME.toml``, then from ``noiseflow.toml`` in the folders above.

    Parameters
    ----------
    path : Path
        The raw file.
    flags : RawSettings, optional
        Settings from the command line.

    Raises
    ------
    RawError
        If a side-car is not valid TOML, or has an unknown key or a value of the wrong type.
    """
    settings = flags or RawSettings()
    above = Path(os.path.abspath(path)).parents
    for side_car in (path.with_suffix(".toml"), *(folder / FOLDER_SIDE_CAR for folder in above)):
        if side_car != path and side_car.is_file():
            settings = settings.over(read_side_car(side_car))
    return settings


def read_side_car(path: Path) -> RawSettings:
    """Read the settings in a side-car; errors as in `settings_for`."""
    table = read_toml(path, "the settings of raw files", RawError, most=SIDE_CAR_BYTES)
    try:
        values = _typed(table)
        return RawSettings(**values, places=tuple((name, str(path)) for name in values))
    except RawError as error:
        raise RawError(f"{path}: {error}") from error


def _typed(table: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in KEYS:
            raise RawError(f"unknown key {key!r}; expected {', '.join(KEYS)}")
        expected, kind, length = KEYS[key]
        items = value if isinstance(value, list) else [value]
        lengths = {"black": LEVEL_COUNTS}.get(key, (length or 1,))
        fits = len(items) in lengths and isinstance(value, list) == (len(items) > 1)
        if not fits or not all(isinstance(item, kind) and not isinstance(item, bool) and _sane(item) for item in items):
            raise RawError(f"{key}: expected {expected}; got {value!r}")
        values[key] = tuple(items) if length else value
    return values


def _sane(item: Any) -> bool:
    """Whether a value is not an integer beyond `LARGEST_NUMBER`."""
    return not isinstance(item, int) or abs(item) <= LARGEST_NUMBER
