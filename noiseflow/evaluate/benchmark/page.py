"""The table of a benchmark as JSON, as Markdown for documentation, and as an HTML page with links."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from noiseflow.core.output.listed import write_listed
from noiseflow.core.text import markdown_text
from noiseflow.core.version import __version__
from noiseflow.evaluate.benchmark.spec import BenchmarkSpec
from noiseflow.evaluate.presentation.formatting import number, plus_minus, significant
from noiseflow.evaluate.presentation.html import render
from noiseflow.evaluate.statistics.intervals import Interval

__all__ = ["COLUMNS", "NOTES", "WORDS", "cells_of", "columns_of", "markdown", "write_results"]

COLUMNS = (
    "model",
    "NLL, nats/dim",
    "NLL, nats/pixel in DN",
    "NLL of the codes, nats/pixel",
    "better than {reference}, nats/dim",
    "behind the oracle, nats/dim",
    "KL, nats (floor)",
    "variance, sampled/real",
    "two-sample test, %",
    "faults",
    "parameters",
    "fit, s",
    "samples, Mpix/s",
    "an ISO left out costs, nats/dim",
)
OF_LIKELIHOOD = (0, 1, 2, 3, 4, 5, len(COLUMNS) - 1)
"""Places in `COLUMNS` of the first of two tables in Markdown, which would be too wide for a page as one."""

WORDS = ("model", "faults", "stronger two-sample tests, %")
"""Columns of text, which are left-aligned; columns of numbers are right-aligned."""

Row = Mapping[str, Any]

ADDED = {
    "judges": ("stronger two-sample tests, %",),
    "proper_scores": ("CRPS above real, σ", "energy above real, σ"),
}
"""Columns of each additional metric."""


def write_results(spec: BenchmarkSpec, rows: Sequence[Row], out: Path) -> None:
    """Write ``results.json``, ``results.md`` and ``index.html``.

    Parameters
    ----------
    spec : BenchmarkSpec
        The benchmark.
    rows : sequence of mapping
        Rows of the table, in order.
    out : Path
        Folder of the benchmark.
    """
    content = {"title": spec.title, "noiseflow": __version__, "seed": spec.seed, "split": spec.split, "rows": rows}
    write_listed(out, "results.json", (json.dumps(content, indent=1) + "\n").encode())
    write_listed(out, "results.md", markdown(spec, rows).encode())
    page = render(
        "benchmark.html.j2",
        spec=spec,
        version=__version__,
        columns=columns_of(spec),
        words=WORDS,
        tables=[
            (data.name, [(cells_of(row, spec.metrics), _link(row)) for row in rows if row["data"] == data.name])
            for data in spec.data
        ],
        notes=NOTES,
    )
    write_listed(out, "index.html", page.encode())


NOTES = (
    "NLL uses the natural log; lower is better. “Better than the reference” and “behind the oracle” are paired "
    "differences, ± half of their 95 % interval over scenes (over frames with fewer than 8 scenes). The floor of the "
    "KL is the KL between two halves of the data. Two-sample test: held-out accuracy of a small classifier, ± half of "
    "its 99.5 % interval; 50 % is chance. Faults: checks of samples and calibration that the model’s report flags. "
    "Samples: mosaic pixels per second, for frames of 1 Mpix, on the CPU that ran the benchmark. An ISO left out: "
    "increase of the NLL at that ISO of a fit without it."
)


def markdown(spec: BenchmarkSpec, rows: Sequence[Row]) -> str:
    """Return two Markdown tables per data set, likelihoods and scores of samples, with notes.

    Parameters
    ----------
    spec : BenchmarkSpec
        The benchmark.
    rows : sequence of mapping
        Rows of the table.

    Returns
    -------
    str
        Markdown.
    """
    lines = []
    for data in spec.data:
        of_data = [row for row in rows if row["data"] == data.name]
        fingerprint = next((row["fingerprint"][:12] for row in of_data if "fingerprint" in row), "none")
        groups = next((f", {row['patches']:,} patches of {row['groups']}" for row in of_data if "groups" in row), "")
        lines += [f"### {data.name}", "", f"Split `{spec.split}`{groups}; fingerprint `{fingerprint}`.", ""]
        lines += _table(spec, of_data, OF_LIKELIHOOD)
        rest = [place for place in range(len(columns_of(spec))) if place == 0 or place not in OF_LIKELIHOOD]
        lines += _table(spec, [row for row in of_data if "error" not in row], rest)
    return "\n".join([*lines, NOTES, ""])


def _table(spec: BenchmarkSpec, rows: Sequence[Row], places: Sequence[int]) -> list[str]:
    """Return the lines of a Markdown table with some of the columns; none without rows."""
    if not rows:
        return []
    columns, cells = columns_of(spec), [cells_of(row, spec.metrics) for row in rows]
    # Rows of other people and error messages may contain any text.
    shown = [[columns[place] for place in places], *([markdown_text(row[place]) for place in places] for row in cells)]
    head, *body = ("| " + " | ".join(row) + " |" for row in shown)
    return [head, "|---" * len(places) + "|", *body, ""]


def columns_of(spec: BenchmarkSpec) -> list[str]:
    """Return the headings of the table, including those of additional metrics."""
    added = [column for metric in spec.metrics for column in ADDED[metric]]
    return [column.format(reference=spec.reference) for column in COLUMNS] + added


def cells_of(row: Row, metrics: Sequence[str] = ()) -> list[str]:
    """Return the cells of a row as text.

    Parameters
    ----------
    row : mapping
        Row of the table.
    metrics : sequence of str
        Additional metrics, whose columns follow the others.

    Returns
    -------
    list of str
        One text per column; after the name, a failed row has its error and empty cells.
    """
    if "error" in row:
        count = len(COLUMNS) + sum(len(ADDED[metric]) for metric in metrics)
        return [row["model"], f"failed: {row['error']}", *[""] * (count - 2)]
    kl, ratio, two_sample = (_estimate(row[name]) for name in ("kl", "variance_ratio", "two_sample"))
    return [
        f"{row['model']} ({Path(row['from']).parent.name})" if "from" in row else row["model"],
        number(_value(row["nats_per_dim"]), 4),
        number(_value(row["nats_per_pixel_dn"]), 4),
        ("≤ " if row["codes_kind"] == "bound" else "") + number(_value(row["nats_per_pixel_codes"]), 4),
        _text(row["better_than_reference"], 5),
        _text(row["behind_oracle"], 5),
        f"{plus_minus(kl.within(0.0), 6)} ({significant(row['kl_floor'])})" if kl else "–",
        plus_minus(ratio.within(0.0), 3) if ratio else "–",
        plus_minus(two_sample.within(0.0, 1.0).scaled(100.0), 1) if two_sample else "–",
        ", ".join(row["faults"]).replace("_", " ") or "none",
        f"{row['parameters']:,}",
        f"{row['fit_s']:.0f}",
        "–" if row["mpix_per_s"] is None else significant(row["mpix_per_s"]),
        _left_out(row),
        *(cell for metric in metrics for cell in _added(row, metric)),
    ]


def _added(row: Row, metric: str) -> list[str]:
    """Return the cells of an additional metric."""
    if metric == "judges":
        accuracy = {judge: _estimate(value) for judge, value in row.get("judges", {}).items()}
        cells = [f"{judge} {plus_minus(each.scaled(100.0), 1)}" for judge, each in accuracy.items() if each is not None]
        return [", ".join(cells) or "–"]
    return [_text(row.get(name), 5) for name in ("crps_excess", "energy_excess")]


def _left_out(row: Row) -> str:
    cost = row.get("iso_left_out")
    return f"{_text(cost['nats_per_dim'], 5)} (ISO {cost['iso']:g})" if cost else "–"


def _link(row: Row) -> str:
    return "" if "error" in row or "from" in row else quote(f"cells/{row['data']}/{row['model']}/report/index.html")


def _estimate(value: Mapping[str, Any] | None) -> Interval | None:
    if value is None or value["value"] is None:
        return None
    return Interval(value["value"], value["standard_error"], value["low"], value["high"], value["groups"])


def _value(value: Mapping[str, Any] | None) -> float | None:
    estimate = _estimate(value)
    return None if estimate is None else estimate.value


def _text(value: Mapping[str, Any] | None, decimals: int) -> str:
    estimate = _estimate(value)
    return "–" if estimate is None else plus_minus(estimate, decimals)
