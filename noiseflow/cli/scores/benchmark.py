"""``noiseflow benchmark``."""

from pathlib import Path

import click

from noiseflow.cli.interrupts import Kept, keeps
from noiseflow.cli.options import PATH, device_option, json_option, out_option, print_json
from noiseflow.cli.progress import shown
from noiseflow.cli.streams import answer
from noiseflow.core.errors import NoiseflowError

__all__ = ["benchmark"]


@click.command()
@click.argument("spec", type=PATH)
@out_option("Folder of data, runs, reports and the table; finished cells in it are kept.")
@device_option
@json_option
@click.option(
    "--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Cells at a time, each in a process."
)
@click.option("--scheduler", help="Address of a Dask scheduler to work on, such as tcp://host:8786.")
def benchmark(spec: Path, out: Path, device: str, as_json: bool, jobs: int, scheduler: str | None) -> None:
    """Fit and score the models in SPEC, a TOML file, on its data; write one table.

    The same command continues where it stopped. A spec lists [[data]] (camera, sources or
    store) and [[model]] (fitted, or a run folder).

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
    else:
        answer(markdown(wanted, rows))
        answer(f"page: {out / 'index.html'}")
    failed = [row for row in rows if "error" in row]
    if failed:
        first = failed[0]
        raise NoiseflowError(
            f"{len(failed)} of {len(rows)} cells failed; {first['model']} on {first['data']}: {first['error']}"
        )
