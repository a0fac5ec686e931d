"""One self-contained HTML page per camera, in EMVA 1288's terms."""

import re
from collections.abc import Sequence
from pathlib import Path

from noiseflow.calibrate.measured import Calibration
from noiseflow.calibrate.measurement import Measurement
from noiseflow.calibrate.profiles.facts import fact_cells, meaning_of
from noiseflow.calibrate.profiles.profile import QUANTITIES, Profile, Setting
from noiseflow.calibrate.report.figures import figures, gain_figure
from noiseflow.calibrate.report.style import STYLE
from noiseflow.core.output.checks import writing
from noiseflow.core.output.marks import MARK, sealed_html
from noiseflow.core.output.whole import write_bytes
from noiseflow.core.sortable import SORT_SCRIPT, SORT_STYLE
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
"""Columns of the summary: estimates and their headings."""


def write_page(calibration: Calibration, path: str | Path, *, overwrite: bool = False) -> None:
    """Write the HTML page of a calibration; the file appears under its name only when complete.

    Parameters
    ----------
    calibration : Calibration
        Profile and evidence; figures without data are left out.
    path : path
        HTML file to write.
    overwrite : bool
        Whether to replace an existing page that noiseflow wrote.

    Raises
    ------
    OutputError
        The file exists and may not be replaced, or cannot be written.
    """
    profile = calibration.profile
    parts = [
        f"<!doctype html><html lang='en'><meta charset='utf-8'>{GENERATOR}"
        "<meta name='viewport' content='width=device-width,initial-scale=1'>"
        f"<title>{html_text(profile.camera)}</title>",
        f"<style>{STYLE}{SORT_STYLE}</style><h1>{html_text(profile.camera)}</h1>",
        f"<p>Layout {profile.layout}, white level {profile.white_dn:g} DN. "
        f"{html_text(str(profile.provenance.get('method', '')))}; sources: "
        f"{html_text(', '.join(map(str, profile.provenance.get('sources', []))))}.</p>",
        *(f"<p class='caution'>{html_text(caution)}</p>" for caution in profile.cautions),
    ]
    parts += [_contents(profile), "<h2 id='summary'>Summary</h2>", f"<div class='summary'>{_summary(profile)}</div>"]
    if len(profile.isos) > 1:
        parts.append("<h2 id='gain'>Gain versus ISO</h2>" + gain_figure(profile))
    for setting in profile.settings:
        parts.append(f"<h2 id='{_place(setting)}'>{profile.name_of(setting)} ({setting.kind})</h2>")
        parts += [f"<p class='caution'>{html_text(caution)}</p>" for caution in setting.cautions]
        parts += _tables(setting)
        shown = calibration.evidence.get((setting.iso, setting.plane))
        if shown is not None:
            parts += figures(setting, shown, plane_names(profile.layout))
    with writing(path, overwrite=overwrite) as path:
        write_bytes(path, sealed_html("\n".join([*parts, SORT_SCRIPT]) + "</html>\n"), replace=overwrite)


def _contents(profile: Profile) -> str:
    """Return links to the sections of the page."""
    places = {"summary": "Summary"} | ({"gain": "Gain versus ISO"} if len(profile.isos) > 1 else {})
    places |= {_place(setting): profile.name_of(setting, "") for setting in profile.settings}
    return "<nav>" + "".join(f"<a href='#{place}'>{html_text(words)}</a>" for place, words in places.items()) + "</nav>"


def _place(setting: Setting) -> str:
    """Return the anchor of a setting's section."""
    return html_text(f"iso-{setting.iso:g}-{setting.plane}")


def _summary(profile: Profile) -> str:
    """Return a table with one row per ISO and plane, and a dash for each quantity that was not measured."""
    rows = []
    for setting in profile.settings:
        values = [setting.estimates.get(name) for name in SUMMARY]
        rows.append((profile.name_of(setting, ""), *(_short(each) for each in values)))
    table = _table(("setting", *SUMMARY.values()), rows, numbers=len(SUMMARY), sort=" data-sort='rows'")
    return f"<p class='sorts' hidden>Click a column's heading to sort by it.</p>{table}"


def _short(measured: Measurement | None) -> str:
    """Return the value of a measurement for the summary."""
    if measured is None:
        return "–"
    # Published values have no standard error to set the number of decimals.
    return f"{measured.value:,.{measured.decimals}f}" if measured.standard_error else f"{measured.value:.4g}"


def _tables(setting: Setting) -> list[str]:
    """Return tables of the estimates, the facts without an error bar, and what is absent and why."""
    measured = []
    for name, estimate in setting.estimates.items():
        value = str(estimate).removesuffix(estimate.unit)
        measured.append((QUANTITIES[name].meaning, value, estimate.interval_text, estimate.unit))
    facts = [fact_cells(name, value) for name, value in setting.facts.items()]
    tables = []
    if measured:
        tables.append(_table(("quantity", "value ± standard error", "95 % interval", "unit"), measured, numbers=2))
    if facts:
        tables.append(_table(("without an error bar", "value", "unit"), facts, numbers=1))
    if setting.absent:
        # A quantity in DN and in e⁻ has one meaning, and is listed once.
        absent = [*dict.fromkeys((meaning_of(name), reason) for name, reason in setting.absent.items())]
        tables.append(_table(("not measured", "reason"), absent, numbers=0))
    return tables


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: int, sort: str = "") -> str:
    """Return a table whose first column is a name, the next `numbers` are right-aligned, and the rest text."""
    inner = range(1, 1 + numbers)
    first, *lines = [
        "".join(f"<{kind}{' class=n' if index in inner else ''}>{_signs(cell)}</{kind}>" for index, cell in cells)
        for kind, cells in [("th", enumerate(head)), *(("td", enumerate(row)) for row in rows)]
    ]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<div class='wide'><table{sort}><thead><tr>{first}</tr></thead><tbody>{body}</tbody></table></div>"


def _signs(text: str) -> str:
    """Return the HTML of a cell with typographic minus and e⁻; an interval may break only after its dots."""
    return re.sub(r"(?<=\d) …", "&nbsp;…", html_text(re.sub(r"-(?=\d)", "−", text.strip()).replace("e-", "e⁻")))
