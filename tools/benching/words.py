"""The tables and sentences of a run, as Markdown."""

from collections.abc import Iterator, Sequence
from statistics import median

import torch

from tools.benching.curves import WORK
from tools.benching.machine import layers_of, multiply_adds, processor
from tools.benching.page import table
from tools.benching.subjects import GENERATED, MODELS, PLAIN, built
from tools.benching.sweep import SHORT, Found

__all__ = ["against_plain", "aims", "growth", "page_of", "reading", "roofline", "threads"]

COMMAND = "python -m tools.bench --page docs/performance.md"


def page_of(found: Found) -> str:
    """All of it."""
    parts = [opening(found), against_plain(found), aims(found), threads(found), growth(found), reading(found)]
    return "\n\n".join([*parts, roofline(found)])


def opening(found: Found) -> str:
    """What was measured, and by what."""
    start, command = found.size.default, COMMAND + " --short" * (found.size == SHORT)
    return (
        f"Made by `{command}` in one run, with torch {torch.__version__} on one machine ({processor()}): batches of "
        f"{start.batch} × 4×{start.side}×{start.side}, {start.couplings} couplings in `noise_flow`, `physics_flow` at "
        "its default size, one thread, in time of the processor. A step of training is density, gradient and Adam. "
        "*Plain layers* is a model equal to `noise_flow` (to rounding, by the same weights) in eager PyTorch layers, "
        "channels first, with `conv2d` for every convolution; *nflows* the same out of that library's layers. Memory "
        "is the peak above what the process had before. The ratios depend on the processor and its vector "
        "instructions: compare only figures from the same machine."
    )


def against_plain(found: Found) -> str:
    """The main table."""
    rows = []
    for name in (*MODELS, GENERATED):
        cells = [f"{ratio:.2f} ×" if (ratio := _ratio(found, what, name)) is not None else "–" for what in WORK]
        rows.append((_code(name), *cells, *(_memory(found, name, what) for what in WORK)))
    columns = ("rate against plain layers", "training", "sampling", "memory of training, MiB", "of sampling, MiB")
    return table(columns, rows).strip()


def aims(found: Found) -> str:
    """Targets and results: the median of some processes, with the lowest and the highest."""
    ratios = {what: [times[what][PLAIN] / times[what]["noise_flow, kernels"] for times in found.again] for what in WORK}
    longer = [
        median(times[what]["physics_flow, kernels"] / times[what]["noise_flow, kernels"] for times in found.again)
        for what in WORK
    ]
    return (
        "The speed of plain layers depends on earlier allocations of the process; so these were timed again, in "
        f"{found.size.processes} fresh processes. Target 5 × in training: {_reached(ratios['training'], 5)}; "
        f"8 × in sampling: {_reached(ratios['sampling'], 8)}; and `physics_flow` within 2 × of `noise_flow`'s time: it "
        f"takes {longer[0]:.1f} × in training and {longer[1]:.1f} × in sampling."
    )


def threads(found: Found) -> str:
    """How much faster two threads are than one."""
    if not found.two:
        return "Two threads were not measured in this run: other work had the machine."
    one, two = found.times[found.size.default], found.two
    rows = []
    for name in (*MODELS, GENERATED):
        cells = [f"{one[what][name] / two[what][name]:.2f} ×" if name in one[what] else "–" for what in WORK]
        ratios = [f"{two[what][PLAIN] / two[what][name]:.2f} ×" if name in two[what] else "–" for what in WORK]
        rows.append((_code(name), *cells, *ratios))
    columns = ("two threads", "training, against one", "sampling, against one", "training, against plain", "sampling")
    return table(columns, rows).strip()


