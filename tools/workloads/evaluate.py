"""How long it takes to score 10⁸ pixels, and in how much memory, each run in a fresh process.

python -m tools.workloads.evaluate --page docs/performance.md
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch

from noiseflow.evaluate import evaluate
from noiseflow.fit import spec_for
from noiseflow.fit.batches import gather
from noiseflow.models import build
from noiseflow.models.noise_statistics import start_from
from noiseflow.patches.assembly.writer import StoreWriter
from noiseflow.patches.schema import SPLITS, fields
from noiseflow.patches.store.store import PatchStore
from tools.benching.page import put_table
from tools.workloads.memory import Peaks, in_fresh_process, watched

SIZE, BLACK, WHITE = 32, 64.0, 4095.0
GAIN, READ = 0.5, 3.0
PATCHES_A_FRAME = 100


COLUMNS = ("pixels scored", "s on two cores", "own memory, MiB", "with mapped files, MiB")


@click.command()
@click.option("--pixels", type=float, multiple=True, default=(1e7, 1e8), show_default=True, help="Values to score.")
@click.option("--threads", type=int, default=2, show_default=True)
@click.option("--baseline/--no-baseline", default=False, show_default=True, help="Score gaussian beside nlf.")
@click.option("--page", type=click.Path(path_type=Path, exists=True), help="Page to put the table in.")
def main(pixels: tuple[float, ...], threads: int, baseline: bool, page: Path | None) -> None:
    """Time `evaluate` of nlf on made data of so many pixels; the store is made first and not timed."""
    click.echo(f"torch {torch.__version__}, {threads} threads")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for values in sorted(pixels):
            path = Path(folder) / f"{values:.0f}.h5"
            make(path, round(values / (4 * SIZE**2)))
            names = ("nlf", "gaussian")[: 1 + baseline]
            run: Run = in_fresh_process(scored, path, names, threads)
            path.unlink()
            click.echo(
                f"{run.pixels:,} pixels, {', '.join(names)}: {run.seconds:.1f} s ({run.processor_s:.1f} s of "
                f"processors), {run.pixels / run.seconds / 1e6:.2f} million a second; peak of own memory "
                f"{run.peaks.own:.0f} MiB ({run.before.own:.0f} before), with pages of mapped files "
                f"{run.peaks.total:.0f} MiB; {run.close_values:,} values looked at closely"
            )
            figures = (f"{run.pixels:,}", f"{run.seconds:.1f}", f"{run.peaks.own:.0f}", f"{run.peaks.total:.0f}")
            rows.append(figures)
    if page is not None:
        put_table(page, COLUMNS, rows)


@dataclass(frozen=True)
class Run:
    """One evaluation: its time and memory."""

    pixels: int
    close_values: int
    seconds: float
    processor_s: float
    before: Peaks
    peaks: Peaks


def scored(path: Path, names: tuple[str, ...], threads: int) -> Run:
    """Score models on a store, watched."""
    torch.set_num_threads(threads)
    with PatchStore(path) as store:
        models = {name: build(spec_for(store, name)).eval() for name in names}
        for model in models.values():
            start_from(model, gather(store))
        before = Peaks()
        before.look()
        with watched() as peaks:
            began, processor = time.monotonic(), time.process_time()
            found = evaluate(models, store)
            seconds, processor = time.monotonic() - began, time.process_time() - processor
    values = found.data.patches * 4 * SIZE**2
    return Run(values, found.data.close_values, seconds, processor, before, peaks)


def make(path: Path, patches: int) -> None:
    """A store of Poisson–Gaussian noise: a few training patches, the rest to score."""
    rng = np.random.default_rng(0)
    with StoreWriter(path, layout="bayer", patch_size=SIZE, pairing="gt", provenance={}) as writer:
        left, frame = patches, 0
        while left > 0:
            n = min(PATCHES_A_FRAME, left)
            for split, count in (("train", 2), ("test", n)):
                level = np.linspace(2, 55, count)[:, None, None, None] ** 2
                clean = np.broadcast_to(level * np.linspace(0.8, 1.2, SIZE), (count, 4, SIZE, SIZE))
                noise = rng.normal(size=clean.shape) * np.sqrt(GAIN * clean + READ**2)
                table = np.zeros(count, fields(4))
                table["camera"], table["iso"] = writer.label("cameras", "made"), (100, 800)[frame % 2]
                table["scene"], table["source"] = writer.label("scenes", f"{frame}"), writer.label("sources", "made")
                table["y"], table["black"], table["white"] = SIZE * np.arange(count), BLACK, WHITE
                table["split"] = SPLITS.index(split)
                writer.append(np.rint((clean + noise + BLACK).clip(0, WHITE)), clean + BLACK, table)
            left, frame = left - n, frame + 1


if __name__ == "__main__":
    main()
