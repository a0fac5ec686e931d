"""How long `noiseflow demo` takes, stage by stage, with and without kernels in its fit, each in a fresh process.

python -m tools.bench_demo --page docs/performance.md
"""

import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import torch

from noiseflow.demo import demo
from noiseflow.fit import engine
from noiseflow.progress import Progress, silent
from tools.memory import in_fresh_process
from tools.page import put_table

COLUMNS = ("`noiseflow demo`, s of one processor", "before", "with kernels in every fit")
BEFORE = 10**12
"""Patches that no training has: its fit took PyTorch's operations."""


@click.command()
@click.option("--scenes", default=30, show_default=True, help="Of the demo.")
@click.option("--page", type=click.Path(path_type=Path, exists=True), help="Page to put the table in.")
def main(scenes: int, page: Path | None) -> None:
    """Time the demo twice, by the processor, so that other work on the machine counts little."""
    before, after = (in_fresh_process(timed, scenes, start) for start in (BEFORE, engine.COMPILED_FROM))
    rows = [(stage, f"{before[stage]:.1f}", f"{after[stage]:.1f}") for stage in before]
    for row in rows:
        click.echo("{}: {} s, {} s".format(*row))
    if page is not None:
        put_table(page, COLUMNS, rows)


def timed(scenes: int, kernels_from: int) -> dict[str, float]:
    """Processor time of each stage, and of all with what lies between, s."""
    torch.set_num_threads(1)
    engine.COMPILED_FROM = kernels_from
    spent: dict[str, float] = {}

    @contextmanager
    def stage(title: str, unit: str) -> Iterator[Progress]:
        began = processor_s()
        yield silent
        spent[title] = processor_s() - began

    began = processor_s()
    with tempfile.TemporaryDirectory() as folder:
        demo(Path(folder) / "demo", scenes=scenes, stage=stage)
    return {**spent, "all": processor_s() - began}


def processor_s() -> float:
    """Of this process and of those that it started."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


if __name__ == "__main__":
    main()
