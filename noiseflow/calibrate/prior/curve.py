"""A camera's noise over ISO as a curve with eight parameters, and observations of such a curve."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["DUAL_ISOS", "OBSERVED", "PARAMETERS", "CameraCurve", "curve_at"]

Array = NDArray[np.float64]

PARAMETERS = ("log_full_e", "iso_power", "log_input_e", "log_output_e", "log_row_part", "tail", "row_power", "log_drop")
"""Parameters of a camera, in order: ln of the electrons at the white level, e⁻ at ISO 100; the power of ISO by which
they fall; ln of the noise before the amplifier, e⁻; ln of the noise after it, e⁻ at ISO 100; ln of row noise over read
noise at ISO 800; Tukey-lambda shape; power of ISO of row noise over read noise; ln of the factor by which the
noise before the amplifier falls where the conversion gain is switched."""

OBSERVED = ("log_full_e", "log_read_e", "log_row_part", "tail")
"""Quantities at one ISO, in order: ln of the electrons at the white level, e⁻; ln of the read noise, e⁻ (row noise
included, rounding excluded); ln of row noise over read noise; Tukey-lambda shape."""

DUAL_ISOS = (None, 250.0, 400.0, 500.0, 640.0, 800.0, 1250.0, 1600.0, 2000.0, 3200.0)
"""Possible ISOs from which on the conversion gain is high; None for a camera with one conversion gain."""


@dataclass(frozen=True, eq=False)
class CameraCurve:
    """Observations of one camera at some ISOs.

    Parameters
    ----------
    name : str
        Name of the camera.
    isos : ndarray, shape (N,)
        ISOs of the observations.
    values, errors : ndarray, shape (N, 4)
        `OBSERVED` at each ISO and their standard errors; NaN where not observed.
    source : str
        Source of the numbers.
    """

    name: str
    isos: Array
    values: Array
    errors: Array
    source: str = ""

    def at(self, kept: Sequence[int]) -> "CameraCurve":
        """Return the observations at some of the ISOs, given by their indices."""
        rows = list(kept)
        return CameraCurve(self.name, self.isos[rows], self.values[rows], self.errors[rows], self.source)


def curve_at(parameters: Array, isos: Array, dual_iso: float | None) -> Array:
    """Compute `OBSERVED` of cameras at some ISOs.

    The read noise is σ_e² = before² + (after·100/ISO)² in e⁻, from the noise before and after the amplifier.  Below
    `dual_iso` the noise before the amplifier is larger by the factor exp(drop).

    Parameters
    ----------
    parameters : ndarray, shape (..., 8)
        Parameters of each camera; see `PARAMETERS`.
    isos : ndarray, shape (N,)
        ISOs.
    dual_iso : float or None
        ISO from which on the conversion gain is high; see `DUAL_ISOS`.

    Returns
    -------
    ndarray, shape (..., N, 4)
        `OBSERVED` at each ISO.
    """
    full, power, before, after, row, tail, row_power, drop = np.moveaxis(parameters[..., None, :], -1, 0)
    stops = np.log(isos / 100)
    low = np.zeros_like(stops) if dual_iso is None else (isos < dual_iso).astype(float)
    read = 0.5 * np.logaddexp(2 * (before + low * drop), 2 * (after - stops))
    columns = (full - power * stops, read, row + row_power * (stops - np.log(8)), tail + 0 * stops)
    return np.stack(np.broadcast_arrays(*columns), -1)
