"""A camera's noise against ISO as a curve of eight numbers, and what is known of a camera's curve."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["DUAL_ISOS", "OBSERVED", "PARAMETERS", "CameraCurve", "curve_at"]

Array = NDArray[np.float64]

PARAMETERS = ("log_full_e", "iso_power", "log_input_e", "log_output_e", "log_row_part", "tail", "row_power", "log_drop")
"""Of a camera: ln of the electrons that fill the range at ISO 100; power of ISO that they fall with; ln of the
noise before the amplifier, e⁻; ln of that after it, e⁻ at ISO 100; ln of row noise as a fraction of the read noise at
ISO 800; Tukey-lambda shape; power of ISO of the row's part; ln of the factor by which the noise before the amplifier
falls where the conversion gain is switched."""

OBSERVED = ("log_full_e", "log_read_e", "log_row_part", "tail")
"""At one ISO: ln of the electrons that fill the range, ln of the read noise (rows included, rounding not) in e⁻, ln of
the row noise as a fraction of it, Tukey-lambda shape."""

DUAL_ISOS = (None, 250.0, 400.0, 500.0, 640.0, 800.0, 1250.0, 1600.0, 2000.0, 3200.0)
"""ISO from which the conversion gain is high; None for a camera of one gain."""


@dataclass(frozen=True, eq=False)
class CameraCurve:
    """What is known of one camera.

    Parameters
    ----------
    name : str
        Name of the camera.
    isos : ndarray, shape (N,)
        Where something is known.
    values, errors : ndarray, shape (N, 4)
        `OBSERVED` at each ISO and their standard errors; NaN where not known.
    source : str
        Where the numbers are from.
    """

    name: str
    isos: Array
    values: Array
    errors: Array
    source: str = ""

    def at(self, kept: Sequence[int]) -> "CameraCurve":
        """The curve at some of its ISOs."""
        rows = list(kept)
        return CameraCurve(self.name, self.isos[rows], self.values[rows], self.errors[rows], self.source)


def curve_at(parameters: Array, isos: Array, dual_iso: float | None) -> Array:
    """`OBSERVED` of cameras at ISOs.

    σ_e² = input² + (output·100/ISO)², in e⁻; below `dual_iso` the input's noise is larger by the factor exp(drop).

    Parameters
    ----------
    parameters : ndarray, shape (..., 8)
        See `PARAMETERS`.
    isos : ndarray, shape (N,)
        ISOs.
    dual_iso : float or None
        See `DUAL_ISOS`.

    Returns
    -------
    ndarray, shape (..., N, 4)
    """
    full, power, before, after, row, tail, row_power, drop = np.moveaxis(parameters[..., None, :], -1, 0)
    stops = np.log(isos / 100)
    low = np.zeros_like(stops) if dual_iso is None else (isos < dual_iso).astype(float)
    read = 0.5 * np.logaddexp(2 * (before + low * drop), 2 * (after - stops))
    columns = (full - power * stops, read, row + row_power * (stops - np.log(8)), tail + 0 * stops)
    return np.stack(np.broadcast_arrays(*columns), -1)
