"""Pictures of how rates and memory grow."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from tools.benching.subjects import GENERATED, PLAIN
from tools.benching.sweep import AXES, SWEPT, Found

__all__ = ["WORK", "draw"]

WORK = ("training", "sampling")

TITLES = {"batch": "patches a batch", "side": "side of a patch, pixels", "couplings": "couplings (physics_flow: none)"}

STYLES = {
    PLAIN: ("black", "-"),
    "nflows": ("tab:gray", "--"),
    "noise_flow, eager": ("tab:blue", "--"),
    "noise_flow, kernels": ("tab:blue", "-"),
    "physics_flow, kernels": ("tab:red", "-"),
    GENERATED: ("tab:green", ":"),
}


def draw(found: Found, what: str, path: Path) -> None:
    """Rates of training or sampling along each axis, against plain layers at the default size, and peak memory."""
    figure = Figure(figsize=(8, 6.4), layout="constrained")
    panels = figure.subplots(2, 2)
    start = found.size.default
    one = start.pixels / found.times[start][what][PLAIN]
    for ax, axis in zip(panels.flat, AXES, strict=False):
        points = found.along(axis)
        places = [getattr(point, axis) for point in points]
        for name, (colour, line) in STYLES.items():
            if name in found.times[start][what]:
                rates = [point.pixels / found.times[point][what][name] / one for point in points]
                ax.plot(places, rates, color=colour, linestyle=line, marker="o", markersize=3.5, label=name)
        _logarithmic(ax, places)
        ax.set_xlabel(TITLES[axis])
        ax.set_ylabel("pixels/s (plain, default size: 1)")
        ax.grid(alpha=0.3)
    ax = panels.flat[-1]
    for name in SWEPT if found.memory else ():
        colour, line = STYLES[name]
        peaks = [figures[what] for figures in found.memory[name]]
        ax.plot(found.size.memory, peaks, color=colour, linestyle=line, marker="o", markersize=3.5)
    _logarithmic(ax, list(found.size.memory))
    ax.set_xlabel(TITLES["batch"])
    ax.set_ylabel("peak memory, MiB")
    ax.grid(alpha=0.3)
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _logarithmic(ax: Axes, places: list[int]) -> None:
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set_xticks(places, [f"{place:,}" for place in places])
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
