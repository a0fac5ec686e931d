"""Figures of a calibration page, embedded in the HTML as PNG."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import ndtri

from noiseflow.calibrate.estimators.tukey_lambda import tukey_quantile
from noiseflow.calibrate.measured import Evidence
from noiseflow.calibrate.measurement import Measurement
from noiseflow.calibrate.measurements.gain_law import law_of
from noiseflow.calibrate.measurements.signal_to_noise import linear_snr
from noiseflow.calibrate.profiles.profile import Profile, Setting
from noiseflow.calibrate.single_frame.estimate import PictureNoise
from noiseflow.core.text import html_text
from noiseflow.raw import plane_names

__all__ = ["figures", "gain_figure"]

MOST_TICKS = 8
"""Largest number of ISO labels on an axis."""

COLOURS = {"R": "#c62828", "G1": "#2e7d32", "G2": "#7cb342", "B": "#1565c0", "Y": "#424242"}
"""Colour of each plane in the figures."""

CLIPPED = 1e-3
"""Fraction of clipped pixels from which a level is left out of the SNR figure."""


def _images(*panels: Any) -> str:
    """Return HTML with one picture per panel, side by side on a wide screen and stacked on a phone."""
    pictures = []
    for axes in panels:
        buffer = io.BytesIO()
        axes.figure.savefig(buffer, format="png", dpi=90)
        text = base64.b64encode(buffer.getvalue()).decode("ascii")
        pictures.append(f"<img alt='{html_text(axes.get_title())}' src='data:image/png;base64,{text}'>")
    return f"<div class='figures'>{''.join(pictures)}</div>"


def _panel() -> Any:
    """Return the axes of a new figure, made without pyplot, which has global state and may open windows."""
    from matplotlib.figure import Figure

    return Figure(figsize=(6, 4), layout="constrained").subplots()


def gain_figure(profile: Profile) -> str:
    """Draw K against ISO with the fitted law.

    Parameters
    ----------
    profile : Profile
        A profile of several ISOs.

    Returns
    -------
    str
        HTML of the figure.
    """
    axes = _panel()
    for plane in plane_names(profile.layout):
        found = [s for s in profile.settings if s.plane == plane and "gain_dn_per_e" in s.estimates]
        law = law_of(found)
        if law is None:
            continue
        isos, values = law.isos, law.gains
        grid = np.geomspace(isos[0], isos[-1], 200)
        predicted = [law.predict(float(iso)) for iso in grid]
        low, high = zip(*(each.interval for each in predicted), strict=True)
        colour = COLOURS.get(plane)
        axes.fill_between(grid, low, high, alpha=0.2, color=colour)
        flat = f", constant from ISO {law.top_iso:g}" if np.isfinite(law.top_iso) else ""
        axes.loglog(isos, values, "o", color=colour, label=plane + flat)
        axes.loglog(grid, [each.value for each in predicted], lw=1, color="grey")
    axes.set(xlabel="ISO", ylabel="K (DN/e⁻)", title="Overall system gain, 95 % band of the law")
    shown = profile.isos[:: -(-len(profile.isos) // MOST_TICKS)]
    axes.set_xticks(shown, [f"{iso:g}" for iso in shown])
    axes.set_xticks([], minor=True)
    axes.yaxis.set_minor_formatter("{x:.2g}")
    axes.yaxis.set_major_formatter("{x:.2g}")
    axes.legend()
    return _images(axes)


def figures(setting: Setting, shown: Evidence, planes: Sequence[str]) -> list[str]:
    """Draw the figures of one setting.

    Parameters
    ----------
    setting : Setting
        Measured numbers.
    shown : Evidence
        Curves and fits behind them; a figure whose data are missing is left out.
    planes : sequence of str
        Names of the layout's planes.

    Returns
    -------
    list of str
        HTML of each figure.
    """
    found = []
    if shown.curve is not None and shown.fit is not None and shown.chosen is not None:
        found.append(_photon_transfer(shown))
    if shown.curve is not None and "sensitivity_threshold_e" in setting.estimates:
        found.append(_signal_to_noise(setting, shown))
    if shown.picture is not None:
        found.append(_picture(setting, shown.picture, planes))
    if shown.noise is not None:
        found.append(_read_noise(setting, shown))
    if shown.rows is not None and shown.columns is not None and shown.shading is not None:
        found.append(_patterns(shown))
    return found


def _photon_transfer(shown: Evidence) -> str:
    """Draw the photon-transfer curve with its fits, and the residuals of the line."""
    assert shown.curve is not None
    assert shown.fit is not None
    assert shown.chosen is not None
    curve_axes, residual_axes = _panel(), _panel()
    curve, chosen, fit = shown.curve, shown.chosen, shown.fit
    dark = curve.dark_variance if np.isfinite(curve.dark_variance).all() else np.zeros_like(curve.variance)
    y = curve.variance - dark
    offset = 0.0 if dark.any() else fit.read_variance
    curve_axes.plot(curve.signal[chosen], y[chosen], "o", label="used (0–70 % of saturation)")
    curve_axes.plot(curve.signal[~chosen], y[~chosen], "x", color="grey", label="not used")
    line = np.array([0.0, curve.signal.max()])
    curve_axes.plot(line, fit.gain.value * line + offset, "k-", lw=1, label=_gain_label(fit.gain))
    bent = _bend(shown, offset)
    if bent is not None:
        curve_axes.plot(*bent, "--", color="C3", lw=1.5, label="likelihood, with a bend")
    curve_axes.set(xlabel="μ_y − μ_y.dark (DN)", ylabel="σ²_y − σ²_y.dark (DN²)", title="Photon transfer")
    curve_axes.set_ylim(0, 1.45 * float(y.max()))
    curve_axes.legend()
    residuals = y[chosen] - fit.gain.value * curve.signal[chosen] - offset
    error = np.nan_to_num(2 * np.hypot(curve.variance_error, np.nan_to_num(curve.dark_error)))[chosen]
    residual_axes.errorbar(curve.signal[chosen], residuals, error, fmt="o", ms=4)
    residual_axes.axhline(0, color="k", lw=1)
    if bent is not None:
        residual_axes.plot(bent[0], bent[1] - fit.gain.value * bent[0] - offset, "--", color="C3", lw=1.5)
    residual_axes.set(xlabel="μ_y − μ_y.dark (DN)", ylabel="DN²", title="Residuals, bars: 2σ of counting statistics")
    return _images(curve_axes, residual_axes)


def _signal_to_noise(setting: Setting, shown: Evidence) -> str:
    """Draw the SNR over the light, measured and by the linear and general models, and the departure from linearity."""
    assert shown.curve is not None
    axes, curve = _panel(), shown.curve
    gain, noise = setting.value("gain_dn_per_e") or 1.0, setting.value("read_noise_dn") or 0.0
    dsnu, prnu = setting.value("dsnu_dn") or 0.0, setting.value("prnu_percent") or 0.0
    least, capacity = setting.value("sensitivity_threshold_e") or 1.0, setting.value("saturation_e")
    lit = (curve.signal > 0) & (curve.variance > 0) & (curve.clipped < CLIPPED)
    electrons = curve.signal[lit] / gain
    axes.loglog(electrons, curve.signal[lit] / np.sqrt(curve.variance[lit]), "o", ms=5, label="levels, temporal noise")
    if shown.general is not None:
        known = np.isfinite(shown.general.snr) & (shown.general.snr > 0)
        light, snr = shown.general.electrons[known], shown.general.snr[known]
        axes.loglog(light, snr, "x", color="C3", label="levels, referred to the input (general model)")
    x = np.geomspace(0.5 * least, capacity or float(electrons.max()), 200)
    axes.loglog(x, linear_snr(x, noise / gain), "k-", lw=1, label="linear model")
    if dsnu or prnu:
        total = linear_snr(x, noise / gain, dsnu / gain, prnu / 100)
        axes.loglog(x, total, "k--", lw=1, label="total, with DSNU and PRNU")
    axes.loglog(x, np.sqrt(x), ":", color="grey", lw=1, label="shot noise alone")
    for place, name in ((least, "threshold"), (capacity, "saturation")):
        if place is not None:
            axes.axvline(place, color="grey", lw=1, alpha=0.5)
            axes.annotate(name, (place, 0.02), xycoords=("data", "axes fraction"), rotation=90, ha="right", fontsize=8)
    axes.set(xlabel="light μ_e (e⁻)", ylabel="SNR", title="SNR")
    axes.legend(fontsize=8)
    if shown.deviations is None or not np.isfinite(shown.deviations).any():
        return _images(axes)
    beside = _panel()
    beside.plot(curve.signal, shown.deviations, "o-", ms=4, lw=1)
    beside.axhline(0, color="k", lw=1)
    beside.set(xlabel="μ_y − μ_y.dark (DN)", ylabel="%", title="Departure from a line, 5–95 % of saturation")
    return _images(axes, beside)


def _picture(setting: Setting, picture: PictureNoise, planes: Sequence[str]) -> str:
    """Draw variance over signal in the flat blocks of one picture, with the setting's own plane and fit in front."""
    axes = _panel()
    count = len(picture.gain)
    own = planes.index(setting.plane) if setting.plane in planes else 0
    for number in sorted(range(count), key=lambda each: each == own):
        of_plane, front = picture.plane == number, number == own
        axes.plot(
            picture.signal[of_plane],
            picture.variance[of_plane],
            ".",
            color=COLOURS.get(planes[number]),
            alpha=1.0 if front else 0.25,
            ms=6 if front else 4,
            label=planes[number],
        )
    x = np.linspace(0, float(picture.signal.max()), 100)
    gain, read, rows = (setting.estimates.get(name) for name in ("gain_dn_per_e", "read_noise_dn", "row_noise_dn"))
    if gain is not None:
        dark = max((read.value if read else 0.0) ** 2 - (rows.value if rows else 0.0) ** 2, 0.0)
        texture = (0.01 * picture.spread_percent * x) ** 2
        axes.plot(x, gain.value * x + dark + texture, "k-", lw=1, label=_gain_label(gain))
        low, high = (end * x + dark + texture for end in gain.interval)
        axes.fill_between(x, low, high, color="k", alpha=0.15, lw=0, label="95 % interval of K")
    axes.set(xlabel="signal above black (DN)", ylabel="variance (DN²)", title="Flat blocks of the picture")
    axes.set_ylim(0, 1.6 * float(picture.variance.max()))
    axes.legend()
    return _images(axes)


