"""Names, units and meanings of a profile's facts, the numbers without an error bar."""

from typing import Any

from noiseflow.calibrate.profiles.profile import QUANTITIES, Quantity

__all__ = ["FACTS", "fact_cells", "meaning_of"]

FACTS: dict[str, Quantity] = {
    "black_drift_sigma_dn": Quantity("DN", "standard deviation of the dark frames' levels"),
    "black_drift_range_dn": Quantity("DN", "range of the dark frames' levels"),
    "tukey_correlation": Quantity("", "probability-plot correlation of the read noise, Tukey-lambda (PPCC)"),
    "gaussian_correlation": Quantity("", "probability-plot correlation of the read noise, Gaussian (PPCC)"),
    "excess_kurtosis": Quantity("", "excess kurtosis of the read noise without row and column noise"),
    "beyond_4_sigma": Quantity("", "fraction of the read noise beyond ±4 σ (Gaussian: 0.000063)"),
    "row_lines_cycles_per_pixel": Quantity("cycles/pixel", "lines in the spectrum of row offsets"),
    "column_lines_cycles_per_pixel": Quantity("cycles/pixel", "lines in the spectrum of column offsets"),
    "dark_shading_range_dn": Quantity("DN", "range of the dark shading (block means)"),
    "hot_pixels": Quantity("", "number of hot pixels"),
    "hot_pixels_per_million": Quantity("ppm", "hot pixels as a fraction of all pixels"),
    "hot_above_dn": Quantity("DN", "threshold for hot pixels, above their neighbours"),
    "levels_used": Quantity("", "levels of light in the photon-transfer fit"),
    "range_used_dn": Quantity("DN", "range of signal in the photon-transfer fit"),
    "photon_transfer_chi2_per_dof": Quantity("", "χ² per degree of freedom of the photon-transfer fit"),
    "variance_scatter_percent": Quantity("%", "scatter of single levels about the bent curve"),
    "saturation_step_e": Quantity("e-", "distance from saturation to the next exposure of the series"),
    "linearity_error_percent": Quantity("%", "largest linearity error between 5 and 95 % of saturation"),
    "linearity_error_range_percent": Quantity("%", "linearity error LE_min … LE_max"),
    "general_threshold_e": Quantity("e-", "sensitivity threshold, general model (nonlinear response)"),
    "general_dynamic_range_db": Quantity("dB", "dynamic range, general model"),
    "general_snr_max_db": Quantity("dB", "largest SNR referred to the input, general model"),
    "digital_gain": Quantity("", "gain after the converter, from codes that never occur"),
    "flat_blocks": Quantity("", "flat blocks of 8×8 pixels used in the picture"),
    "response_spread_percent": Quantity("%", "unequal response or texture fitted beside the line, of the signal"),
    "darktable_a": Quantity("", "darktable's a: slope of variance over signal, normalised"),
    "darktable_b": Quantity("", "darktable's b: variance at zero signal, normalised"),
}
"""Unit and meaning of each fact in a profile, by name."""


def meaning_of(name: str) -> str:
    """Return the meaning of an estimate or a fact; for an unknown name, the name with spaces."""
    known = QUANTITIES.get(name) or FACTS.get(name)
    return known.meaning if known is not None else name.replace("_", " ")


def fact_cells(name: str, value: Any) -> tuple[str, str, str]:
    """Return meaning, value and unit of a fact as the cells of a table.

    Parameters
    ----------
    name : str
        Name of the fact; an unknown one is shown with spaces and no unit.
    value : Any
        A number or a list of numbers, shown to four digits.

    Returns
    -------
    tuple of str
        Meaning, value, unit.

    Examples
    --------
    >>> fact_cells("hot_above_dn", 3.321020832824707)
    ('threshold for hot pixels, above their neighbours', '3.321', 'DN')
    >>> fact_cells("range_used_dn", [16.25, 2719.4])
    ('range of signal in the photon-transfer fit', '16.25 … 2719', 'DN')
    >>> fact_cells("row_lines_cycles_per_pixel", [])
    ('lines in the spectrum of row offsets', 'none', '')
    """
    fact = FACTS.get(name, Quantity("", name.replace("_", " ")))
    between = " … " if "range" in name else ", "
    text = _short(value, between)
    return fact.meaning, text, "" if text == "none" else fact.unit


def _short(value: Any, between: str) -> str:
    """Return a number to four digits, or several with a separator between them."""
    if isinstance(value, list):
        return between.join(_short(item, between) for item in value) or "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
