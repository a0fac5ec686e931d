"""All that one run of `tools.bench` measures on a CPU."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from tools.benching.loading import SIZES, Loading, loading
from tools.benching.machine import Machine, machine
from tools.benching.memory_of import peaks_of
from tools.benching.subjects import DEFAULT, MODELS, PLAIN, Point
from tools.benching.timing import Times, times_at
from tools.workloads.memory import in_fresh_process

__all__ = ["AIMED", "AXES", "FULL", "SHORT", "SWEPT", "TINY", "Found", "Size", "sweep"]

SWEPT = tuple(name for name in MODELS if name != "physics_flow, eager")
"""What is timed everywhere; the slowest only at the default size."""

AIMED = (PLAIN, "noise_flow, kernels", "physics_flow, kernels")
"""What the aims are about, timed in processes of their own too: the speed of plain layers depends on the memory that a
process has been given before."""

AXES = ("batch", "side", "couplings")


@dataclass(frozen=True)
class Size:
    """Where to measure.

    Parameters
    ----------
    default : Point
        Point that every axis is varied from.
    values : dict of tuple of int
        Of each of `AXES`, the default's own not among them.
    memory : tuple of int
        Batches.
    load : tuple of (int, int)
        Batch and side.
    pixels : int
        In the stores that are read.
    processes : int
        In which `AIMED` are timed again.
    """

    default: Point
    values: dict[str, tuple[int, ...]]
    memory: tuple[int, ...]
    load: tuple[tuple[int, int], ...]
    pixels: int
    processes: int


FULL = Size(
    DEFAULT, {"batch": (8, 32, 1024), "side": (8, 16, 64), "couplings": (2, 4, 16)}, (8, 138, 1024), SIZES, 2**24, 7
)
SHORT = replace(FULL, values={"batch": (8, 512), "side": (16,), "couplings": (4, 16)}, memory=(138,), load=SIZES[:2])
"""Some of the sizes, in a third of the time."""

TINY = Size(
    Point(4, 8, 2), {"batch": (2,), "side": (4,), "couplings": (4,)}, (2, 4), ((2, 8), (4, 8), (4, 4)), 2**14, 2
)


@dataclass(frozen=True)
class Found:
    """What a run found.

    Parameters
    ----------
    size : Size
        Points that were measured.
    times : dict of Point to Times
        All that were timed with one thread.
    again : list of Times
        Of `AIMED` at the default size, each in a fresh process, with one thread.
    two : Times
        At the default size with two threads, by the clock; empty if `second` is False.
    memory : dict of str to list
        By name: MiB of sampling and training at each of the batches.
    load : list of Loading
        Reading of patches, at each batch and side.
    machine : Machine
        Machine that it was measured on.
    """

    size: Size
    times: dict[Point, Times]
    again: list[Times]
    two: Times
    memory: dict[str, list[dict[str, float]]]
    load: list[Loading]
    machine: Machine

    def along(self, axis: str) -> list[Point]:
        """The points on one axis, rising."""
        start = self.size.default
        points = [start, *(replace(start, **{axis: value}) for value in self.size.values[axis])]
        return sorted(points, key=lambda point: int(getattr(point, axis)))


def sweep(
    size: Size = FULL, report: Callable[[str], object] = print, *, memory: bool = True, second: bool = True
) -> Found:
    """Measure it all; reports each part as it begins.

    Two threads are measured by the clock, which needs a machine that does nothing else: `second`.
    """
    start = size.default
    report("machine")
    can = machine() if size.pixels == FULL.pixels else machine(size=64, mib=1)
    report(f"{start}")
    times = {start: times_at(start, MODELS)}
    report(f"{size.processes} processes")
    again = [in_fresh_process(times_at, start, AIMED) for _ in range(size.processes)]
    report("two threads")
    two = times_at(replace(start, threads=2), MODELS) if second else {}
    for axis in AXES:
        for value in size.values[axis]:
            point = replace(start, **{axis: value})
            report(f"{point}")
            times[point] = times_at(point, SWEPT)
    report("reading")
    read = loading(size.load, size.pixels)
    peaks = {}
    for name in SWEPT if memory else ():
        report(f"memory of {name}")
        peaks[name] = peaks_of(name, [replace(start, batch=batch) for batch in size.memory])
    return Found(size, times, again, two, peaks, read, can)
