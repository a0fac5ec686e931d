"""How often each two-sample test finds planted faults of stated sizes, and how often it flags the truth.

Real and sampled residuals are drawn here: independent Gaussian pixels of variance 1 but for the fault, which keeps the
variance unless it is one of variance.  Counts stand in a file, and every call adds draws to it until it has spent its
processor time.

python -m tools.studies.judging.power power.json --minutes 15
"""

import json
import time
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray

from noiseflow.evaluate.judges.judge import JUDGES, Judge
from noiseflow.evaluate.metrics.judges import accuracy_of
from noiseflow.evaluate.metrics.two_sample import FILTERS, SIZE, features, held_out_hits
from noiseflow.evaluate.presentation.judges import MARGIN

PLANES, GROUPS = 4, 20

TRUTHS, SELDOM = 12, 3
"""Draws of the truth in a round of one draw of each fault; of the network, which costs ten times the others, rounds of
so many count once, with a quarter of the draws of the truth."""

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


FAULTS: dict[str, tuple[Fault, float]] = {
    "variance, +4 %": (variance, 0.04),
    "row noise, 0.08 σ": (rows, 0.08),
    "column noise, 0.08 σ": (columns, 0.08),
    "banding, amplitude 0.12 σ": (banding, 0.12),
    "correlation of neighbours, 0.04": (neighbours, 0.04),
    "excess kurtosis, 0.4": (tails, 0.4),
    "skewness, 0.12": (skew, 0.12),
    "correlation of planes, 0.04": (planes, 0.04),
}
FILTER_BANK = torch.randn((FILTERS, PLANES, 3, 3), generator=torch.Generator().manual_seed(0))
FILTER_BANK /= FILTER_BANK.square().sum((1, 2, 3), keepdim=True).sqrt()


def _pieces(residual: torch.Tensor, brightness: torch.Tensor) -> torch.Tensor:
    """What the usual two-sample test sees of a patch's first piece."""
    return features(residual[:, :, :SIZE, :SIZE], brightness, FILTER_BANK)


USUAL = Judge("the usual test, one piece a patch", "", _pieces, held_out_hits)
ALL = {"usual": USUAL, **JUDGES}


TRUTH = "the truth"


def flagged(judge: str, fault: str, patches: int, side: int, seed: int) -> bool:
    """Whether a test tells real from sampled in one draw."""
    rng = np.random.default_rng([seed, [TRUTH, *FAULTS].index(fault)])
    real, sampled = (rng.standard_normal((patches, PLANES, side, side), np.float32) for _ in range(2))
    if fault in FAULTS:
        plant, size = FAULTS[fault]
        real = plant(real, size, rng)
    light = torch.from_numpy(rng.random(patches, np.float32))
    seen = [ALL[judge].seen(torch.from_numpy(each), light).float().numpy() for each in (real, sampled)]
    found = accuracy_of(ALL[judge], *seen, np.arange(patches) % GROUPS)
    return found.above(0.5) and found.value > 0.5 + MARGIN


def draws_of(number: int) -> list[tuple[str, str, int]]:
    """Judge, fault and seed of each draw of a round."""
    found = []
    for judge in ALL:
        seldom = judge == "network"
        if seldom and number % SELDOM:
            continue
        truths = TRUTHS // 4 if seldom else TRUTHS
        found += [(judge, fault, number) for fault in FAULTS]
        found += [(judge, TRUTH, 1_000_000 + TRUTHS * number + k) for k in range(truths)]
    return found


def table(found: Counter[tuple[str, str]], tried: Counter[tuple[str, str]]) -> str:
    """Markdown: found of tried, a row a fault."""
    lines = [
        "| planted fault | " + " | ".join(judge.name for judge in ALL.values()) + " |",
        "|---" * (len(ALL) + 1) + "|",
    ]
    for fault in (*FAULTS, TRUTH):
        cells = (f"{found[judge, fault]} of {tried[judge, fault]}" for judge in ALL)
        lines.append(f"| {fault} | " + " | ".join(cells) + " |")
    wrong, verdicts = (sum(counts[judge, TRUTH] for judge in ALL) for counts in (found, tried))
    lines.append(f"\nFalse alarms: {wrong} of {verdicts} verdicts; the tests share their draws.")
    return "\n".join(lines)


@click.command()
@click.argument("counts", type=click.Path(path_type=Path))
@click.option("--minutes", default=15.0, show_default=True, help="Processor time to spend.")
@click.option("--patches", type=click.IntRange(min=100), default=200, show_default=True, help="Of each source.")
@click.option("--side", type=click.IntRange(min=16), default=32, show_default=True, help="Pixels of a plane.")
def main(counts: Path, minutes: float, patches: int, side: int) -> None:
    """Add draws to COUNTS (JSON), round by round, and print how often each test found each fault."""
    torch.set_num_threads(1)
    known = json.loads(counts.read_text(encoding="utf-8")) if counts.exists() else {"rounds": 0, "draws": []}
    until = time.process_time() + 60 * minutes
    for number in count(known["rounds"]):
        if time.process_time() > until:
            break
        known["draws"] += [
            [judge, fault, flagged(judge, fault, patches, side, seed)] for judge, fault, seed in draws_of(number)
        ]
        known["rounds"] = number + 1
        counts.write_text(json.dumps(known, ensure_ascii=False) + "\n", encoding="utf-8")
    tried = Counter((judge, fault) for judge, fault, _ in known["draws"])
    found = Counter((judge, fault) for judge, fault, flag in known["draws"] if flag)
    click.echo(table(found, tried))


if __name__ == "__main__":
    main()
