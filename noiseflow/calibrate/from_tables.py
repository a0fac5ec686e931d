"""Photon-transfer tables: read, and made into a profile."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noiseflow.calibrate.estimators.likelihood import line_gain
from noiseflow.calibrate.measured import Calibration, Evidence
from noiseflow.calibrate.measurement import Measurement, from_error, root
from noiseflow.calibrate.measurements.conversion import gain_notes
from noiseflow.calibrate.measurements.curve import Curve, linear_range
from noiseflow.calibrate.measurements.photon_transfer import in_electrons
from noiseflow.calibrate.profiles.profile import Profile, Setting
from noiseflow.calibrate.profiles.published import told
from noiseflow.core.errors import DataError
from noiseflow.core.version import __version__

__all__ = ["Table", "calibrate_tables", "read_tables"]

Array = NDArray[np.float64]

ASSUMED = 0.05
"""Relative standard error of a variance whose table states none."""

MOST_OF_A_TABLE = 1e9
"""Largest number of a table, and one over its least: beyond them none is measured, and squares overflow."""


@dataclass(frozen=True, eq=False)
class Table:
    """A photon-transfer table: rows of ISO, exposure in s, mean DN, temporal σ in DN; shape (N, 4)."""

    path: Path
    rows: NDArray[np.float64]


def calibrate_tables(tables: list[Table], camera: str | None) -> Calibration:
    """A profile of photon-transfer tables: K of each ISO, and the read noise where there are darks.

    Parameters
    ----------
    tables : list of Table
        A name with "dark" in it holds darks.
    camera : str, optional
        Name; else that of the file.

    Raises
    ------
    DataError
        No ISO with levels of light enough for a line.
    """
    rows = np.concatenate([table.rows for table in tables])
    settings, evidence, skipped = [], {}, []
    darks = np.concatenate([np.full(len(t.rows), "dark" in t.path.stem.lower()) for t in tables])
    for iso in np.unique(rows[:, 0]):
        flat, dark = rows[(rows[:, 0] == iso) & ~darks], rows[(rows[:, 0] == iso) & darks]
        if len(flat) < (3 if not len(dark) else 2):
            where = f"ISO {iso:g}: {len(flat)} level(s) of light in the table, too few for a fit"
            skipped.append(f"{where}; read noise only" if len(dark) else f"{where}; left out")
            if len(dark):
                settings.append(
                    Setting(float(iso), "Y", _dark(_shortest(dark)), cautions=(*_told_of(dark), "gain not known"))
                )
            continue
        setting, shown = _table_setting(float(iso), flat, dark)
        settings.append(setting)
        evidence[(float(iso), "Y")] = shown
    if not any("gain_dn_per_e" in setting.estimates for setting in settings):
        raise DataError(f"{tables[0].path}: no ISO has three levels of light; one exposure gives no gain")
    name = camera or tables[0].path.stem.removesuffix("_flat").removesuffix("_dark").replace("_", " ")
    # The tables do not say the white level: 14-bit converters stand in, which only models need.
    white = float(2 ** math.ceil(math.log2(rows[:, 2].max() + 1)) - 1)
    provenance = {
        "tool": f"noiseflow calibrate {__version__}",
        "method": "photon-transfer table, σ² over mean",
        "sources": [str(table.path) for table in tables],
    }
    guess = f"white level {white:g} DN is a guess from the largest mean in the table"
    cautions = (*skipped, guess, *gain_notes(settings))
    return Calibration(Profile(name, "mono", white, tuple(settings), provenance, cautions), evidence)


def _table_setting(iso: float, flat: Array, dark: Array) -> tuple[Setting, Evidence]:
    n, unknown = len(flat), np.full(len(flat), np.nan)
    offset = float(dark[:, 2].mean()) if len(dark) else 0.0
    dark = _shortest(dark)
    noise = float((dark[:, 3] ** 2).mean()) if len(dark) else math.nan
    curve = Curve(
        flat[:, 1],
        flat[:, 2] - offset,
        flat[:, 3] ** 2,
        unknown,
        np.full(n, noise),
        unknown,
        np.zeros(n),
        bool(len(dark)),
    )
    chosen, _ = linear_range(curve)
    used = curve.select(chosen)
    fit = line_gain(used)
    estimates = {"gain_dn_per_e": fit.gain}
    if len(dark):
        estimates |= _dark(dark)
        estimates["read_noise_e"] = in_electrons(estimates["read_noise_dn"], fit.gain)
    shown = Evidence(curve, chosen, fit)
    return Setting(iso, "Y", estimates, cautions=_told_of(dark)), shown


def _shortest(dark: Array) -> Array:
    """Darks of the shortest exposure: longer ones hold the shot noise of the dark current, and are no read noise."""
    return dark[dark[:, 1] == dark[:, 1].min()] if len(dark) else dark


def _dark(rows: Array) -> dict[str, Measurement]:
    """Black level and read noise; one row alone says nothing of its own error."""
    square, level = float((rows[:, 3] ** 2).mean()), float(rows[:, 2].mean())
    if len(rows) > 1:
        n = len(rows)
        error = float((rows[:, 3] ** 2).std(ddof=1)) / math.sqrt(n)
        black = from_error(level, float(rows[:, 2].std(ddof=1)) / math.sqrt(n), "DN", n - 1)
        return {"read_noise_dn": root(square, error, "DN", n - 1), "black_dn": black}
    return {"read_noise_dn": root(square, ASSUMED * square, "DN"), "black_dn": told(level, "DN")}


def _told_of(dark: Array) -> tuple[str, ...]:
    cautions = ["the table says no frame counts: error bars are from the residuals"]
    if not len(dark):
        cautions.append("no darks: black level and read noise are not in the table")
    elif len(dark) == 1:
        cautions.append("one dark in the table: the read noise's error bar is assumed (2.5 %), the black's is unknown")
    return tuple(cautions)


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
