"""From flats, darks and tables to a profile: which estimator gets what."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.calibrate.banding import Spectrum, banding_spectrum
from noiseflow.calibrate.burst import burst_noise
from noiseflow.calibrate.dark_current import DarkSeries, dark_series
from noiseflow.calibrate.dark_frames import black_drift, dark_shading, hot_pixels
from noiseflow.calibrate.estimate import Estimate, root, scaled
from noiseflow.calibrate.linearity import linearity
from noiseflow.calibrate.nonuniformity import Nonuniformity, nonuniformity, percent, photo_response
from noiseflow.calibrate.photon_transfer import (
    QUANTISATION,
    Curve,
    PhotonTransfer,
    emva_gain,
    likelihood_gain,
    line_gain,
    linear_range,
)
from noiseflow.calibrate.profile import Profile, Setting, write_profile
from noiseflow.calibrate.single_frame import CAVEAT, single_frame_bound
from noiseflow.calibrate.sources import Frames, Group, Table, read_frames, read_tables
from noiseflow.calibrate.stack import Components, Stack, components
from noiseflow.calibrate.tukey_lambda import read_noise_shape
from noiseflow.errors import DataError
from noiseflow.progress import Progress, silent
from noiseflow.raw import plane_names, read_raw

__all__ = ["Calibration", "Evidence", "calibrate"]

Array = NDArray[np.float64]

FLICKER = 0.01
"""Relative difference of the means of one exposure's frames that is called flicker."""


@dataclass(eq=False)
class Evidence:
    """What a report draws for one ISO and plane; empty where it was not measured."""

    curve: Curve | None = None
    chosen: NDArray[np.bool_] | None = None
    fit: PhotonTransfer | None = None
    deviations: Array | None = None
    noise: NDArray[np.float32] | None = None
    rows: Spectrum | None = None
    columns: Spectrum | None = None
    shading: Array | None = None


@dataclass(frozen=True, eq=False)
class Calibration:
    """A profile and what it rests on, by (ISO, plane)."""

    profile: Profile
    evidence: Mapping[tuple[float, str], Evidence] = field(default_factory=dict)


def calibrate(
    sources: Sequence[str | Path],
    out: str | Path | None = None,
    *,
    camera: str | None = None,
    progress: Progress = silent,
) -> Calibration:
    """Calibrate a camera from what there is of it.

    Parameters
    ----------
    sources : sequence of path
        An EMVA 1288 folder; photon-transfer tables (``.csv``); or raw files and folders
        of them: flats and darks, a burst of three frames or more of one scene, or one frame.
    out : path, optional
        Where to write the profile (JSON).
    camera : str, optional
        Name; else what the files say.
    progress : Progress

    Returns
    -------
    Calibration

    Raises
    ------
    DataError
        Nothing that a gain or read noise can be had from, frames of two cameras, all
        flats saturated, one exposure only.
    RawError
        A frame that cannot be read.
    """
    paths = [Path(source) for source in sources]
    if not paths:
        raise DataError("no source; expected flats and darks, a table or an EMVA 1288 folder")
    for path in paths:
        if not path.exists():
            raise DataError(f"{path}: no such file or folder")
    tables = [path for path in paths if path.suffix.lower() == ".csv"]
    if tables and len(tables) != len(paths):
        raise DataError(f"{tables[0]}: tables and frames cannot be calibrated together; give one or the other")
    result = _from_tables(read_tables(tables), camera) if tables else _from_frames(paths, camera, progress)
    if out is not None:
        write_profile(result.profile, out)
    return result


def _provenance(paths: Sequence[str], method: str) -> dict[str, Any]:
    return {"tool": "noiseflow calibrate", "method": method, "sources": list(paths)}


# --- photon-transfer tables -------------------------------------------------------------------


