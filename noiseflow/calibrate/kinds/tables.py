"""Reading photon-transfer tables and calibrating a camera from them."""

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
from noiseflow.calibrate.profiles.published import without_error
from noiseflow.core.errors import DataError
from noiseflow.core.text import counted
from noiseflow.core.version import __version__

__all__ = ["Table", "calibrate_tables", "read_tables"]

Array = NDArray[np.float64]

ASSUMED = 0.05
"""Relative standard error assumed for a variance whose table states none."""

MOST_OF_A_TABLE = 1e9
"""Largest number accepted in a table; its inverse is the smallest.  Squares of larger ones could overflow."""


@dataclass(frozen=True, eq=False)
class Table:
    """A photon-transfer table.

    Parameters
    ----------
    path : Path
        The file; darks if its name contains "dark".
    rows : ndarray, shape (N, 4)
        ISO, exposure time (s), mean (DN) and temporal standard deviation (DN).
    """

    path: Path
    rows: NDArray[np.float64]


def calibrate_tables(tables: list[Table], camera: str | None) -> Calibration:
    """Calibrate a camera from photon-transfer tables: K at each ISO, and the read noise where there are darks.

    Parameters
    ----------
    tables : list of Table
        Tables of one camera.  A table whose file name contains "dark" lists darks.
    camera : str, optional
        Name of the camera; by default that of the first file without "_flat" or "_dark".

    Returns
    -------
    Calibration
        The profile, and the curves and fits behind it.

    Raises
    ------
    DataError
        No ISO with enough levels of light: three, or two with darks.
    """
    rows = np.concatenate([table.rows for table in tables])
    settings, evidence, skipped = [], {}, []
    darks = np.concatenate([np.full(len(t.rows), "dark" in t.path.stem.lower()) for t in tables])
    for iso in np.unique(rows[:, 0]):
        flat, dark = rows[(rows[:, 0] == iso) & ~darks], rows[(rows[:, 0] == iso) & darks]
        if len(flat) < (3 if not len(dark) else 2):
            where = f"ISO {iso:g}: the table has only {counted(len(flat), 'level')} of light, too few for a fit"
            skipped.append(f"{where}; only the read noise is measured" if len(dark) else f"{where}; it is left out")
            if len(dark):
                settings.append(
                    Setting(float(iso), "Y", _dark(_shortest(dark)), cautions=(*_cautions(dark), "the gain is unknown"))
                )
            continue
        setting, shown = _table_setting(float(iso), flat, dark)
        settings.append(setting)
        evidence[(float(iso), "Y")] = shown
    if not any("gain_dn_per_e" in setting.estimates for setting in settings):
        raise DataError(
            f"{tables[0].path}: no ISO has enough levels of light for a gain; expected three, or two with darks"
        )
    name = camera or tables[0].path.stem.removesuffix("_flat").removesuffix("_dark").replace("_", " ")
    # The tables do not state the white level, which only models need: take the smallest converter that fits the means.
    white = float(2 ** math.ceil(math.log2(rows[:, 2].max() + 1)) - 1)
    provenance = {
        "tool": f"noiseflow calibrate {__version__}",
        "method": "photon-transfer table, σ² over mean",
        "sources": [str(table.path) for table in tables],
    }
    guess = f"the white level of {white:g} DN is a guess from the largest mean in the table"
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
    return Setting(iso, "Y", estimates, cautions=_cautions(dark)), shown


def _shortest(dark: Array) -> Array:
    """Return the darks of the shortest exposure; longer ones add the shot noise of the dark current."""
    return dark[dark[:, 1] == dark[:, 1].min()] if len(dark) else dark


def _dark(rows: Array) -> dict[str, Measurement]:
    """Return black level and read noise; from a single row, their errors are assumed or unknown."""
    square, level = float((rows[:, 3] ** 2).mean()), float(rows[:, 2].mean())
    if len(rows) > 1:
        n = len(rows)
        error = float((rows[:, 3] ** 2).std(ddof=1)) / math.sqrt(n)
        black = from_error(level, float(rows[:, 2].std(ddof=1)) / math.sqrt(n), "DN", n - 1)
        return {"read_noise_dn": root(square, error, "DN", n - 1), "black_dn": black}
    return {"read_noise_dn": root(square, ASSUMED * square, "DN"), "black_dn": without_error(level, "DN")}


def _cautions(dark: Array) -> tuple[str, ...]:
    """Return what the table leaves unknown, as sentences for the user."""
    cautions = ["the table states no frame counts: the error bars come from the residuals"]
    if not len(dark):
        cautions.append("the table has no darks: black level and read noise are unknown")
    elif len(dark) == 1:
        cautions.append(
            "the table has only one dark: the error bar of the read noise is assumed (2.5 %), that of the black level "
            "is unknown"
        )
    return tuple(cautions)


def read_tables(paths: Iterable[Path]) -> list[Table]:
    """Read photon-transfer tables.

    Each line has four numbers separated by semicolons or commas: ISO, exposure time (s), mean (DN) and
    temporal standard deviation (DN).  There is no header; empty lines are skipped.

    Parameters
    ----------
    paths : iterable of Path
        The files.

    Returns
    -------
    list of Table
        One per file.

    Raises
    ------
    DataError
        A file that is empty or not text, or a line that is not four positive numbers.
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
            raise DataError(f"{path}: is empty; expected lines of ISO; exposure s; mean DN; sigma DN")
        tables.append(Table(path, np.array(rows)))
    return tables


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not text; expected a table of ISO; exposure s; mean DN; sigma DN") from error
