"""Spatial nonuniformity: dark signal (DSNU) and photo response (PRNU)."""

import math
from dataclasses import dataclass

import numpy as np

from noiseflow.calibrate.estimate import Estimate, root, scaled
from noiseflow.calibrate.stack import Components, Stack, components, effective_fraction
from noiseflow.errors import DataError

__all__ = ["Nonuniformity", "nonuniformity", "photo_response"]


@dataclass(frozen=True)
class Nonuniformity:
    """Spatial standard deviations in DN of a stack's mean, its temporal noise taken off.

    Parameters
    ----------
    total, pixel, row, column : Estimate
        All of it, and its parts by analysis of variance.
    """

    total: Estimate
    pixel: Estimate
    row: Estimate
    column: Estimate

    def named(self, prefix: str) -> dict[str, Estimate]:
        """The four by their names in a profile: `prefix`_dn, `prefix`_row_dn and so on."""
        return {
            f"{prefix}_dn": self.total,
            f"{prefix}_row_dn": self.row,
            f"{prefix}_column_dn": self.column,
            f"{prefix}_pixel_dn": self.pixel,
        }


def nonuniformity(stack: Stack, temporal: Components | None = None) -> Nonuniformity:
    """Spatial variance of the mean of n frames less σ_temporal²/n, split into row, column and pixel.

    Parameters
    ----------
    stack : Stack
        Frames of one exposure; 16 or more are usual.
    temporal : Components, optional
        The temporal variances, if known already.

    References
    ----------
    EMVA Standard 1288, release 3.1, 8.1–8.3; release 4.0, 8.3, for the split.
    """
    variances = _variances(stack, temporal or components(stack))
    return Nonuniformity(*(root(value, error, "DN") for value, error in variances))


def photo_response(bright: Stack, dark: Stack) -> Nonuniformity:
    """Photo response nonuniformity s_bright² − s_dark², as DN at the bright level; `percent` scales it."""
    if bright.level <= dark.level:
        raise DataError(
            f"PRNU: the bright stack ({bright.level:.4g} DN) is no brighter than the dark ({dark.level:.4g})"
        )
    pairs = zip(_variances(bright, components(bright)), _variances(dark, components(dark)), strict=True)
    return Nonuniformity(*(root(b - d, math.hypot(eb, ed), "DN") for (b, eb), (d, ed) in pairs))


def percent(estimate: Estimate, signal: float) -> Estimate:
    """A standard deviation in percent of the signal, both in DN."""
    return scaled(estimate, 100 / signal, "%")


def _variances(stack: Stack, temporal: Components) -> list[tuple[float, float]]:
    """Variance and its standard error: total, pixel, row, column; DN²."""
    n, (height, width) = stack.frames, stack.mean.shape
    mean = stack.mean.astype(np.float64)
    mean -= mean.mean()
    rows, columns = mean.mean(1), mean.mean(0)
    square = float(np.vdot(mean, mean))
    mean_rows = float(rows @ rows) / (height - 1)
    mean_columns = float(columns @ columns) / (width - 1)
    both = (height - 1) * (width - 1)
    mean_pixels = (square - width * float(rows @ rows) - height * float(columns @ columns)) / both
    pixel = mean_pixels - temporal.pixel / n
    row = mean_rows - mean_pixels / width - temporal.row / n
    column = mean_columns - mean_pixels / height - temporal.column / n
    mean -= rows[:, None] + columns
    fourth = float((mean**4).mean()) / max(float((mean**2).mean()) ** 2, 1e-300) if square > 0 else 3.0
    error_pixel = mean_pixels * math.sqrt(max(fourth - 1, 1.0) / both)
    error_row = mean_rows * math.sqrt(2 / ((height - 1) * effective_fraction(rows[None])))
    error_column = mean_columns * math.sqrt(2 / ((width - 1) * effective_fraction(columns[None])))
    total_error = math.sqrt(error_pixel**2 + error_row**2 + error_column**2)
    return [(pixel + row + column, total_error), (pixel, error_pixel), (row, error_row), (column, error_column)]
