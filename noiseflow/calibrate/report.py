"""One self-contained HTML page per camera, in EMVA 1288's terms."""

import base64
import io
import math
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtri

from noiseflow.calibrate.estimators.tukey_lambda import tukey_quantile
from noiseflow.calibrate.measured import Calibration, Evidence
from noiseflow.calibrate.measurement import Measurement
from noiseflow.calibrate.measurements.gain_law import law_of
from noiseflow.calibrate.profiles.facts import meaning_of, said
from noiseflow.calibrate.profiles.profile import QUANTITIES, Profile, Setting
from noiseflow.calibrate.single_frame.estimate import PictureNoise
from noiseflow.core.output.checks import writing
from noiseflow.core.output.marks import MARK
from noiseflow.core.output.whole import write_text
from noiseflow.raw import plane_names

__all__ = ["write_page"]

STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#222}
h1,p{overflow-wrap:anywhere}.wide{overflow-x:auto}
table{border-collapse:collapse;margin:1rem 0}td,th{border-bottom:1px solid #ddd;padding:.2rem .8rem;text-align:left}
td.n,th.n{text-align:right;white-space:nowrap}th.n{white-space:normal}td.n{font-variant-numeric:tabular-nums}
.figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,28rem),1fr));gap:.5rem}
img{width:100%;max-width:34rem}td:first-child{min-width:8rem}.caution{background:#fff4d6;padding:.4rem .8rem}
@media(max-width:40rem){td,th{padding:.2rem .15rem;font-size:12px}td:first-child{min-width:5.5rem}
th.n,td.n:nth-child(3){white-space:normal}}
details>summary{cursor:pointer;font-weight:600;margin:1rem 0}
@media print{body{font-size:9px;max-width:none;margin:0;columns:2}h1,.wide{column-span:all}
h2{font-size:12px;margin:.4rem 0}.figures{display:none}table{margin:.2rem 0}td,th{padding:0 .3rem}p{margin:.2rem 0}}"""

GENERATOR = f"<meta name='generator' content='{MARK}'>"

MOST_TICKS = 8

COLOURS = {"R": "#c62828", "G1": "#2e7d32", "G2": "#7cb342", "B": "#1565c0", "Y": "#424242"}
"""Of the planes in figures."""

SUMMARY = {
    "gain_dn_per_e": "K (DN/e⁻)",
    "read_noise_dn": "σ_y.dark (DN)",
    "black_dn": "black (DN)",
    "saturation_e": "saturation (e⁻)",
    "dsnu_dn": "DSNU (DN)",
    "prnu_percent": "PRNU (%)",
}
"""Columns of the summary: estimates and their heads."""


def write_page(calibration: Calibration, path: str | Path, *, overwrite: bool = False) -> None:
    """Write the page of a calibration; the file takes its name when it is whole.

    Parameters
    ----------
    calibration : Calibration
        With its evidence: what was not measured is not drawn.
    path : path
        The HTML file.
    overwrite : bool
        Whether a page of ours may be replaced.
    """
    profile = calibration.profile
    parts = [
        f"<!doctype html><html lang='en'><meta charset='utf-8'>{GENERATOR}"
        f"<meta name='viewport' content='width=device-width,initial-scale=1'><title>{escape(profile.camera)}</title>",
        f"<style>{STYLE}</style><h1>{escape(profile.camera)}</h1>",
        f"<p>Layout {profile.layout}, white level {profile.white_dn:g} DN. "
        f"{escape(str(profile.provenance.get('method', '')))}; sources: "
        f"{escape(', '.join(map(str, profile.provenance.get('sources', []))))}.</p>",
        *(f"<p class='caution'>{escape(caution)}</p>" for caution in profile.cautions),
    ]
    parts += ["<h2>Summary</h2>", _summary(profile)]
    if len(profile.isos) > 1:
        parts.append("<h2>Gain versus ISO</h2>" + _gain_figure(profile))
    for setting in profile.settings:
        parts.append(f"<h2>ISO {setting.iso:g}, plane {setting.plane} ({setting.kind})</h2>")
        parts += [f"<p class='caution'>{escape(caution)}</p>" for caution in setting.cautions]
        parts += _tables(setting)
        shown = calibration.evidence.get((setting.iso, setting.plane))
        if shown is not None:
            parts += _figures(setting, shown)
    with writing(path, overwrite=overwrite) as path:
        write_text(path, "\n".join(parts) + "</html>\n", replace=overwrite)


def _summary(profile: Profile) -> str:
    """One line for each ISO and plane, in EMVA 1288 terms; a dash where the data do not support a figure."""
    rows = []
    for setting in profile.settings:
        values = [setting.estimates.get(name) for name in SUMMARY]
        rows.append(
            (f"ISO {setting.iso:g}, {setting.plane}", *(_short(each) for each in values), *_performance(setting))
        )
    head = ("setting", *(label for label in SUMMARY.values()), "threshold (e⁻)", "dynamic range (dB)", "SNR max (dB)")
    return _table(head, rows)


def _short(measured: Measurement | None) -> str:
    if measured is None:
        return "–"
    return f"{measured.value:,.0f}" if abs(measured.value) >= 1e4 else f"{measured.value:.4g}"


def _performance(setting: Setting) -> tuple[str, str, str]:
    """Absolute sensitivity threshold, dynamic range and largest SNR (EMVA 1288 release 4.0, 6.6 to 6.8).

    The threshold is where SNR = 1, μ_e.min = √(σ_y.dark²/K² + ¼) + ½; DR = μ_e.sat / μ_e.min; SNR_max = √μ_e.sat.
    """
    gain, noise = setting.value("gain_dn_per_e"), setting.value("read_noise_dn")
    capacity = setting.value("saturation_e")
    if gain is None or noise is None:
        return "–", "–", "–"
    threshold = math.sqrt((noise / gain) ** 2 + 0.25) + 0.5
    if capacity is None:
        return f"{threshold:.3g}", "–", "–"
    return f"{threshold:.3g}", f"{20 * math.log10(capacity / threshold):.1f}", f"{10 * math.log10(capacity):.1f}"


def _tables(setting: Setting) -> list[str]:
    """What has an error bar, and below it what has none."""
    measured = []
    for name, estimate in setting.estimates.items():
        low, high = estimate.interval
        value = str(estimate).removesuffix(estimate.unit)
        measured.append((QUANTITIES[name].meaning, value, _interval(low, high), estimate.unit))
    facts = [said(name, value) for name, value in setting.facts.items()]
    tables = []
    if measured:
        tables.append(_table(("quantity", "value ± standard error", "95 % interval", "unit"), measured))
    if facts:
        tables.append(_table(("without an error bar", "value", "unit"), facts))
    if setting.absent:
        absent = [(meaning_of(name), reason) for name, reason in setting.absent.items()]
        tables.append(_table(("absent", "why"), absent))
    return tables


def _interval(low: float, high: float) -> str:
    """Both ends with the digits that tell them apart."""
    width = high - low
    digits = 4
    if math.isfinite(width) and width > 0:
        digits = max(4, 2 + math.floor(math.log10(max(abs(low), abs(high)))) - math.floor(math.log10(width)))
    return f"{low:.{digits}g} … {high:.{digits}g}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """First and last column to the left, numbers between them to the right."""
    inner = range(1, len(head) - 1)
    lines = [
        "".join(f"<{kind}{' class=n' if index in inner else ''}>{_signs(cell)}</{kind}>" for index, cell in cells)
        for kind, cells in [("th", enumerate(head)), *(("td", enumerate(row)) for row in rows)]
    ]
    return f"<div class='wide'><table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table></div>"


def _signs(text: str) -> str:
    """HTML of a cell, with real minus signs and e⁻."""
    return escape(re.sub(r"-(?=\d)", "−", text.strip()).replace("e-", "e⁻"))


def _images(*panels: Any) -> str:
    """Each panel as a picture of its own: side by side where there is room, below one another on a phone."""
    pictures = []
    for axes in panels:
        buffer = io.BytesIO()
        axes.figure.savefig(buffer, format="png", dpi=90)
        text = base64.b64encode(buffer.getvalue()).decode("ascii")
        pictures.append(f"<img alt='{escape(axes.get_title(), quote=True)}' src='data:image/png;base64,{text}'>")
    return f"<div class='figures'>{''.join(pictures)}</div>"


def _panel() -> Any:
    # A figure without pyplot: no global state and no window system.
    from matplotlib.figure import Figure

    return Figure(figsize=(6, 4), layout="constrained").subplots()


def _gain_figure(profile: Profile) -> str:
    axes = _panel()
    for plane in plane_names(profile.layout):
        found = [s for s in profile.settings if s.plane == plane and "gain_dn_per_e" in s.estimates]
        law = law_of(found)
        if law is None:
            continue
        isos, values = law.isos, law.gains
        grid = np.geomspace(isos[0], isos[-1], 200)
        at = [law.predict(float(iso)) for iso in grid]
        colour = COLOURS.get(plane)
        axes.fill_between(grid, [e.interval[0] for e in at], [e.interval[1] for e in at], alpha=0.2, color=colour)
        flat = f", flat from ISO {law.top_iso:g}" if np.isfinite(law.top_iso) else ""
        axes.loglog(isos, values, "o", color=colour, label=plane + flat)
        axes.loglog(grid, [e.value for e in at], lw=1, color="grey")
    axes.set(xlabel="ISO", ylabel="K (DN/e⁻)", title="Overall system gain, 95 % band of the law")
    shown = profile.isos[:: -(-len(profile.isos) // MOST_TICKS)]
    axes.set_xticks(shown, [f"{iso:g}" for iso in shown])
    axes.set_xticks([], minor=True)
    axes.yaxis.set_minor_formatter("{x:.2g}")
    axes.yaxis.set_major_formatter("{x:.2g}")
    axes.legend()
    return _images(axes)


def _figures(setting: Setting, shown: Evidence) -> list[str]:
    found = []
    if shown.curve is not None and shown.fit is not None and shown.chosen is not None:
        found.append(_photon_transfer(setting, shown))
    if shown.picture is not None:
        found.append(_picture(setting, shown.picture))
    if shown.noise is not None:
        found.append(_read_noise(setting, shown))
    if shown.rows is not None and shown.columns is not None and shown.shading is not None:
        found.append(_patterns(shown))
    return found


def _photon_transfer(setting: Setting, shown: Evidence) -> str:
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
    curve_axes.plot(line, fit.gain.value * line + offset, "k-", lw=1, label=f"K = {fit.gain}")
    bent = _bend(shown, offset)
    if bent is not None:
        curve_axes.plot(*bent, "--", color="C3", lw=1.5, label="likelihood, with a bend")
    curve_axes.set(xlabel="μ_y − μ_y.dark (DN)", ylabel="σ²_y − σ²_y.dark (DN²)", title="Photon transfer")
    curve_axes.set_ylim(0, 1.2 * float(y.max()))
    curve_axes.legend()
    residuals = y[chosen] - fit.gain.value * curve.signal[chosen] - offset
    error = np.nan_to_num(2 * np.hypot(curve.variance_error, np.nan_to_num(curve.dark_error)))[chosen]
    residual_axes.errorbar(curve.signal[chosen], residuals, error, fmt="o", ms=4)
    residual_axes.axhline(0, color="k", lw=1)
    if bent is not None:
        residual_axes.plot(bent[0], bent[1] - fit.gain.value * bent[0] - offset, "--", color="C3", lw=1.5)
    residual_axes.set(xlabel="μ_y − μ_y.dark (DN)", ylabel="DN²", title="Residuals, bars 2σ of counting")
    return _images(curve_axes, residual_axes)


def _picture(setting: Setting, picture: PictureNoise) -> str:
    """Variance over signal in the flat blocks of one picture."""
    axes = _panel()
    for number in range(len(picture.gain)):
        own = picture.plane == number
        axes.plot(picture.signal[own], picture.variance[own], ".", label=f"plane {number + 1}")
    x = np.linspace(0, float(picture.signal.max()), 100)
    gain, read = setting.value("gain_dn_per_e") or 0.0, setting.value("read_noise_dn") or 0.0
    rows = setting.value("row_noise_dn") or 0.0
    axes.plot(x, gain * x + max(read**2 - rows**2, 0), "k-", lw=1, label=f"K = {gain:.4g} DN/e⁻")
    axes.set(xlabel="signal above black (DN)", ylabel="variance (DN²)", title="Flat blocks of the picture")
    axes.set_ylim(0, None)
    axes.legend()
    return _images(axes)


def _bend(shown: Evidence, offset: float) -> tuple[Any, Any] | None:
    """The likelihood's curve over the levels used; None where a line fits."""
    likelihood = shown.likelihood
    if shown.curve is None or likelihood is None or not likelihood.bend:
        return None
    x = np.linspace(0, float(shown.curve.signal[shown.chosen].max()), 100)
    return x, sum(value * x ** (k + 1) for k, value in enumerate(likelihood.bend)) + offset


def _read_noise(setting: Setting, shown: Evidence) -> str:
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
    assert shown.rows is not None
    assert shown.columns is not None
    assert shown.shading is not None
    spectra, shading = _panel(), _panel()
    for name, spectrum in (("rows", shown.rows), ("columns", shown.columns)):
        spectra.semilogy(spectrum.frequency, spectrum.power, lw=1, label=name)
        spectra.axhline(spectrum.floor, ls=":", lw=1, color="grey")
    spectra.set(xlabel="cycles per pixel", ylabel="DN²", title="Spectra of row and column offsets; dots: white noise")
    spectra.legend()
    image = shading.imshow(shown.shading, aspect="auto", cmap="cividis")
    shading.figure.colorbar(image, ax=shading, label="DN")
    shading.set(title="Dark shading (block means)", xticks=[], yticks=[])
    return _images(spectra, shading)
