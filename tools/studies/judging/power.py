"""How small a planted fault each two-sample test finds in 19 of 20 stores, and how often it flags the truth.

Real and sampled residuals are drawn here: independent Gaussian pixels of variance 1 but for the fault, which keeps the
variance unless it is one of variance.  Sizes rise from small ones; a test is done with a fault at the first size that
it finds in 19 of 20.

python -m tools.studies.judging.power --patches 200 --out power.md
"""

from collections.abc import Callable
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray

from noiseflow.core.output.checks import writing
from noiseflow.core.output.whole import write_text
from noiseflow.evaluate.judges.judge import JUDGES, Judge
from noiseflow.evaluate.metrics.judges import accuracy_of
from noiseflow.evaluate.metrics.two_sample import FILTERS, SIZE, features, held_out_hits
from noiseflow.evaluate.presentation.judges import MARGIN

PLANES, GROUPS, TRIALS, MISSES = 4, 20, 20, 1

Noise = NDArray[np.float32]
Fault = Callable[[Noise, float, np.random.Generator], Noise]


def variance(noise: Noise, size: float, rng: np.random.Generator) -> Noise:
    """Variance too large by `size`."""
    return noise * np.float32(np.sqrt(1 + size))


def rows(noise: Noise, size: float, rng: np.random.Generator) -> Noise:
    """Row noise of `size` σ, shared by all planes."""
    count, _, height, _ = noise.shape
    return _plus(noise, size * rng.normal(size=(count, 1, height, 1)), size**2)


def columns(noise: Noise, size: float, rng: np.random.Generator) -> Noise:
    """Column noise of `size` σ, shared by all planes."""
    count, _, _, width = noise.shape
    return _plus(noise, size * rng.normal(size=(count, 1, 1, width)), size**2)


def banding(noise: Noise, size: float, rng: np.random.Generator) -> Noise:
    """A wave over the rows of amplitude `size` σ, at 0.19 cycles per pixel, its phase of the patch."""
    count, _, height, _ = noise.shape
    phase = rng.uniform(0, 2 * np.pi, (count, 1, 1, 1))
    return _plus(noise, size * np.sin(2 * np.pi * 0.19 * np.arange(height)[:, None] + phase), size**2 / 2)


def neighbours(noise: Noise, size: float, rng: np.random.Generator) -> Noise:
    """Correlation `size` with the pixel to the left."""
    mixed = noise.copy()
    mixed[..., 1:] += np.float32(size) * noise[..., :-1]
    mixed[..., 1:] /= np.float32(np.sqrt(1 + size**2))
    return mixed


def tails(noise: Noise, size: float, rng: np.random.Generator) -> Noise:
    """Excess kurtosis `size`: a share of 2 % of the pixels is wider."""
    share = 0.02
    # Of a mixture with variances v and w, of mean 1, the excess is 3·share·(1 − share)·(w − v)².
    apart = np.sqrt(size / (3 * share * (1 - share)))
    narrow = 1 - share * apart
    return noise * np.sqrt(np.where(rng.random(noise.shape) < share, narrow + apart, narrow)).astype(np.float32)


def skew(noise: Noise, size: float, rng: np.random.Generator) -> Noise:
    """Skewness about `size`: a square is added."""
    bent = noise + np.float32(size / 6) * (noise**2 - 1)
    return bent / np.float32(np.sqrt(1 + size**2 / 18))


def planes(noise: Noise, size: float, rng: np.random.Generator) -> Noise:
    """Correlation `size` between the planes at one place."""
    return _plus(noise * np.float32(np.sqrt(1 - size)), np.sqrt(size) * rng.normal(size=noise[:, :1].shape), 0.0)


def _plus(noise: Noise, added: NDArray[np.float64], variance: float) -> Noise:
    return ((noise + added) / np.sqrt(1 + variance)).astype(np.float32)


