"""The report folder: a self-contained HTML page, and the numbers behind it."""

import csv
import io
import math
from dataclasses import asdict, fields
from pathlib import Path

from noiseflow.core.output.checks import writing
from noiseflow.core.output.folder import whole_folder
from noiseflow.core.output.whole import write_text
from noiseflow.core.progress import Progress, silent
from noiseflow.core.text import counted, csv_cell
from noiseflow.core.version import __version__
from noiseflow.evaluate.metric import DATA, as_json
from noiseflow.evaluate.presentation.figures import draw_examples, pens_for
from noiseflow.evaluate.presentation.formatting import percent
from noiseflow.evaluate.presentation.html import render
from noiseflow.evaluate.presentation.present import LIKELIHOODS, sections
from noiseflow.evaluate.presentation.presenter import Finding, Record
from noiseflow.evaluate.report.evaluation_result import Evaluation

__all__ = ["FILES", "page", "write_report"]

FILES = ("index.html", "metrics.csv", "metrics.json")
MARKS = {"good": ("✓", "good"), "bad": ("✗", "fault"), "open": ("?", "not settled")}


def write_report(
    evaluation: Evaluation, out: str | Path, *, overwrite: bool = False, progress: Progress = silent
) -> Path:
    """Write a report folder: ``index.html``, ``metrics.json`` and ``metrics.csv``.

    The folder is written under another name and then moved, so that it appears only when complete.

    Parameters
    ----------
    evaluation : Evaluation
        Scores to report.
    out : path
        Folder to write.
    overwrite : bool
        Whether to replace an existing report in `out`.
    progress : Progress
        Called with the number of sections drawn.

    Returns
    -------
    Path
        The page, ``index.html``.

    Raises
    ------
    OutputError
        `out` exists and may not be replaced, or its parent does not exist.
    """
    with (
        writing(out, folder=True, overwrite=overwrite) as out,
        whole_folder(out, "report", overwrite=overwrite) as partial,
    ):
        contents = (page(evaluation, progress), _csv(evaluation.records()), evaluation.to_json())
        for name, text in zip(FILES, contents, strict=True):
            write_text(partial / name, text)
    return out / "index.html"


def page(evaluation: Evaluation, progress: Progress = silent) -> str:
    """Render the report as one self-contained HTML page.

    Parameters
    ----------
    evaluation : Evaluation
        Scores to report.
    progress : Progress
        Called with the number of sections drawn.

    Returns
    -------
    str
        HTML.
    """
    evaluation = evaluation.presentable()
    pens = pens_for(DATA, evaluation.models)
    data = evaluation.data
    facts = {
        "Data": Path(data.store).name,
        "Split": f"{data.split}, {counted(data.patches, 'patch', 'patches')}"
        + (f" of {data.patches_in_split:,}, drawn at random" if data.patches < data.patches_in_split else ""),
        "Patch": f"{data.patch_shape[0]} × {data.patch_shape[1]} × {data.patch_shape[2]}, {data.layout}",
        "Frames": f"{data.frames:,}",
        "Intervals over": f"{counted(data.groups, data.group_is)} (of one camera and ISO)",
        "Used by expensive checks": f"{data.close_values:,} of {data.patches * math.prod(data.patch_shape):,} values",
        "Clipped": f"{percent(data.clipped, 2)} of the pixels",
        "Cameras": ", ".join(data.cameras),
        "ISO": ", ".join(f"{iso:g}" for iso in data.isos),
        "Clean signal": CLEAN.get(data.pairing, data.pairing),
        "Seed": str(evaluation.seed),
        "Checksum": data.fingerprint[:12],
        "Made by": f"noiseflow {__version__}",
    }
    return render(
        "report.html.j2",
        evaluation=evaluation,
        facts=facts,
        marks=MARKS,
        findings=_in_order(evaluation),
        columns=(DATA, *evaluation.models),
        colours={name: pen.colour for name, pen in pens.items()},
        table=evaluation.table(),
        examples=draw_examples(evaluation.examples, evaluation.tested),
        sections=sections(evaluation.scores, pens, progress),
    )


def _in_order(evaluation: Evaluation) -> list[Finding]:
    """Return the findings in reading order: likelihood, then faults, open questions, and what is good."""
    levels = ("bad", "open", "good")
    return sorted(
        evaluation.findings,
        key=lambda finding: -1 if finding.measure in LIKELIHOODS else levels.index(finding.level),
    )


CLEAN = {
    "gt": "clean twin",
    "burst": "mean of the scene’s other frames",
    "flat": "level of each frame × pattern of the pixels’ sensitivities",
    "dark": "mean of the other dark frames",
}
"""Description of the clean signal of each pairing."""


def _csv(records: tuple[Record, ...]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Record)], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: csv_cell(as_json(value)) for name, value in asdict(record).items()} for record in records)
    return text.getvalue()
