"""Flat frames: gain by photon transfer, linearity, saturation, photo-response nonuniformity."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.calibrate.estimators.likelihood import likelihood_gain, line_gain
from noiseflow.calibrate.measured import Dark, Measured, Take
from noiseflow.calibrate.measurement import Measurement, quotient
from noiseflow.calibrate.measurements.conversion import digital_gain
from noiseflow.calibrate.measurements.curve import Curve, linear_range
from noiseflow.calibrate.measurements.linearity import linearity
from noiseflow.calibrate.measurements.nonuniformity import percent, photo_response
from noiseflow.calibrate.measurements.photon_transfer import PhotonTransfer, emva_gain, in_electrons
from noiseflow.calibrate.measurements.signal_to_noise import decibels, dynamic_range, general_model, threshold
from noiseflow.calibrate.sources import Group
from noiseflow.calibrate.stack import Components, FrameStack, components, mean_error
from noiseflow.core.errors import DataError
from noiseflow.core.text import counted

__all__ = ["measure", "present"]

FLICKER = 0.01
"""Relative difference between the means of frames of one exposure from which they are called flickering."""

MIXED = 0.3
"""Relative difference between the means of frames of one exposure from which they are of several settings, as no lamp
flickers that much."""

DIGITAL = 1.05
"""Ratio of possible to occurring codes above which part of the gain is called digital."""

UNEVEN = 0.3
"""Ratio of spatial standard deviation to signal above which a flat is called uneven."""


def present(take: Take) -> bool:
    """Whether there are illuminated frames, with darks or of several exposures."""
    return bool(take.lights) and (bool(take.darks_taken) or len({group.exposure for group in take.lights}) > 1)


def measure(take: Take, found: Measured) -> None:
    """Measure photon transfer, linearity and saturation, and the figures derived from them."""
    if not take.darks:
        found.cautions.append(
            "there is no pair of darks: the black level is the one declared by the files, and the read noise comes "
            "from the fit to the flats"
        )
    curve = _curve(take, found)
    chosen, saturation = _range(curve, take, found)
    fit = _gain(curve.select(chosen), take, found)
    full = _linearity(curve, chosen, saturation, fit, take, found)
    found.evidence.curve, found.evidence.chosen, found.evidence.fit = curve, chosen, fit
    _photo_response(take, found)
    _digital(take, curve, found)
    gain = fit.gain
    if found.series is not None:
        found.estimates["read_noise_e"] = in_electrons(found.series.noise, gain)
        _performance(curve, saturation, full, take, found)
    if "dark_current_dn_per_s" in found.estimates:
        found.estimates["dark_current_e_per_s"] = quotient(found.estimates["dark_current_dn_per_s"], gain, "e-/s")


def _curve(take: Take, found: Measured) -> Curve:
    """Return the photon-transfer points, each with the darks of the nearest exposure time."""
    series = take.light_series
    pairs = [group for group in series if group.stacks[take.index].frames > 1]
    if not pairs:
        raise DataError(
            f"{take.where}: there is only one flat at each exposure; expected at least two flats of the same ISO and "
            "exposure time"
        )
    _lights(series, found)
    left_out = len(series) - len(pairs)
    if left_out:
        found.cautions.append(f"{counted(left_out, 'exposure')} with only one frame left out: expected pairs")
    used: set[int] = set()
    rows, flicker = [], []
    for group in pairs:
        stack = group.stacks[take.index]
        part = components(stack)
        _steadiness(group, stack, part, take, found)
        dark = _nearest(take.dark_series, group)
        if dark is None:
            level, noise, error = take.black, math.nan, math.nan
        else:
            used.add(id(dark))
            level, noise, error = dark.level, dark.noise.total, dark.noise.total_error
        flicker.append(_flickering_rows(part, stack, dark))
        doubt = math.hypot(mean_error(stack, part), 0.0 if dark is None else dark.level_error)
        signal = stack.level - level
        rows.append(
            (
                group.exposure,
                signal,
                part.total,
                part.total_error,
                noise,
                error,
                max(stack.clipped, stack.at_black),
                doubt,
            )
        )
    # An exposure may be listed twice, as a pair and as a stack for the PRNU: both are points.
    table = np.array(rows)
    table[:, 2] -= _flicker(pairs, table, np.array(flicker), found)
    exposure, signals, total, total_error, noises, errors, clipped, doubts = table[np.lexsort(table.T[::-1])].T
    return Curve(exposure, signals, total, total_error, noises, errors, clipped, len(used) == 1, doubts)


def _nearest(darks: list[Dark], group: Group) -> Dark | None:
    return min(darks, key=lambda dark: abs(dark.exposure_s - group.exposure_s), default=None)


def _steadiness(group: Group, stack: FrameStack, part: Components, take: Take, found: Measured) -> None:
    """Add cautions if the flats of an exposure flicker, are of several settings, or are uneven."""
    signal = stack.level - take.black
    change = float(np.ptp(stack.frame_means)) / max(signal, 1.0)
    where = f"the frames of exposure {group.exposure_s:g} s differ by {100 * change:.1f} %"
    if signal > 10 and change > MIXED:
        found.cautions.append(
            f"{where}: they are not of one setting (mixed ISOs, apertures or lamps); K is that of the mixture"
        )
    elif signal > 10 and change > FLICKER:
        found.cautions.append(f"{where}: flickering light")
    spatial = _unevenness(stack, part) / max(signal, 1.0)
    if signal > 10 and stack.clipped < 1e-3 and spatial > UNEVEN:
        found.cautions.append(
            f"the flats of exposure {group.exposure_s:g} s vary by {100 * spatial:.0f} % over the frame: they are not "
            "of an even surface; do not trust the PRNU"
        )


def _unevenness(stack: FrameStack, part: Components) -> float:
    """Return a lower bound of the spatial standard deviation of the mean frame, DN.

    Temporal noise σ²/n and 4 standard errors are subtracted from the variance of the mean frame.  About thirty of a
    million even flats are then called uneven, at any signal.  A flat that varies by a third more than `UNEVEN` is
    found if the noise of its mean is below its variation.
    """
    temporal = part.total / stack.frames
    square = float(stack.mean.var(dtype=np.float64)) - temporal
    lines = sum(
        max(value, 0.0) / stack.frames * math.sqrt(2 / n)
        for value, n in zip((part.row, part.column), stack.mean.shape, strict=True)
    )
    error = math.hypot(temporal * math.sqrt(2 / stack.mean.size), lines)
    return math.sqrt(max(square - 4 * error, 0.0))


def _flickering_rows(part: Components, stack: FrameStack, dark: Dark | None) -> float:
    """Return the row variance in excess of the dark's, DN², as from a flickering lamp under a rolling shutter.

    It is 0 where it is not significant (5 standard errors) or where pixels clip.
    """
    before = 0.0 if dark is None else max(dark.noise.row, 0.0)
    excess = part.row - before
    height, width = stack.mean.shape
    # The error that rows would have under a steady lamp: their measured error is widened by the very bands sought.
    counting = (before + part.pixel / width) * math.sqrt(2 / (height * (stack.frames - 1)))
    chance = math.hypot(counting, 0.0 if dark is None else dark.noise.row_error)
    return 0.0 if stack.clipped >= 1e-3 or excess < 5 * chance else excess


def _flicker(pairs: list[Group], table: NDArray[np.float64], rows: NDArray[np.float64], found: Measured) -> Any:
    """Return the variances to subtract for a lamp that flickers during the exposure, DN²: at all levels or at none.

    Nothing is subtracted if the median share of the flicker is below 1 % of the variance; EMVA 1288 never subtracts it.
    """
    share = rows / np.maximum(table[:, 2], 1e-12)
    lit = table[:, 6] < 1e-3
    if not lit.any() or float(np.median(share[lit])) < 0.01:
        return np.zeros_like(rows)
    worst = int(np.argmax(share))
    found.cautions.append(
        f"the rows of the flats vary from frame to frame more than in the dark, by {math.sqrt(rows[worst]):.1f} DN at "
        f"exposure {pairs[worst].exposure_s:g} s: the light flickers during the exposure; removed row by row"
    )
    return rows


def _lights(series: list[Group], found: Measured) -> None:
    """Add a caution for each exposure time whose frames have several levels of light."""
    for seconds in sorted({group.exposure_s for group in series if group.light}):
        number = sum(group.exposure_s == seconds for group in series)
        found.cautions.append(
            f"the frames of exposure {seconds:g} s have {number} levels: they are not of one setting (mixed ISOs, "
            "apertures or lamps); each level is used as its own point"
        )


def _range(curve: Curve, take: Take, found: Measured) -> tuple[NDArray[np.bool_], int | None]:
    if (curve.clipped >= 1e-3).all():
        raise DataError(f"{take.where}: all flats are saturated; take shorter exposures")
    chosen, saturation = linear_range(curve)
    if not chosen.any():
        raise DataError(f"{take.where}: no flat is within the linear range; take shorter exposures")
    if saturation is None:
        found.cautions.append(
            "the series does not reach saturation: all unclipped levels were used, and saturation is unknown"
        )
    levels = int(chosen.sum())
    if levels == 1 and not take.darks:
        raise DataError(
            f"{take.where}: only one exposure and no darks: gain and read noise cannot be separated; add darks, or "
            "flats of other exposure times"
        )
    if levels < 5:
        found.cautions.append(
            f"only {counted(levels, 'level')} of light within the linear range: linearity cannot be assessed"
        )
    found.facts["levels_used"] = levels
    found.facts["range_used_dn"] = [float(curve.signal[chosen].min()), float(curve.signal[chosen].max())]
    return chosen, saturation


def _gain(used: Curve, take: Take, found: Measured) -> PhotonTransfer:
    likelihood = likelihood_gain(used) if take.darks else line_gain(used)
    fit = emva_gain(used) if take.darks else likelihood
    found.estimates["gain_dn_per_e"] = fit.gain
    found.estimates["gain_likelihood_dn_per_e"] = likelihood.gain
    found.estimates["read_noise_likelihood_dn"] = likelihood.read_noise
    found.covariance = tuple(tuple(float(x) for x in row) for row in likelihood.covariance)
    found.evidence.likelihood = likelihood
    if math.isfinite(fit.misfit):
        found.facts["photon_transfer_chi2_per_dof"] = fit.misfit
        if fit.misfit > 3:
            found.cautions.append(
                f"χ² per degree of freedom of the photon-transfer fit is {fit.misfit:.0f}: more scatter or curvature "
                "than counting explains (flicker, nonlinearity, mixed settings); the error bars come from the residuals"
            )
    start = likelihood.gain_at_zero
    if start is not None:
        found.estimates["gain_at_zero_dn_per_e"] = start
    if start is not None and likelihood.bend:
        found.facts["variance_scatter_percent"] = 100 * likelihood.scatter
        found.cautions.append(
            f"no straight line fits the photon-transfer curve: K is {start.value:.4g} DN/e- at zero signal and "
            f"{likelihood.gain.value:.4g} on average over the range used, and single levels scatter by "
            f"{100 * likelihood.scatter:.2g} %; the maximum-likelihood K is that average, and its error bar covers both"
        )
    return fit


def _linearity(
    curve: Curve, chosen: NDArray[np.bool_], saturation: int | None, fit: PhotonTransfer, take: Take, found: Measured
) -> Measurement | None:
    """Measure linearity and saturation; return the saturation capacity times K, DN."""
    line = linearity(curve, chosen, saturation, fit, light_known=take.light_known)
    if line.saturation is not None and line.saturation_dn is not None:
        found.estimates |= {"saturation_e": line.saturation, "saturation_dn": line.saturation_dn}
        if line.step_e is not None:
            found.facts["saturation_step_e"] = line.step_e
    else:
        found.absent |= dict.fromkeys(("saturation_e", "saturation_dn"), "the series does not reach saturation")
    if line.error_percent is None:
        found.absent["linearity_error_percent"] = line.reason
    else:
        found.facts["linearity_error_percent"] = line.error_percent
        found.facts["linearity_error_range_percent"] = list(line.range_percent)
        if line.error_percent > 5:
            found.cautions.append(
                f"the signal departs from a line by {line.error_percent:.1f} %: a nonlinear response, or the light "
                "changed"
            )
    found.evidence.deviations = line.deviations
    return line.full_dn


def _performance(curve: Curve, saturation: int | None, full: Measurement | None, take: Take, found: Measured) -> None:
    """Derive sensitivity threshold, dynamic range and largest SNR, by EMVA 1288's linear and general models."""
    noise, gain = found.estimates["read_noise_dn"], found.estimates["gain_dn_per_e"]
    found.estimates["sensitivity_threshold_e"] = threshold(noise, gain)
    capacity = found.estimates.get("saturation_e")
    if capacity is None or full is None:
        found.absent |= dict.fromkeys(("dynamic_range_db", "snr_max_db"), "the series does not reach saturation")
    else:
        found.estimates |= {
            "dynamic_range_db": dynamic_range(full, noise, gain),
            "snr_max_db": decibels(capacity, 10.0),
        }
    likelihood = found.evidence.likelihood
    bent = likelihood is not None and likelihood.bend and likelihood.gain_at_zero
    start = bent.value if bent else gain.value
    general = general_model(curve, saturation, start, noise.value, light_known=take.light_known)
    if isinstance(general, str):
        found.absent["general_snr_max_db"] = general
        return
    found.evidence.general = general
    found.facts |= {"general_threshold_e": general.threshold_e, "general_snr_max_db": general.best_db}
    if general.range_db is None:
        found.absent["general_dynamic_range_db"] = "the series does not reach saturation"
    else:
        found.facts["general_dynamic_range_db"] = general.range_db