def _from_tables(tables: list[Table], camera: str | None) -> Calibration:
    rows = np.concatenate([table.rows for table in tables])
    settings, evidence, skipped = [], {}, []
    # A row whose mean is the lowest of its ISO and no brighter at longer exposure is a dark.
    darks = np.concatenate([np.full(len(t.rows), "dark" in t.path.stem.lower()) for t in tables])
    for iso in np.unique(rows[:, 0]):
        flat, dark = rows[(rows[:, 0] == iso) & ~darks], rows[(rows[:, 0] == iso) & darks]
        if len(flat) < (3 if not len(dark) else 2):
            skipped.append(f"ISO {iso:g}: {len(flat)} level(s) of light in the table, too few for a fit; left out")
            continue
        setting, shown = _table_setting(float(iso), flat, dark)
        settings.append(setting)
        evidence[(float(iso), "Y")] = shown
    if not settings:
        raise DataError(f"{tables[0].path}: no ISO has three levels of light; one exposure gives no gain")
    name = camera or tables[0].path.stem.removesuffix("_flat").removesuffix("_dark").replace("_", " ")
    # The tables do not say the white level: 14-bit converters stand in, which only models need.
    white = float(2 ** math.ceil(math.log2(rows[:, 2].max() + 1)) - 1)
    provenance = _provenance([str(table.path) for table in tables], "photon-transfer table, σ² over mean")
    cautions = (*skipped, f"white level {white:g} DN is a guess from the largest mean in the table")
    return Calibration(Profile(name, "mono", white, tuple(settings), provenance, cautions), evidence)


def _table_setting(iso: float, flat: Array, dark: Array) -> tuple[Setting, Evidence]:
    n, unknown = len(flat), np.full(len(flat), np.nan)
    offset = float(dark[:, 2].mean()) if len(dark) else 0.0
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
    cautions = ["the table says no frame counts: error bars are from the residuals"]
    if len(dark):
        spread = float((dark[:, 3] ** 2).std(ddof=1)) if len(dark) > 1 else 0.05 * noise
        read = root(noise, spread, "DN")
        estimates["read_noise_dn"] = read
        estimates["read_noise_e"] = _electrons(read, fit.gain)
        estimates["black_dn"] = Estimate(offset, float(dark[:, 2].std()), _around(dark[:, 2]), "DN")
    else:
        cautions.append("no darks: black level and read noise are not in the table")
    shown = Evidence(curve, chosen, fit)
    return Setting(iso, "Y", estimates, cautions=tuple(cautions)), shown


def _around(values: Array) -> tuple[float, float]:
    half = 2 * float(values.std())
    return float(values.mean()) - half, float(values.mean()) + half


def _electrons(noise: Estimate, gain: Estimate) -> Estimate:
    """Read noise in e⁻, quantisation taken off: √(σ² − 1/12)/K."""
    square = max(noise.value**2 - QUANTISATION, 0.0) / gain.value**2
    error = 2 * noise.value * noise.standard_error / gain.value**2
    return root(square, math.hypot(error, 2 * square * gain.standard_error / gain.value), "e-")


# --- frames -----------------------------------------------------------------------------------


def _from_frames(paths: list[Path], camera: str | None, progress: Progress) -> Calibration:
    frames = read_frames(paths, progress)
    names = plane_names(frames.layout)
    bright = [group for group in frames.groups if not group.dark]
    dark = [group for group in frames.groups if group.dark]
    settings: list[Setting] = []
    evidence: dict[tuple[float, str], Evidence] = {}
    for iso in sorted({group.iso for group in frames.groups}):
        lights = [group for group in bright if group.iso == iso]
        darks = [group for group in dark if group.iso == iso]
        if not darks and len(lights) == 1:
            settings += _one_scene(lights[0], frames)
            continue
        for index, plane in enumerate(names):
            setting, shown = _setting(iso, plane, index, lights, darks, frames)
            settings.append(setting)
            evidence[(iso, plane)] = shown
    provenance = _provenance(
        [str(path) for path in paths], "EMVA 1288 release 3.1 photon transfer; likelihood on pixels"
    )
    provenance["frames"] = sum(len(group.sources) for group in frames.groups)
    profile = Profile(
        camera or frames.camera, frames.layout, frames.white, tuple(settings), provenance, tuple(frames.cautions)
    )
    return Calibration(profile, evidence)


