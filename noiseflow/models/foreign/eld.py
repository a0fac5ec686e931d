"""ELD's camera parameters: the authors' ``NAME_params.npy``, or JSON with the same tables.

References
----------
Wei, Fu, Yang, Huang: A physics-based noise formation model for extreme low-light raw denoising, CVPR 2020.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from noiseflow.core.errors import ModelError
from noiseflow.core.reading.pickled import MAGIC_NPY, plain_values
from noiseflow.core.reading.schema import ListOf, MapOf, Number, Plain, Table, checked
from noiseflow.core.reading.text import read_json
from noiseflow.models.foreign.log_law import Line, LogLawCamera, chosen
from noiseflow.models.foreign.source import ForeignFormat, ForeignSource
from noiseflow.models.model import NoiseModel

__all__ = ["ELD"]

MOST_BYTES = 4 << 20
"""Largest parameter file that is read; the authors' files have 3 kB."""

PROFILE = "Profile-1"
"""The table of lines that the authors' code uses."""

LINE = Table({"slope": Number(-1e3, 1e3), "bias": Number(-1e3, 1e3)}, {"sigma": Number(0, 1e3)})
CAMERA = Table(
    {
        "Kmin": Number(0, 1e9),
        "Kmax": Number(0, 1e9),
        "G_shape": ListOf(Number(-10, 10), 1, 10_000),
        PROFILE: Table({"G_scale": LINE, "R_scale": LINE}, {"g_scale": LINE}),
    },
    {"color_bias": Plain(), **{f"Profile-{number}": Plain() for number in range(2, 5)}},
)


def _claims(path: Path) -> bool:
    if not path.is_file() or path.stat().st_size > MOST_BYTES:
        return False
    if path.suffix == ".npy":
        with path.open("rb") as file:
            head = file.read(256)
        return head.startswith(MAGIC_NPY) and b"'|O'" in head
    return path.suffix == ".json" and b'"G_shape"' in path.read_bytes()


def _read(source: ForeignSource) -> NoiseModel:
    return chosen(_cameras(source.path), source).model(source)


def _cameras(path: Path) -> list[LogLawCamera]:
    if path.suffix == ".npy":
        found = plain_values(path, "parameters of ELD", ModelError, most=MOST_BYTES)
        tables = {path.stem.removesuffix("_params"): found}
    else:
        tables = read_json(path, "parameters of ELD", ModelError, most=MOST_BYTES)
        tables = tables if isinstance(tables, dict) and "Kmin" not in tables else {path.stem: tables}
    known: Mapping[str, Any] = checked(tables, MapOf(CAMERA), str(path), ModelError, "expected parameters of ELD")
    return [
        LogLawCamera(
            name,
            (table["Kmin"], table["Kmax"]),
            _line(table[PROFILE]["G_scale"]),
            _line(table[PROFILE]["R_scale"]),
            table["G_shape"],
        )
        for name, table in known.items()
    ]


def _line(table: Mapping[str, float]) -> Line:
    return Line(table["slope"], table["bias"])


ELD = ForeignFormat("ELD's camera parameters: NAME_params.npy or JSON", _claims, _read)