def _photo_response(take: Take, found: Measured) -> None:
    """Measure the PRNU from the longest stack of unclipped flats and the longest stack of darks."""
    bright = [s for group in take.lights if (s := group.stacks[take.index]).clipped < 1e-3 and s.frames > 2]
    dark = [dark.stack for dark in take.darks if dark.stack.frames > 2]
    if not bright or not dark:
        return
    b, d = (max(stacks, key=lambda stack: stack.frames) for stacks in (bright, dark))
    response = photo_response(b, d)
    found.estimates |= response.named("prnu")
    found.estimates["prnu_percent"] = percent(response.total, b.level - d.level)


def _digital(take: Take, curve: Curve, found: Measured) -> None:
    """Detect digital gain after the converter from codes that never occur in the darker flats."""
    stacks = [group.stacks[take.index] for group in take.lights]
    able = [s for s in stacks if s.frames > 1 and s.clipped == 0 and s.level - take.black < 0.5 * curve.signal.max()]
    factors = [factor for s in able if (factor := digital_gain(s.sample)) is not None]
    if not factors:
        return
    factor = float(np.median(factors))
    found.facts["digital_gain"] = factor
    if factor > DIGITAL:
        found.cautions.append(
            f"only one code in {factor:.2f} occurs: the codes were multiplied by about {factor:.2f} after the "
            "converter (digital gain), or the file is companded; a lower ISO records the same information"
        )