def _gain_label(gain: Measurement) -> str:
    """Return the legend's text for K."""
    return f"overall system gain K = {gain}".replace("e-", "e⁻")


def _bend(shown: Evidence, offset: float) -> tuple[Any, Any] | None:
    """Return the bent curve of the likelihood fit over the levels used, or None where a line fits."""
    likelihood = shown.likelihood
    if shown.curve is None or likelihood is None or not likelihood.bend:
        return None
    x = np.linspace(0, float(shown.curve.signal[shown.chosen].max()), 100)
    return x, sum(value * x ** (k + 1) for k, value in enumerate(likelihood.bend)) + offset


def _read_noise(setting: Setting, shown: Evidence) -> str:
    """Draw histogram and QQ plot of the read noise."""
    assert shown.noise is not None
    histogram, qq = _panel(), _panel()
    noise = np.sort(shown.noise.astype(np.float64))
    sigma = float(noise.std())
    histogram.hist(noise, bins=80, density=True, color="#9bc")
    grid = np.linspace(noise[0], noise[-1], 400)
    histogram.plot(
        grid, np.exp(-0.5 * (grid / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi)), "k-", lw=1, label="Gaussian"
    )
    histogram.set(xlabel="DN", ylabel="density", yscale="log", title="Read noise", ylim=(1e-6, None))
    histogram.legend()
    p = ((np.arange(1, noise.size + 1) - 0.3175) / (noise.size + 0.365)).astype(np.float64)
    step = max(1, noise.size // 4000)
    kept = np.r_[0 : min(200, noise.size), 200 : noise.size : step, max(0, noise.size - 200) : noise.size]
    qq.plot(sigma * ndtri(p[kept]), noise[kept], ".", ms=3, label="Gaussian quantiles")
    shape, scale = setting.value("tukey_shape"), setting.value("tukey_scale_dn")
    if shape is not None and scale is not None:
        q = tukey_quantile(p[kept], shape)
        qq.plot(
            sigma * q / float(np.std(tukey_quantile(p, shape))),
            noise[kept],
            ".",
            ms=3,
            label=f"Tukey-lambda {shape:.3f}",
        )
    ends = [noise[0], noise[-1]]
    qq.plot(ends, ends, "k-", lw=1)
    qq.set(xlabel="quantile of the model (DN)", ylabel="read noise (DN)", title="QQ plot")
    qq.legend()
    return _images(histogram, qq)


def _patterns(shown: Evidence) -> str:
    """Draw the spectra of row and column offsets, and the dark shading."""
    assert shown.rows is not None
    assert shown.columns is not None
    assert shown.shading is not None
    spectra, shading = _panel(), _panel()
    for name, spectrum in (("rows", shown.rows), ("columns", shown.columns)):
        spectra.semilogy(spectrum.frequency, spectrum.power, lw=1, label=name)
        spectra.axhline(spectrum.floor, ls=":", lw=1, color="grey")
    spectra.set(xlabel="cycles per pixel", ylabel="DN²", title="Spectra of row and column offsets; dotted: white noise")
    spectra.legend()
    image = shading.imshow(shown.shading, aspect="auto", cmap="cividis")
    shading.figure.colorbar(image, ax=shading, label="DN")
    shading.set(title="Dark shading (block means)", xticks=[], yticks=[])
    return _images(spectra, shading)
