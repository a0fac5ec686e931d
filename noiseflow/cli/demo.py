"""``noiseflow demo``."""

import time
from pathlib import Path

import click

from noiseflow.cli.interrupts import Kept, keeps
from noiseflow.cli.options import PATH, device_option, overwrite_option, seed_option
from noiseflow.cli.progress import shown
from noiseflow.cli.streams import answer

__all__ = ["demo"]


@click.command()
@click.argument("out", type=PATH)
@device_option
@seed_option
@overwrite_option
def demo(out: Path, device: str, seed: int, overwrite: bool) -> None:
    """Run the whole workflow on a simulated camera; no data needed.

    Simulates raw files, ingests them, fits a physics flow, samples a noisy frame, evaluates the
    model and writes a report, all in the folder OUT.

    \b
    noiseflow demo demo/
    """  # noqa: D301
    from noiseflow.cli.table import print_scores
    from noiseflow.cli.workflows.demo import demo as run

    stood = out.is_dir() and any(out.iterdir())
    kept = f"the earlier demo is still in {out}" if stood else f"finished parts are in {out}"
    keeps(lambda: Kept(kept, "--overwrite") if out.is_dir() else None)
    began = time.monotonic()
    result = run(out, seed=seed, device=device, overwrite=overwrite, stage=shown)
    print_scores(result.evaluation)
    answer(f"raw files  {result.raws}")
    answer(f"patches    {result.store}")
    answer(f"model      {result.run}")
    answer(f"sampled    {result.sample}")
    answer(f"report     {result.report / 'index.html'}")
    answer(f"done in {time.monotonic() - began:.0f} s")
