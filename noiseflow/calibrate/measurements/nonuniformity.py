"""Spatial nonuniformity: dark-signal nonuniformity (DSNU) and photo-response nonuniformity (PRNU)."""

from dataclasses import dataclass

import numpy as np

from noiseflow.calibrate.estimators.variance import Part, negative, root_of
from noiseflow.calibrate.measurement import Measurement, scaled
from noiseflow.calibrate.stack import Components, FrameStack, components, effective_fraction
from noiseflow.core.errors import DataError

__all__ = ["Nonuniformity", "nonuniformity", "photo_response"]


@dataclass(frozen=True)
class Nonuniformity:
    """Spatial standard deviations of a stack's mean, corrected for temporal noise.

    Parameters
    ----------
    total, pixel, row, column : Measurement
        Total, and its parts by analysis of variance, DN.
    """

    total: Measurement
    pixel: Measurement
    row: Measurement
    column: Measurement

    def named(self, prefix: str) -> dict[str, Measurement]:
        """Return the four measurements by their names in a profile: `prefix`_dn, `prefix`_row_dn and so on."""
        return {
            f"{prefix}_dn": self.total,
            f"{prefix}_row_dn": self.row,
            f"{prefix}_column_dn": self.column,
            f"{prefix}_pixel_dn": self.pixel,
        }


def nonuniformity(stack: FrameStack, temporal: Components | None = None) -> Nonuniformity:
    """Measure the spatial variance of the mean of n frames minus σ_temporal²/n, split into row, column and pixel.

    Parameters
    ----------
    stack : FrameStack
        Frames of one exposure; usually 16 or more.
    temporal : Components, optional
        Temporal variances of the stack; computed if not given.

    Returns
    -------
    Nonuniformity
        Standard deviations, DN.

    Raises
    ------
    DataError
        Fewer than two frames.

    References
    ----------
    EMVA Standard 1288, release 3.1, 8.1–8.3; release 4.0, 8.3, for the split.
    """
    return Nonuniformity(*(root_of(parts, "DN") for parts in _variances(stack, temporal or components(stack))))


def photo_response(bright: FrameStack, dark: FrameStack) -> Nonuniformity:
    """Measure the photo-response nonuniformity √(s_bright² − s_dark²); `percent` relates it to the signal.

    Parameters
    ----------
    bright, dark : FrameStack
        Flats of one exposure, and darks.

    Returns
    -------
    Nonuniformity
        Standard deviations at the bright level, DN.

    Raises
    ------
    DataError
        A bright stack that is no brighter than the dark one, or a stack of fewer than two frames.
    """
    if bright.level <= dark.level:
        raise DataError(
            f"PRNU: expected flats brighter than the darks; got {bright.level:.4g} DN, and {dark.level:.4g} DN in the "
            "darks"
        )
    pairs = zip(_variances(bright, components(bright)), _variances(dark, components(dark)), strict=True)
    return Nonuniformity(*(root_of([*b, *negative(d)], "DN") for b, d in pairs))


def percent(estimate: Measurement, signal: float) -> Measurement:
    """Convert a standard deviation in DN to percent of a signal in DN."""
    return scaled(estimate, 100 / signal, "%")


def _variances(stack: FrameStack, temporal: Components) -> list[list[Part]]:
    """Return the mean squares that make up the spatial variances, DN²: total, pixel, row, column."""
    n, (height, width) = stack.frames, stack.mean.shape
    mean = stack.mean.astype(np.float64)
    mean -= mean.mean()
    rows, columns = mean.mean(1), mean.mean(0)
    square = float(np.vdot(mean, mean))
    both = (height - 1) * (width - 1)
    mean_pixels = (square - width * float(rows @ rows) - height * float(columns @ columns)) / both
    mean -= rows[:, None] + columns
    second = float(np.vdot(mean, mean)) / mean.size
    fourth = float((mean**4).mean()) / second**2 if second > 0 else 3.0
    pixels = (mean_pixels, 2 * both / max(fourth - 1, 1.0))
    row, column = (
        (float(lines @ lines) / (len(lines) - 1), (len(lines) - 1) * effective_fraction(lines[None]))
        for lines in (rows, columns)
    )

    def part(factor: float) -> Part:
        return mean_pixels * factor, pixels[1]

    def less(*parts: Part) -> list[Part]:
        return [(-value / n, free) for value, free in parts]

    # Use each mean square once, so that the parts are independent.
    of_noise = (*temporal.row_parts[:1], *temporal.column_parts[:1])
    of_pixels = (temporal.pixel * (1 - 1 / width - 1 / height), temporal.pixel_parts[0][1])
    return [
        [part(1 - 1 / width - 1 / height), row, column, *less(of_pixels, *of_noise)],
        [pixels, *less(*temporal.pixel_parts)],
        [row, part(-1 / width), *less(*temporal.row_parts)],
        [column, part(-1 / height), *less(*temporal.column_parts)],
    ]
