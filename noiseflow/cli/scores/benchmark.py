"""``noiseflow benchmark``."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from noiseflow.cli.interrupts import Kept, keeps
from noiseflow.cli.options import PATH, device_option, json_option, out_option, print_json
from noiseflow.cli.progress import shown
from noiseflow.cli.streams import answer
from noiseflow.core.errors import NoiseflowError

if TYPE_CHECKING:
    from noiseflow.evaluate.benchmark.spec import BenchmarkSpec

__all__ = ["benchmark", "print_results"]


@click.command()
@click.argument("spec", type=PATH)
@out_option("Folder for data, runs, reports and the table; finished cells in it are kept.")
@device_option
@json_option
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Number of cells fitted at the same time, each in its own process.",
)
@click.option("--scheduler", help="Address of a Dask scheduler that runs the work, such as tcp://host:8786.")
def benchmark(spec: Path, out: Path, device: str, as_json: bool, jobs: int, scheduler: str | None) -> None:
    """Fit and score every model in SPEC, a TOML file, on every data set in it; write one table.

    A cell of the table is one model on one data set. If the command was stopped, run it again
    to continue. SPEC lists [[data]] (a camera, sources or a store) and [[model]] (to be fitted,
    or a run folder).

    \b
    noiseflow benchmark spec.toml --out results/
    """  # noqa: D301
    from noiseflow.core.output.checks import check_output
    from noiseflow.evaluate.benchmark.page import markdown
    from noiseflow.evaluate.benchmark.run_benchmark import benchmark as run
    from noiseflow.evaluate.benchmark.spec import read_spec
    from noiseflow.fit.training.session import device_of

    wanted = read_spec(spec)
    check_output(out, folder=True, inputs=[spec], goes_on=True)
    keeps(lambda: Kept(f"finished cells are kept in {out}") if out.is_dir() else None)
    with shown("benchmark", "cells") as progress:
        rows = run(wanted, out, jobs=jobs, scheduler=scheduler, device=str(device_of(device)), progress=progress)
    if as_json:
        print_json(rows)
    elif sys.stdout.isatty():
        print_results(wanted, rows)
        answer(f"page: {out / 'index.html'}")
    else:
        answer(markdown(wanted, rows))
        answer(f"page: {out / 'index.html'}")
    failed = [row for row in rows if "error" in row]
    if failed:
        first = failed[0]
        raise NoiseflowError(
            f"{len(failed)} of {len(rows)} cells failed; {first['model']} on {first['data']}: {first['error']}"
        )


def print_results(spec: "BenchmarkSpec", rows: Sequence[Mapping[str, Any]]) -> None:
    """Print one table for each data set: one row for each measure, one column for each model.

    Columns of text and failed cells follow as lines, because they would be too wide for the table.
    """
    from noiseflow.cli.table import print_table
    from noiseflow.evaluate.benchmark.page import NOTES, WORDS, cells_of, columns_of

    headings = columns_of(spec)
    for data in spec.data:
        found = [(cells_of(row, spec.metrics), row) for row in rows if row["data"] == data.name]
        scored = [dict(zip(headings, cells, strict=True)) for cells, row in found if "error" not in row]
        answer(f"{data.name}, split {spec.split}")
        numbers = [heading for heading in headings if heading not in WORDS]
        names = [each["model"] for each in scored]
        print_table("measure", names, {of: {each["model"]: each[of] for each in scored} for of in numbers})
        for words in WORDS[1:]:
            for each in scored:
                if words in each:
                    answer(f"  {words} of {each['model']}: {each[words]}")
        for cells, row in found:
            if "error" in row:
                answer(f"  {cells[0]}: {cells[1]}")
        answer("")
    answer(NOTES)
