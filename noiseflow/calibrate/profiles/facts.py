"""The plain numbers of a profile, which have no error bar: what they are called, and their units."""

from typing import Any

from noiseflow.calibrate.profiles.profile import QUANTITIES, Quantity

__all__ = ["FACTS", "meaning_of", "said"]

FACTS: dict[str, Quantity] = {
    "black_drift_sigma_dn": Quantity("DN", "standard deviation of the dark frames' levels"),
    "black_drift_range_dn": Quantity("DN", "range of the dark frames' levels"),
    "tukey_correlation": Quantity("", "straightness of the read noise against Tukey-lambda quantiles (PPCC)"),
    "gaussian_correlation": Quantity("", "the same against Gaussian quantiles"),
    "excess_kurtosis": Quantity("", "excess kurtosis of the read noise without rows"),
    "beyond_4_sigma": Quantity("", "part of the read noise beyond 4 σ (Gaussian: 0.000063)"),
    "row_lines_cycles_per_pixel": Quantity("cycles/pixel", "lines in the spectrum of row offsets"),
    "column_lines_cycles_per_pixel": Quantity("cycles/pixel", "lines in the spectrum of column offsets"),
    "dark_shading_range_dn": Quantity("DN", "range of the dark shading (block means)"),
    "hot_pixels": Quantity("", "hot pixels"),
    "hot_pixels_per_million": Quantity("ppm", "hot pixels, of all"),
    "hot_above_dn": Quantity("DN", "a pixel is hot from so far above its neighbours"),
    "levels_used": Quantity("", "levels of light in the photon-transfer fit"),
    "range_used_dn": Quantity("DN", "their signal, lowest and highest"),
    "photon_transfer_chi2_per_dof": Quantity("", "χ² per degree of freedom of the photon-transfer fit"),
    "variance_scatter_percent": Quantity("%", "scatter of single levels about the bent curve"),
    "saturation_step_e": Quantity("e-", "step of the series above saturation"),
    "linearity_error_percent": Quantity("%", "linearity error, the largest between 5 and 95 % of saturation"),
    "linearity_error_range_percent": Quantity("%", "linearity error LE_min … LE_max"),
    "general_threshold_e": Quantity("e-", "sensitivity threshold, general model (response that bends)"),
    "general_dynamic_range_db": Quantity("dB", "dynamic range, general model"),
    "general_snr_max_db": Quantity("dB", "largest SNR of the input at a level, general model"),
    "digital_gain": Quantity("", "gain after the converter, by codes that never occur"),
    "flat_blocks": Quantity("", "flat blocks of 8×8 pixels that the picture was measured in"),
    "response_spread_percent": Quantity("%", "unequal response or texture besides the line, of the signal"),
    "darktable_a": Quantity("", "darktable's a: variance per signal, normalised"),
    "darktable_b": Quantity("", "darktable's b: variance at no signal, normalised"),
}
"""Names of the facts in a profile."""


def meaning_of(name: str) -> str:
    """Meaning of an estimate or a fact; one that is not known keeps its name."""
    known = QUANTITIES.get(name) or FACTS.get(name)
    return known.meaning if known is not None else name.replace("_", " ")


def said(name: str, value: Any) -> tuple[str, str, str]:
    """Meaning, value to four digits and unit of a fact; one that is not known keeps its name.

    >>> said("hot_above_dn", 3.321020832824707)
    ('a pixel is hot from so far above its neighbours', '3.321', 'DN')
    >>> said("range_used_dn", [16.25, 2719.4])
    ('their signal, lowest and highest', '16.25 … 2719', 'DN')
    >>> said("row_lines_cycles_per_pixel", [])
    ('lines in the spectrum of row offsets', 'none', '')
    """
    fact = FACTS.get(name, Quantity("", name.replace("_", " ")))
    between = " … " if "range" in name else ", "
    text = _short(value, between)
    return fact.meaning, text, "" if text == "none" else fact.unit


def _short(value: Any, between: str) -> str:
    if isinstance(value, list):
        return between.join(_short(item, between) for item in value) or "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
