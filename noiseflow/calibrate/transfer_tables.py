"""Photon-transfer tables as calibration reads them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import DataError

__all__ = ["Table", "read_tables"]

MOST_OF_A_TABLE = 1e9
"""Largest number of a table, and one over its least: beyond them none is measured, and squares overflow."""


@dataclass(frozen=True, eq=False)
class Table:
    """A photon-transfer table: rows of ISO, exposure in s, mean DN, temporal σ in DN; shape (N, 4)."""

    path: Path
    rows: NDArray[np.float64]


def read_tables(paths: Iterable[Path]) -> list[Table]:
    """Read photon-transfer tables: lines of ISO; exposure s; mean DN; temporal σ DN; no header.

    Raises
    ------
    DataError
        A line that is not four positive numbers.
    """
    tables = []
    for path in paths:
        rows: list[list[float]] = []
        for number, line in enumerate(_read(path).splitlines(), 1):
            if not line.strip():
                continue
            try:
                row = [float(word) for word in line.replace(",", ";").split(";")]
            except ValueError as error:
                raise DataError(
                    f"{path}: line {number}: {error}; expected ISO; exposure s; mean DN; sigma DN"
                ) from error
            if len(row) != 4 or not (
                np.isfinite(row).all() and min(row) >= 1 / MOST_OF_A_TABLE and max(row) <= MOST_OF_A_TABLE
            ):
                raise DataError(
                    f"{path}: line {number}: expected four positive numbers, ISO; exposure s; mean DN; sigma DN"
                )
            rows.append(row)
        if not rows:
            raise DataError(f"{path}: an empty table; expected lines of ISO; exposure s; mean DN; sigma DN")
        tables.append(Table(path, np.array(rows)))
    return tables


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not text; expected a table of ISO; exposure s; mean DN; sigma DN") from error