FAULTS: dict[str, tuple[Fault, tuple[float, ...]]] = {
    "variance, +": (variance, (0.01, 0.02, 0.04, 0.08)),
    "row noise, σ": (rows, (0.03, 0.05, 0.08, 0.12, 0.2)),
    "column noise, σ": (columns, (0.03, 0.05, 0.08, 0.12, 0.2)),
    "banding, amplitude in σ": (banding, (0.03, 0.05, 0.08, 0.12, 0.2)),
    "correlation of neighbours": (neighbours, (0.01, 0.02, 0.04, 0.08)),
    "excess kurtosis": (tails, (0.1, 0.2, 0.4, 0.8)),
    "skewness": (skew, (0.03, 0.06, 0.12, 0.24)),
    "correlation of planes": (planes, (0.01, 0.02, 0.04, 0.08)),
}
FILTER_BANK = torch.randn((FILTERS, PLANES, 3, 3), generator=torch.Generator().manual_seed(0))
FILTER_BANK /= FILTER_BANK.square().sum((1, 2, 3), keepdim=True).sqrt()


def _pieces(residual: torch.Tensor, brightness: torch.Tensor) -> torch.Tensor:
    """What the usual two-sample test sees of a patch's first piece."""
    return features(residual[:, :, :SIZE, :SIZE], brightness, FILTER_BANK)


USUAL = Judge("the usual test, one piece a patch", "", _pieces, held_out_hits)
ALL = {"usual": USUAL, **JUDGES}


def flagged(judge: str, fault: str | None, size: float, patches: int, side: int, seed: int) -> bool:
    """Whether a test tells real from sampled in one draw."""
    torch.set_num_threads(1)
    rng = np.random.default_rng([seed, len(fault or "")])
    real, sampled = (rng.standard_normal((patches, PLANES, side, side), np.float32) for _ in range(2))
    if fault is not None:
        real = FAULTS[fault][0](real, size, rng)
    light = torch.from_numpy(rng.random(patches, np.float32))
    seen = [ALL[judge].seen(torch.from_numpy(each), light).float().numpy() for each in (real, sampled)]
    found = accuracy_of(ALL[judge], *seen, np.arange(patches) % GROUPS)
    return found.above(0.5) and found.value > 0.5 + MARGIN


def found_from(patches: int, side: int, case: tuple[str, str]) -> float | None:
    """The smallest size of a fault that a test finds in 19 of 20; None if it finds none."""
    judge, fault = case
    for size in FAULTS[fault][1]:
        missed = 0
        for seed in range(TRIALS):
            missed += not flagged(judge, fault, size, patches, side, seed)
            if missed > MISSES:
                break
        else:
            return size
    return None


def alarm(patches: int, side: int, case: tuple[str, int]) -> bool:
    """Whether a test flags the truth."""
    return flagged(case[0], None, 0.0, patches, side, 1000 + case[1])


@click.command()
@click.option("--patches", type=click.IntRange(min=100), default=200, show_default=True, help="Of each source.")
@click.option("--side", type=click.IntRange(min=16), default=32, show_default=True, help="Pixels of a plane.")
@click.option("--reports", type=click.IntRange(min=1), default=240, show_default=True, help="Draws of the truth.")
@click.option("--judge", "chosen", type=click.Choice(list(ALL)), multiple=True, help="Of these only; repeatable.")
@click.option("--jobs", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Markdown file to write.")
def main(patches: int, side: int, reports: int, chosen: tuple[str, ...], jobs: int, out: Path | None) -> None:
    """Print a table of the smallest faults that each test finds in 19 of 20 draws."""
    judges = chosen or tuple(ALL)
    cases = [(judge, fault) for fault in FAULTS for judge in judges]
    truths = [(judge, seed) for judge in judges for seed in range(reports)]
    with get_context("spawn").Pool(jobs) as pool:
        sizes = dict(zip(cases, pool.map(partial(found_from, patches, side), cases, 1), strict=True))
        alarms = dict(zip(truths, pool.map(partial(alarm, patches, side), truths, 4), strict=True))
    lines = ["| planted fault | " + " | ".join(ALL[judge].name for judge in judges) + " |"]
    lines.append("|---" * (len(judges) + 1) + "|")
    for fault, (_, tried) in FAULTS.items():
        of = (sizes[judge, fault] for judge in judges)
        lines.append(f"| {fault} | " + " | ".join(f"> {tried[-1]:g}" if s is None else f"{s:g}" for s in of) + " |")
    counts = [f"{sum(alarms[judge, seed] for seed in range(reports))} of {reports}" for judge in judges]
    lines.append("| flags the truth | " + " | ".join(counts) + " |")
    table = "\n".join(lines) + "\n"
    click.echo(table)
    if out is not None:
        with writing(out) as out:
            write_text(out, table)


if __name__ == "__main__":
    main()