def _setting(
    iso: float, plane: str, index: int, lights: list[Group], darks: list[Group], frames: Frames
) -> tuple[Setting, Evidence]:
    estimates: dict[str, Estimate] = {}
    facts: dict[str, Any] = {}
    cautions: list[str] = []
    shown = Evidence()
    where = f"ISO {iso:g}, plane {plane}"
    pairs = [(group, group.stacks[index]) for group in darks if group.stacks[index].frames > 1]
    noise = [components(stack) for _, stack in pairs]
    series: DarkSeries | None = None
    if pairs:
        series = _dark_series(pairs, noise)
        estimates |= {"black_dn": series.black, "read_noise_dn": series.noise}
        if series.current is not None:
            estimates["dark_current_dn_per_s"] = series.current
        cautions += _dark_stack(pairs, noise, estimates, facts, shown, frames)
    elif lights:
        cautions.append(
            "no pair of darks: the black level is what the files declare, read noise is from the flats' fit"
        )
    covariance: tuple[tuple[float, ...], ...] = ()
    if lights:
        curve = _curve([(g, g.stacks[index]) for g in lights], pairs, noise, frames.black[index], cautions, where)
        covariance = _photon_transfer(curve, bool(pairs), estimates, facts, shown, cautions, where)
        _photo_response(lights, darks, index, estimates)
    if "gain_dn_per_e" in estimates:
        gain = estimates["gain_dn_per_e"]
        if series is not None:
            estimates["read_noise_e"] = _electrons(series.noise, gain)
        if "dark_current_dn_per_s" in estimates:
            estimates["dark_current_e_per_s"] = scaled(estimates["dark_current_dn_per_s"], 1 / gain.value, "e-/s")
    else:
        cautions.append("no flats: the gain is not known")
    return Setting(iso, plane, estimates, covariance, facts, "measured", tuple(cautions)), shown


def _dark_series(pairs: list[tuple[Group, Stack]], noise: list[Components]) -> DarkSeries:
    return dark_series(
        np.array([group.exposure_s for group, _ in pairs]),
        np.array([stack.level for _, stack in pairs]),
        # Frames drift together with the sensor's temperature: their scatter, not pixel counting, is the error.
        np.array([max(stack.frame_means.std(ddof=1), 1e-6) / math.sqrt(stack.frames) for _, stack in pairs]),
        np.array([part.total for part in noise]),
        np.array([part.total_error for part in noise]),
    )


