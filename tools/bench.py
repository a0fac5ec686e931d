"""How fast a model trains, samples and reads, as ratios to plain layers, nflows and `torch.randn` in the same run.

python -m tools.bench --page docs/performance.md
python -m tools.bench --quick
python -m tools.bench --device cuda --page docs/performance.md
"""

import json
import os
from dataclasses import asdict, replace
from pathlib import Path

import click
import torch

from tools.benching.curves import WORK, draw
from tools.benching.gpu import BATCHES, gpu_page, gpu_rows
from tools.benching.machine import processor
from tools.benching.page import put_between
from tools.benching.subjects import MODELS, PLAIN, Point
from tools.benching.sweep import FULL, SHORT, TINY, Found, sweep
from tools.benching.timing import Times, times_at
from tools.benching.words import lines, page_of

SPEED, ON_GPU = "speed of noise_flow and physics_flow", "speed on a GPU"
"""Marks on the page."""


@click.command()
@click.option("--quick", is_flag=True, help="One size alone, and no memory, reading or page.")
@click.option("--short", is_flag=True, help="Some of the sizes, in a third of the time.")
@click.option("--batch", default=138, show_default=True, help="Patches, with --quick.")
@click.option("--side", default=32, show_default=True, help="Pixels of a plane, with --quick.")
@click.option("--threads", default=1, show_default=True, help="Of torch, with --quick.")
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda; on cuda absolute figures.")
@click.option("--second/--no-second", default=True, show_default=True, help="Two threads too, on an idle machine.")
@click.option("--tiny", is_flag=True, hidden=True, help="Sizes that show the tool runs, and nothing else.")
@click.option("--page", type=click.Path(path_type=Path, exists=True), help="Page to put tables and pictures in.")
@click.option("--json", "json_out", type=click.Path(path_type=Path), help="Write the figures there.")
def main(
    quick: bool,
    short: bool,
    batch: int,
    side: int,
    threads: int,
    device: str,
    second: bool,
    tiny: bool,
    page: Path | None,
    json_out: Path | None,
) -> None:
    """Time steps of training, and samples, of plain layers, nflows and this package, by size and threads."""
    if device != "cpu":
        rows = gpu_rows(device, BATCHES)
        click.echo(gpu_page(rows, device))
        if page is not None:
            put_between(page, ON_GPU, gpu_page(rows, device))
        return
    click.echo(f"{processor()}; load of the machine {os.getloadavg()[0]:.1f}")
    if quick:
        _quick(Point(batch, side, threads=threads), json_out)
        return
    click.echo(f"torch {torch.__version__}")
    found = sweep(TINY if tiny else SHORT if short else FULL, click.echo, second=second)
    for line in lines(found):
        click.echo(line)
    click.echo(page_of(found))
    if page is not None:
        for what in WORK:
            draw(found, what, page.parent / "images" / f"performance-{what}.png")
        put_between(page, SPEED, page_of(found))
    if json_out is not None:
        json_out.write_text(json.dumps(_plain(found), indent=2) + "\n", encoding="utf-8")


def _quick(point: Point, json_out: Path | None) -> None:
    times: Times = times_at(point, MODELS)
    for what, each in times.items():
        for name, seconds in each.items():
            rate = f"{point.batch / seconds:.0f} patches/s"
            if what == "sampling":
                rate = f"{point.pixels / seconds / 1e6:.1f} Mpix/s"
            click.echo(f"{what:9} {name:24} {rate:>15}  {each[PLAIN] / seconds:.2f} × plain layers")
    if json_out is not None:
        json_out.write_text(json.dumps(times, indent=2) + "\n", encoding="utf-8")


def _plain(found: Found) -> dict[str, object]:
    times = [{"point": asdict(point), **each} for point, each in found.times.items()]
    return {**asdict(replace(found, times={})), "times": times}


if __name__ == "__main__":
    main()
