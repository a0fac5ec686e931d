"""One self-contained HTML page per camera, in EMVA 1288's terms."""

import re
from collections.abc import Sequence
from pathlib import Path

from noiseflow.calibrate.measured import Calibration
from noiseflow.calibrate.measurement import Measurement
from noiseflow.calibrate.profiles.facts import meaning_of, said
from noiseflow.calibrate.profiles.profile import QUANTITIES, Profile, Setting
from noiseflow.calibrate.report.figures import figures, gain_figure
from noiseflow.calibrate.report.style import STYLE
from noiseflow.core.output.checks import writing
from noiseflow.core.output.marks import MARK, sealed_html
from noiseflow.core.output.whole import write_bytes
from noiseflow.core.text import html_text
from noiseflow.raw import plane_names

__all__ = ["write_page"]

GENERATOR = f"<meta name='generator' content='{MARK}'>"

SUMMARY = {
    "gain_dn_per_e": "overall system gain K (DN/e⁻)",
    "read_noise_dn": "σ_y.dark (DN)",
    "black_dn": "black (DN)",
    "saturation_e": "saturation (e⁻)",
    "dsnu_dn": "DSNU (DN)",
    "prnu_percent": "PRNU (%)",
    "sensitivity_threshold_e": "threshold (e⁻)",
    "dynamic_range_db": "dynamic range (dB)",
    "snr_max_db": "SNR max (dB)",
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
        "<meta name='viewport' content='width=device-width,initial-scale=1'>"
        f"<title>{html_text(profile.camera)}</title>",
        f"<style>{STYLE}</style><h1>{html_text(profile.camera)}</h1>",
        f"<p>Layout {profile.layout}, white level {profile.white_dn:g} DN. "
        f"{html_text(str(profile.provenance.get('method', '')))}; sources: "
        f"{html_text(', '.join(map(str, profile.provenance.get('sources', []))))}.</p>",
        *(f"<p class='caution'>{html_text(caution)}</p>" for caution in profile.cautions),
    ]
    parts += [_contents(profile), "<h2 id='summary'>Summary</h2>", f"<div class='summary'>{_summary(profile)}</div>"]
    if len(profile.isos) > 1:
        parts.append("<h2 id='gain'>Gain versus ISO</h2>" + gain_figure(profile))
    for setting in profile.settings:
        parts.append(f"<h2 id='{_place(setting)}'>ISO {setting.iso:g}, plane {setting.plane} ({setting.kind})</h2>")
        parts += [f"<p class='caution'>{html_text(caution)}</p>" for caution in setting.cautions]
        parts += _tables(setting)
        shown = calibration.evidence.get((setting.iso, setting.plane))
        if shown is not None:
            parts += figures(setting, shown, plane_names(profile.layout))
    with writing(path, overwrite=overwrite) as path:
        write_bytes(path, sealed_html("\n".join(parts) + "</html>\n"), replace=overwrite)


def _contents(profile: Profile) -> str:
    """Links to the parts of the page."""
    places = {"summary": "Summary"} | ({"gain": "Gain versus ISO"} if len(profile.isos) > 1 else {})
    places |= {_place(setting): f"ISO {setting.iso:g}, {setting.plane}" for setting in profile.settings}
    return "<nav>" + "".join(f"<a href='#{place}'>{html_text(words)}</a>" for place, words in places.items()) + "</nav>"


def _place(setting: Setting) -> str:
    """Name of a setting's part, for links."""
    return html_text(f"iso-{setting.iso:g}-{setting.plane}")


def _summary(profile: Profile) -> str:
    """One line for each ISO and plane, in EMVA 1288 terms; a dash where the data do not support a figure."""
    rows = []
    for setting in profile.settings:
        values = [setting.estimates.get(name) for name in SUMMARY]
        rows.append((f"ISO {setting.iso:g}, {setting.plane}", *(_short(each) for each in values)))
    return _table(("setting", *SUMMARY.values()), rows, numbers=len(SUMMARY))


def _short(measured: Measurement | None) -> str:
    if measured is None:
        return "–"
    # Published values have no standard error that sets their decimals.
    return f"{measured.value:,.{measured.decimals}f}" if measured.standard_error else f"{measured.value:.4g}"


def _tables(setting: Setting) -> list[str]:
    """What has an error bar, and below it what has none."""
    measured = []
    for name, estimate in setting.estimates.items():
        value = str(estimate).removesuffix(estimate.unit)
        measured.append((QUANTITIES[name].meaning, value, estimate.interval_text, estimate.unit))
    facts = [said(name, value) for name, value in setting.facts.items()]
    tables = []
    if measured:
        tables.append(_table(("quantity", "value ± standard error", "95 % interval", "unit"), measured, numbers=2))
    if facts:
        tables.append(_table(("without an error bar", "value", "unit"), facts, numbers=1))
    if setting.absent:
        # A figure in DN and in e⁻ has one meaning.
        absent = [*dict.fromkeys((meaning_of(name), reason) for name, reason in setting.absent.items())]
        tables.append(_table(("absent", "why"), absent, numbers=0))
    return tables


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: int) -> str:
    """A name, `numbers` columns of numbers to the right, and words to the left."""
    inner = range(1, 1 + numbers)
    lines = [
        "".join(f"<{kind}{' class=n' if index in inner else ''}>{_signs(cell)}</{kind}>" for index, cell in cells)
        for kind, cells in [("th", enumerate(head)), *(("td", enumerate(row)) for row in rows)]
    ]
    return f"<div class='wide'><table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table></div>"


def _signs(text: str) -> str:
    """HTML of a cell, with real minus signs and e⁻; an interval breaks behind its dots alone."""
    return re.sub(r"(?<=\d) …", "&nbsp;…", html_text(re.sub(r"-(?=\d)", "−", text.strip()).replace("e-", "e⁻")))
