"""How long `noiseflow demo` takes, stage by stage, with and without kernels, each in a fresh process.

python -m tools.workloads.demo --page docs/performance.md
"""

import os
import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import click
import torch

from noiseflow.cli.workflows.demo import demo
from noiseflow.core.progress import Progress, silent
from noiseflow.fit.training import engine
from noiseflow.ops.native import compiled
from tools.benching.page import put_table
from tools.workloads.memory import in_fresh_process

COLUMNS = ("`noiseflow demo`, s of one processor", "PyTorch's operations", "kernels, which are built", "built already")
NEVER = 10**12
"""Patches that no training has."""


@click.command()
@click.option("--scenes", default=30, show_default=True, help="Of the demo.")
@click.option("--page", type=click.Path(path_type=Path, exists=True), help="Page to put the table in.")
def main(scenes: int, page: Path | None) -> None:
    """Time the demo three times, by the processor, so that other work on the machine counts little."""
    with tempfile.TemporaryDirectory() as cache:
        times = [in_fresh_process(timed, scenes, kernels, cache) for kernels in (False, True, True)]
    rows = [(stage, *(f"{each[stage]:.1f}" for each in times)) for stage in times[0]]
    for row in rows:
        click.echo("{}: {} s, {} s, {} s".format(*row))
    if page is not None:
        put_table(page, COLUMNS, rows)


def timed(scenes: int, kernels: bool, cache: str) -> dict[str, float]:
    """Processor time of each stage, and of all with what lies between, s; kernels are kept in a folder of its own."""
    torch.set_num_threads(1)
    os.environ["XDG_CACHE_HOME"] = cache
    if not kernels:
        engine.COMPILED_FROM = NEVER
    spent: dict[str, float] = {}

    @contextmanager
    def stage(title: str, unit: str) -> Iterator[Progress]:
        began = processor_s()
        yield silent
        spent[title] = processor_s() - began

    began = processor_s()
    with tempfile.TemporaryDirectory() as folder, nullcontext() if kernels else compiled(False):
        demo(Path(folder) / "demo", scenes=scenes, stage=stage)
    return {**spent, "all": processor_s() - began}


def processor_s() -> float:
    """Of this process and of those that it started."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


if __name__ == "__main__":
    main()
