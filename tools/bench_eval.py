"""How long it takes to score 10⁸ pixels, and in how much memory.

python -m tools.bench_eval
"""

import resource
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import torch

from noiseflow.evaluate import evaluate
from noiseflow.fit import spec_for
from noiseflow.fit.statistics import gather
from noiseflow.models import build
from noiseflow.patches.schema import SPLITS, fields
from noiseflow.patches.store import PatchStore
from noiseflow.patches.writer import StoreWriter

SIZE, BLACK, WHITE = 32, 64.0, 4095.0
GAIN, READ = 0.5, 3.0
PATCHES_A_FRAME = 100


@click.command()
@click.option("--pixels", type=float, multiple=True, default=(1e7, 1e8), show_default=True, help="Values to score.")
@click.option("--threads", type=int, default=2, show_default=True)
@click.option("--baseline/--no-baseline", default=False, show_default=True, help="Score gaussian beside nlf.")
def main(pixels: tuple[float, ...], threads: int, baseline: bool) -> None:
    """Time `evaluate` of nlf on made data of so many pixels; the store is made first and not timed."""
    torch.set_num_threads(threads)
    click.echo(f"torch {torch.__version__}, {threads} threads")
    with tempfile.TemporaryDirectory() as folder:
        for values in sorted(pixels):
            path = Path(folder) / f"{values:.0f}.h5"
            make(path, round(values / (4 * SIZE**2)))
            with PatchStore(path) as store:
                models = {}
                for name in ("nlf", "gaussian")[: 1 + baseline]:
                    models[name] = build(spec_for(store, name)).eval()
                    models[name].start_from(gather(store))
                before = memory_mib()
                began, processor = time.monotonic(), time.process_time()
                found = evaluate(models, store)
                seconds, processor = time.monotonic() - began, time.process_time() - processor
            scored = found.data.patches * 4 * SIZE**2
            click.echo(
                f"{scored:,} pixels, {', '.join(models)}: {seconds:.1f} s ({processor:.1f} s of processors), "
                f"{scored / seconds / 1e6:.2f} million a second; "
                f"peak memory {memory_mib():.0f} MiB ({before:.0f} before); "
                f"{found.data.close_values:,} values looked at closely"
            )
            path.unlink()


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


def memory_mib() -> float:
    """Peak resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
