"""The closed-form fit of shot and read variance on random cells, against a grid search.

python -m tools.studies.fuzz_variance_line --cells 10000
"""

from collections.abc import Callable
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray

from noiseflow.models.closed_form.variance_line import FLOOR, LEAST, fit_line, line_nll
from noiseflow.models.noise_statistics import NoiseStatistics

Array = NDArray[np.float64]
Sums = tuple[Array, Array, Array]
"""Count, mean clean signal and mean squared noise, one row a cell."""

MOST = 1e-3
"""Nats per value by which a fit may stand above the grid's best."""


def _camera(rng: np.random.Generator, signal: Array, count: Array) -> Sums:
    """Cells of a camera of random gain and read noise."""
    variance = 10 ** rng.uniform(-6, -2) * np.maximum(signal, 0) + 10 ** rng.uniform(-9, -3)
    return count, signal, variance * rng.chisquare(count) / count


def _counts(rng: np.random.Generator, cells: int, most: float = 5.0) -> Array:
    return np.floor(10 ** rng.uniform(0, most, cells)) + 1


def few_pixels(rng: np.random.Generator) -> Sums:
    """A few values in a few cells."""
    cells = int(rng.integers(1, 6))
    return _camera(rng, rng.uniform(0, 1, cells), _counts(rng, cells, 0.7))


def all_dark(rng: np.random.Generator) -> Sums:
    """Signals about black, some below it."""
    cells = int(rng.integers(1, 12))
    return _camera(rng, rng.normal(0, 1e-3, cells), _counts(rng, cells))


def all_bright(rng: np.random.Generator) -> Sums:
    """A narrow range of signals far from black."""
    cells = int(rng.integers(2, 40))
    return _camera(rng, rng.uniform(0.8, 1, cells), _counts(rng, cells))


def two_levels(rng: np.random.Generator) -> Sums:
    """Two levels of light."""
    return _camera(rng, np.sort(rng.uniform(0, 1, 2)), _counts(rng, 2))


def outliers(rng: np.random.Generator) -> Sums:
    """Some cells with a variance thousands of times too large."""
    cells = int(rng.integers(4, 40))
    count, signal, square = _camera(rng, rng.uniform(0, 1, cells), _counts(rng, cells))
    return count, signal, square * np.where(rng.random(cells) < 0.2, 10 ** rng.uniform(0, 4, cells), 1)


def dark_burst(rng: np.random.Generator) -> Sums:
    """Dark cells of a burst, some below black, one in ten with thirty times its variance."""
    cells = int(rng.integers(3, 60))
    signal, count = np.sort(rng.uniform(-1e-3, 0.1, cells)), np.floor(10 ** rng.uniform(1, 4, cells)) + 1
    square = (np.maximum(5e-5 * signal, 0) + 1e-7) * rng.chisquare(count) / count
    return count, signal, np.where(rng.random(cells) < 0.1, 30 * square, square)


def quantised(rng: np.random.Generator) -> Sums:
    """Mean squares of whole codes of 8 bits, often 0."""
    cells = int(rng.integers(2, 30))
    count, signal, square = _camera(rng, rng.uniform(0, 1, cells), _counts(rng, cells, 2))
    return count, signal, np.rint(square * count * 255**2) / count / 255**2


def clipped(rng: np.random.Generator) -> Sums:
    """No noise at black or at white, where all codes are clipped."""
    cells = int(rng.integers(3, 40))
    count, signal, square = _camera(rng, rng.uniform(-0.02, 1.02, cells), _counts(rng, cells))
    return count, signal, np.where((signal < rng.uniform(0, 0.1)) | (signal > rng.uniform(0.8, 1)), 0, square)


def backward(rng: np.random.Generator) -> Sums:
    """Variance that falls with the light: a black level that is too high, or a scene that moved."""
    cells = int(rng.integers(2, 40))
    count, signal, square = _camera(rng, rng.uniform(0, 1, cells), _counts(rng, cells))
    return count, signal, square * (1.05 - np.clip(signal, 0, 1)) ** rng.uniform(1, 6)


def negative_intercept(rng: np.random.Generator) -> Sums:
    """Variance that vanishes above black: a black level that is too low."""
    cells = int(rng.integers(2, 40))
    count, signal = _counts(rng, cells), rng.uniform(0.05, 1, cells)
    variance = 10 ** rng.uniform(-6, -2) * np.maximum(signal - rng.uniform(0, 0.5), 1e-6)
    return count, signal, variance * rng.chisquare(count) / count


KINDS: tuple[Callable[[np.random.Generator], Sums], ...] = (
    few_pixels,
    all_dark,
    all_bright,
    two_levels,
    outliers,
    dark_burst,
    quantised,
    clipped,
    backward,
    negative_intercept,
)


def statistics_of(sums: Sums) -> NoiseStatistics:
    """The cells as statistics of one camera at one ISO."""
    count, signal, square = (torch.from_numpy(np.asarray(part, np.float64)) for part in sums)
    index = torch.zeros(len(count), dtype=torch.long)
    return NoiseStatistics(index, index, count, signal, 0 * signal, square, ("One",), (400.0,))


def grid_best(sums: Sums, points: int = 121) -> float:
    """Least mean NLL over a grid of log β₁, log β₂, and over a finer one about its best point, nats."""
    count, signal, square = sums
    weight = count / count.sum()

    def lowest(ends: list[tuple[Any, Any]], size: int) -> tuple[float, list[float]]:
        logs = [np.linspace(*pair, size) for pair in ends]
        first, second = (np.exp(part) for part in logs)
        total = np.zeros((size, size))
        for w, y, q in zip(weight, signal, square, strict=True):
            variance = np.maximum(first[:, None] * y + second, FLOOR * second)
            total += w * 0.5 * (np.log(variance) + q / variance)
        at = np.unravel_index(int(total.argmin()), total.shape)
        return float(total.min()), [float(logs[0][at[0]]), float(logs[1][at[1]])]

    top = np.log(max(float(square.max()), LEAST) * 1e4)
    ends = [(np.log(LEAST), top), (np.log(LEAST), top)]
    best, at = lowest(ends, points)
    half = (top - np.log(LEAST)) / (points - 1)
    near = [(max(np.log(LEAST), centre - half), centre + half) for centre in at]
    return min(best, lowest(near, 41)[0])


def excess(kind: Callable[[np.random.Generator], Sums], seed: int) -> float:
    """Nats per value by which the fit of one random set of cells stands above the grid's best."""
    sums = kind(np.random.default_rng(seed))
    cells = statistics_of(sums)
    return line_nll(fit_line(cells), cells) - grid_best(sums)


@click.command()
@click.option("--cells", "number", type=click.IntRange(min=1), default=10_000, show_default=True, help="Sets of cells.")
@click.option("--first", default=0, show_default=True, help="First seed.")
def main(number: int, first: int) -> None:
    """Count the sets of cells on which a grid search beats the fit by more than 0.001 nats."""
    found: dict[str, list[float]] = {kind.__name__: [] for kind in KINDS}
    for index in range(number):
        kind = KINDS[index % len(KINDS)]
        found[kind.__name__].append(excess(kind, first + index))
    beaten = 0
    for name, each in found.items():
        above = sum(value > MOST for value in each)
        beaten += above
        click.echo(f"{name:20} {len(each):6} sets, worst {max(each, default=0.0):+.2e} nats, {above} above {MOST:g}")
    if beaten:
        raise click.ClickException(f"the grid search is better by more than {MOST:g} nats on {beaten} of {number} sets")


if __name__ == "__main__":
    main()