def growth(found: Found) -> str:
    """The pictures, and the ends of their axes in words."""
    lines = [f"![{what.capitalize()} by size](images/performance-{what}.png)" for what in WORK]
    name = "noise_flow, kernels"
    parts = []
    for axis in ("batch", "side", "couplings"):
        points = found.along(axis)
        first, last = points[0], points[-1]
        ratios = [
            found.times[point][what][PLAIN] / found.times[point][what][name] for what in WORK for point in (first, last)
        ]
        ends = f"{getattr(first, axis)} and {getattr(last, axis):,}"
        parts.append(f"{axis} {ends}: {ratios[0]:.1f} and {ratios[1]:.1f} × ({ratios[2]:.1f} and {ratios[3]:.1f} ×)")
    start = "`noise_flow` with kernels against plain layers of the same size, training (sampling): "
    sentence = f"{start}{'; '.join(parts)}."
    return "\n\n".join([*lines, sentence])


def reading(found: Found) -> str:
    """Batches from a store, beside what a training takes of them."""
    rows = []
    for each in found.load:
        trained = [
            point.batch / times["training"]["noise_flow, kernels"]
            for point, times in found.times.items()
            if (point.batch, point.side) == (each.batch, each.side) and point.couplings == found.size.default.couplings
        ]
        share = f"{trained[0] / each.ours:.1%}" if trained else "–"
        rows.append((f"{each.batch:,} × 4×{each.side}×{each.side}", f"{each.ours / each.plain:.2f} ×", share))
    columns = ("shuffled batches from a store", "against `numpy.memmap`", "of a training step's time")
    return table(columns, rows).strip()


def roofline(found: Found) -> str:
    """What arithmetic and traffic alone would take."""
    model = built("noise_flow, kernels", found.size.default)
    adds, layers = multiply_adds(model), layers_of(model)
    can, start = found.machine, found.size.default
    taken = found.times[start]["sampling"]["noise_flow, kernels"]
    arithmetic = start.pixels * adds / can.multiply_adds_s
    whole, by_layer = (start.pixels * number / can.copied_bytes_s for number in (8, 8 * layers))
    nearer = max(arithmetic, whole)
    return (
        f"By the machine: a raw pixel of `noise_flow` is {adds:.0f} multiplications with an addition in convolutions "
        f"and mixings, and at the least 8 bytes (clean signal in, noise out), {8 * layers} with each of its {layers} "
        "layers read and written once. At the rate of a large product of matrices the arithmetic of a sampled batch "
        f"would be {arithmetic / taken:.0%} of the time that it takes, the least traffic at the bandwidth of a copy "
        f"{whole / taken:.0%}, the traffic layer by layer {by_layer / taken:.0%}: the bound is "
        f"{'arithmetic' if arithmetic > whole else 'traffic'}, and sampling is {taken / nearer:.1f} × from it."
    )


def lines(found: Found) -> Iterator[str]:
    """Absolute figures for the terminal."""
    for point, times in (*found.times.items(), *([("two threads", found.two)] if found.two else [])):
        size = found.size.default if point == "two threads" else point
        for what, each in times.items():
            for name, seconds in each.items():
                rate = size.batch / seconds if what == "training" else size.pixels / seconds / 1e6
                unit = "patches/s" if what == "training" else "Mpix/s"
                yield f"{point} {what:9} {name:24} {rate:10.1f} {unit:9} {each[PLAIN] / seconds:6.2f} × plain layers"


def _ratio(found: Found, what: str, name: str) -> float | None:
    times = found.times[found.size.default][what]
    return times[PLAIN] / times[name] if name in times else None


def _memory(found: Found, name: str, what: str) -> str:
    if name not in found.memory:
        return "–"
    return f"{found.memory[name][found.size.memory.index(found.size.default.batch)][what]:.0f}"


def _reached(ratios: Sequence[float], target: float) -> str:
    middle = median(ratios)
    verdict = "met" if middle >= target else "missed"
    return f"{middle:.2f} × ({min(ratios):.2f} to {max(ratios):.2f}), {verdict}"


def _code(name: str) -> str:
    own, comma, kind = name.partition(", ")
    return f"`{own}`{comma}{kind}" if "_" in own or "." in own else name
