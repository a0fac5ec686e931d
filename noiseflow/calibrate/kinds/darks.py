"""Dark frames: black level, dark current, fixed pattern, and read noise with its shape, rows and columns."""

import math

import numpy as np

from noiseflow.calibrate.estimators.tukey_lambda import read_noise_shape
from noiseflow.calibrate.estimators.variance import root_of
from noiseflow.calibrate.measured import Dark, Measured, Take
from noiseflow.calibrate.measurements.banding import MOST_LINES, banding_spectrum
from noiseflow.calibrate.measurements.dark_current import DarkSeries, dark_series
from noiseflow.calibrate.measurements.dark_frames import black_drift, dark_shading, hot_pixels
from noiseflow.calibrate.measurements.nonuniformity import nonuniformity
from noiseflow.calibrate.stack import FrameStack

__all__ = ["measure", "present"]

SHAPE_VALUES = 2_000_000
"""Pixel values used for the shape of the distribution; with more, the model's own misfit exceeds the error bars."""

SEED = 1288
"""Seed of the dither."""

OF_UNCLIPPED = ("row_noise_dn", "column_noise_dn", "tukey_shape", "tukey_scale_dn", "dsnu_dn")
"""Quantities that cannot be measured from darks clipped at 0."""


def present(take: Take) -> bool:
    """Whether there are two or more darks of one exposure."""
    return bool(take.darks)


def measure(take: Take, found: Measured) -> None:
    """Measure everything that dark frames allow."""
    found.series = series = _series(take.dark_series)
    found.estimates |= {"black_dn": series.black, "read_noise_dn": series.noise}
    if series.current is not None:
        found.estimates["dark_current_dn_per_s"] = series.current
    if series.no_current:
        found.absent["dark_current_dn_per_s"] = found.absent["dark_current_e_per_s"] = series.no_current
    if len({dark.timed for dark in take.darks}) > 1:
        found.cautions.append("dark frames without an exposure time were left out of the dark current")
    longest = max(take.darks, key=lambda dark: dark.stack.frames)
    if longest.censored is not None:
        share = 100 * longest.stack.at_black
        found.cautions.append(
            f"{share:.0f} % of the dark pixels are clipped at code 0: black level and read noise come from the "
            "likelihood of censored, rounded, normally distributed values; the read noise includes fixed pattern"
        )
        reason = f"{share:.0f} % of the dark pixels are clipped at code 0"
        found.absent |= dict.fromkeys(OF_UNCLIPPED, reason)
        return
    _temporal(longest, found)
    _shape(longest.stack, found)
    _spectra(longest, found)
    _pattern(longest, found)
    _leaks(take, longest, found)


def _series(darks: list[Dark]) -> DarkSeries:
    """Fit level and noise over the exposure time; the levels' errors include drift from frame to frame."""
    # Pool the drift of all exposures: a single pair determines it poorly.
    free = sum(dark.stack.frames - 1 for dark in darks)
    drift = float(sum(dark.stack.frame_means.var() * dark.stack.frames for dark in darks)) / free
    return dark_series(
        np.array([dark.exposure_s for dark in darks]),
        np.array([dark.level for dark in darks]),
        np.array([max(d.level_error, math.sqrt(max(drift, 1e-12) / d.stack.frames)) for d in darks]),
        np.array([dark.noise.total for dark in darks]),
        np.array([dark.noise.total_error for dark in darks]),
    )


def _temporal(dark: Dark, found: Measured) -> None:
    noise = dark.noise
    found.estimates["row_noise_dn"] = root_of(noise.row_parts, "DN")
    found.estimates["column_noise_dn"] = root_of(noise.column_parts, "DN")
    drift = black_drift(dark.stack.frame_means)
    found.facts |= {"black_drift_sigma_dn": drift.deviation_dn, "black_drift_range_dn": drift.range_dn}
    if drift.per_frame is not None:
        found.estimates["black_drift_dn_per_frame"] = drift.per_frame


def _shape(stack: FrameStack, found: Measured) -> None:
    height, width = stack.mean.shape
    drift = (stack.frame_means - stack.level)[:, None]
    rows, columns = (lines - lines.mean(0) - drift for lines in (stack.row_means, stack.column_means))
    kept = slice(0, max(1, SHAPE_VALUES // stack.frames))
    row, column = np.divmod(stack.sample_index[kept], width)
    offsets = rows[:, row] + columns[:, column]
    generator = np.random.default_rng(np.random.SeedSequence(SEED))
    shape = read_noise_shape(stack.sample[:, kept], stack.frame_means, offsets, generator, lines=1 / width + 1 / height)
    found.estimates |= {"tukey_shape": shape.shape, "tukey_scale_dn": shape.scale}
    found.facts |= {
        "tukey_correlation": shape.correlation,
        "gaussian_correlation": shape.correlation_gaussian,
        "excess_kurtosis": shape.excess_kurtosis,
        "beyond_4_sigma": shape.beyond_4_sigma,
    }
    found.evidence.noise = (stack.sample - stack.sample.mean(0)).ravel()[:200_000]


def _spectra(dark: Dark, found: Measured) -> None:
    height, width = dark.stack.mean.shape
    rows = banding_spectrum(dark.stack.row_means, dark.noise.pixel, width)
    columns = banding_spectrum(dark.stack.column_means, dark.noise.pixel, height)
    found.evidence.rows, found.evidence.columns = rows, columns
    found.facts |= {
        "row_lines_cycles_per_pixel": list(rows.lines),
        "column_lines_cycles_per_pixel": list(columns.lines),
    }
    for name, spectrum in (("row", rows), ("column", columns)):
        if spectrum.peaks > MOST_LINES:
            found.cautions.append(
                f"the spectrum of {name} offsets has {spectrum.peaks} peaks, of which the strongest {MOST_LINES} are "
                "listed: that many peaks mean a coloured spectrum rather than single lines"
            )


def _pattern(dark: Dark, found: Measured) -> None:
    found.evidence.shading = dark_shading(dark.stack)
    found.facts["dark_shading_range_dn"] = float(np.ptp(found.evidence.shading))
    if dark.stack.frames > 2:
        found.estimates |= nonuniformity(dark.stack, dark.noise).named("dsnu")
        hot = hot_pixels(dark.stack)
        found.facts |= {
            "hot_pixels": hot.count,
            "hot_pixels_per_million": hot.per_million,
            "hot_above_dn": hot.threshold_dn,
        }


def _leaks(take: Take, longest: Dark, found: Measured) -> None:
    sigma, white = math.sqrt(max(longest.noise.total, 1e-12)), take.frames.white
    shading = found.facts["dark_shading_range_dn"]
    if shading > max(5 * sigma, 0.002 * white):
        found.cautions.append(f"the dark frames vary by {shading:.1f} DN over the frame: a light leak or glow?")
    spread = float(np.ptp([dark.stack.level for dark in take.darks]))
    if spread > 0.02 * white:
        found.cautions.append(
            f"the levels of the dark frames differ by {spread:.1f} DN between exposures: a light leak?"
        )
    jump = float(np.ptp(longest.stack.frame_means))
    if jump > max(sigma, 0.002 * white):
        found.cautions.append(
            f"the levels of the dark frames of one exposure differ by {jump:.1f} DN: a light leak, or mixed settings?"
        )