def _dark_stack(
    pairs: list[tuple[Group, Stack]],
    noise: list[Components],
    estimates: dict[str, Estimate],
    facts: dict[str, Any],
    shown: Evidence,
    frames: Frames,
) -> list[str]:
    """All that the longest stack of darks says."""
    longest = max(range(len(pairs)), key=lambda i: pairs[i][1].frames)
    stack, part = pairs[longest][1], noise[longest]
    cautions = []
    estimates["row_noise_dn"] = root(part.row, part.row_error, "DN")
    estimates["column_noise_dn"] = root(part.column, part.column_error, "DN")
    drift = black_drift(stack.frame_means)
    facts |= {"black_drift_sigma_dn": drift.deviation_dn, "black_drift_range_dn": drift.range_dn}
    if drift.per_frame is not None:
        estimates["black_drift_dn_per_frame"] = drift.per_frame
    rows = stack.row_means - stack.row_means.mean(0) - (stack.frame_means - stack.level)[:, None]
    at = rows[:, stack.sample_index // stack.mean.shape[1]]
    # At most 2 million values: more would not narrow the error bars below what the model misses.
    kept = slice(0, max(1, 2_000_000 // stack.frames))
    shape = read_noise_shape(
        stack.sample[:, kept], stack.frame_means, at[:, kept], np.random.default_rng(np.random.SeedSequence(1288))
    )
    estimates |= {"tukey_shape": shape.shape, "tukey_scale_dn": shape.scale}
    facts |= {
        "tukey_correlation": shape.correlation,
        "gaussian_correlation": shape.correlation_gaussian,
        "excess_kurtosis": shape.excess_kurtosis,
        "beyond_4_sigma": shape.beyond_4_sigma,
    }
    shown.noise = (stack.sample - stack.sample.mean(0)).ravel()[:200_000]
    height, width = stack.mean.shape
    shown.rows = banding_spectrum(stack.row_means, part.pixel, width)
    shown.columns = banding_spectrum(stack.column_means, part.pixel, height)
    facts |= {
        "row_lines_cycles_per_pixel": list(shown.rows.lines),
        "column_lines_cycles_per_pixel": list(shown.columns.lines),
    }
    shown.shading = dark_shading(stack)
    facts["dark_shading_range_dn"] = float(np.ptp(shown.shading))
    if stack.frames > 2:
        fixed = nonuniformity(stack, part)
        _take(estimates, "dsnu", fixed)
        hot = hot_pixels(stack)
        facts |= {"hot_pixels": hot.count, "hot_pixels_per_million": hot.per_million, "hot_above_dn": hot.threshold_dn}
    sigma = math.sqrt(max(part.total, 1e-12))
    if facts["dark_shading_range_dn"] > max(5 * sigma, 0.002 * frames.white):
        cautions.append(
            f"the dark frames vary by {facts['dark_shading_range_dn']:.1f} DN over the frame: light leak or glow?"
        )
    levels = np.array([s.level for _, s in pairs])
    if np.ptp(levels) > 0.02 * frames.white:
        cautions.append(f"the dark frames' levels differ by {np.ptp(levels):.1f} DN between exposures: light leak?")
    return cautions


def _curve(
    lights: list[tuple[Group, Stack]],
    darks: list[tuple[Group, Stack]],
    noise: list[Components],
    declared: float,
    cautions: list[str],
    where: str,
) -> Curve:
    """Photon-transfer points, each with the dark of its exposure time or, if there is none, of the nearest."""
    rows = []
    single = [stack for _, stack in lights if stack.frames < 2]
    if len(single) == len(lights):
        raise DataError(f"{where}: one frame only at each exposure; expected pairs of flats or more")
    used: set[int] = set()
    for group, stack in lights:
        if stack.frames < 2:
            continue
        part = components(stack)
        flicker = float(np.ptp(stack.frame_means)) / max(stack.level - declared, 1.0)
        if flicker > FLICKER and stack.level - declared > 10:
            cautions.append(
                f"the frames of exposure {group.exposure_s:g} s differ by {100 * flicker:.1f} %: flickering light"
            )
        if darks:
            nearest = min(range(len(darks)), key=lambda i: abs(darks[i][0].exposure_s - group.exposure_s))
            used.add(nearest)
            dark_level, dark_var, dark_err = darks[nearest][1].level, noise[nearest].total, noise[nearest].total_error
        else:
            dark_level, dark_var, dark_err = declared, math.nan, math.nan
        rows.append(
            (group.exposure, stack.level - dark_level, part.total, part.total_error, dark_var, dark_err, stack.clipped)
        )
    # The same exposure listed twice, as a pair and as a stack for the PRNU: both are points.
    columns = np.array(sorted(rows)).T
    exposure, signal, variance, error, dark_variance, dark_error, clipped = columns
    shared = len(used) == 1
    return Curve(exposure, signal, variance, error, dark_variance, dark_error, clipped, shared)


def _photon_transfer(
    curve: Curve,
    has_darks: bool,
    estimates: dict[str, Estimate],
    facts: dict[str, Any],
    shown: Evidence,
    cautions: list[str],
    where: str,
) -> tuple[tuple[float, ...], ...]:
    if (curve.clipped >= 1e-3).all():
        raise DataError(f"{where}: all flats are saturated; take shorter exposures")
    chosen, saturation = linear_range(curve)
    if not chosen.any():
        raise DataError(f"{where}: no flat is within the linear range; take shorter exposures")
    if saturation is None:
        cautions.append("the series does not reach saturation: all unclipped levels were used, saturation is not known")
    used = curve.select(chosen)
    levels = int(chosen.sum())
    if levels == 1 and not has_darks:
        raise DataError(f"{where}: one exposure only and no darks: the gain cannot be told from the read noise")
    if levels < 5:
        cautions.append(f"only {levels} level(s) of light within the linear range: linearity cannot be judged")
    likelihood = likelihood_gain(used) if has_darks else line_gain(used)
    fit = emva_gain(used) if has_darks else likelihood
    estimates["gain_dn_per_e"] = fit.gain
    estimates["gain_likelihood_dn_per_e"] = likelihood.gain
    estimates["read_noise_likelihood_dn"] = likelihood.read_noise
    if math.isfinite(fit.misfit):
        facts["photon_transfer_chi2_per_dof"] = fit.misfit
        if fit.misfit > 3:
            cautions.append(
                f"χ² per degree of freedom of the photon-transfer fit is {fit.misfit:.0f}: more scatter or curvature "
                "than counting explains (flicker, nonlinearity, mixed settings); the error bars are from the residuals"
            )
    found = linearity(curve, chosen, saturation, fit.gain)
    if found.saturation is not None and found.saturation_dn is not None:
        estimates |= {"saturation_e": found.saturation, "saturation_dn": found.saturation_dn}
    if found.error_percent is not None:
        facts["linearity_error_percent"] = found.error_percent
        if found.error_percent > 5:
            cautions.append(
                f"the signal departs from a line by {found.error_percent:.1f} %: nonlinear, or light that changed"
            )
    facts["levels_used"] = levels
    shown.curve, shown.chosen, shown.fit, shown.deviations = curve, chosen, fit, found.deviations
    return tuple(tuple(float(x) for x in row) for row in likelihood.covariance)


def _photo_response(lights: list[Group], darks: list[Group], index: int, estimates: dict[str, Estimate]) -> None:
    """PRNU from the longest stack of flats below 1 ‰ clipping, with the dark stack beside it."""
    bright = [group.stacks[index] for group in lights if group.stacks[index].clipped < 1e-3]
    dark = [group.stacks[index] for group in darks]
    if not bright or not dark:
        return
    b, d = max(bright, key=lambda s: s.frames), max(dark, key=lambda s: s.frames)
    if b.frames < 3 or d.frames < 3:
        return
    response = photo_response(b, d)
    _take(estimates, "prnu", response)
    estimates["prnu_percent"] = percent(response.total, b.level - d.level)


def _take(estimates: dict[str, Estimate], prefix: str, found: Nonuniformity) -> None:
    estimates |= {
        f"{prefix}_dn": found.total,
        f"{prefix}_row_dn": found.row,
        f"{prefix}_column_dn": found.column,
        f"{prefix}_pixel_dn": found.pixel,
    }


def _one_scene(group: Group, frames: Frames) -> list[Setting]:
    """Frames of one setting without darks: a burst of a scene, or one frame."""
    images = [read_raw(source).planes() for source in group.sources]
    settings = []
    for index, plane in enumerate(plane_names(frames.layout)):
        black = frames.black[index]
        if len(images) >= 3:
            burst = burst_noise([image[index] for image in images], black, frames.white)
            estimates = {"gain_dn_per_e": burst.gain, "read_noise_dn": burst.read_noise}
            covariance = tuple(tuple(float(x) for x in row) for row in burst.covariance)
            cautions = ("from a burst of one scene; the black level is what the file declares", *burst.cautions)
            settings.append(Setting(group.iso, plane, estimates, covariance, {}, "measured", cautions))
        else:
            bound = single_frame_bound(images[0][index], black, frames.white)
            low, high = (max(end, 0.0) ** 0.5 for end in bound.variance_at_black.interval)
            value = max(bound.variance_at_black.value, 0.0) ** 0.5
            noise = Estimate(value, bound.variance_at_black.standard_error / max(2 * value, 1e-9), (low, high), "DN")
            estimates = {"gain_dn_per_e": bound.gain, "read_noise_dn": noise}
            settings.append(Setting(group.iso, plane, estimates, (), {}, "bound", (CAVEAT,)))
    return settings
