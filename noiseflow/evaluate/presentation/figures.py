"""How figures look: one colour and marker per model, plain axes, SVG or PNG in the page."""

import base64
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["INK", "Pen", "Plate", "axes", "canvas", "evenly", "legend", "pens_for", "plate"]

INK = "#1f2328"
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
"""Okabe and Ito's palette, told apart by colour-blind readers; the data is `INK`."""

MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))

LOOK: Any = {
    "font.size": 9.0,
    "axes.labelsize": 9.0,
    "axes.edgecolor": "#8c959f",
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": "#57606a",
    "ytick.color": "#57606a",
    "text.color": INK,
    "grid.color": "#e6e8eb",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "svg.fonttype": "path",
}


@dataclass(frozen=True)
class Pen:
    """Colour, marker and dash that belong to one source throughout a report."""

    colour: str
    marker: str
    dash: str | tuple[float, tuple[float, ...]]


@dataclass(frozen=True)
class Plate:
    """A figure as it stands in the page: image as a data URI, with its words."""

    title: str
    image: str
    alt: str
    caption: str


def pens_for(data: str, models: Sequence[str]) -> dict[str, Pen]:
    """A pen for the data and each model, the same in every figure."""
    pens = {
        name: Pen(COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)], DASHES[index % len(DASHES)])
        for index, name in enumerate(models)
    }
    return {data: Pen(INK, ".", "-"), **pens}


@contextmanager
def canvas(height: float = 3.3, width: float = 4.8) -> Iterator["Figure"]:
    """A figure in the report's look, inches; narrow, so that its words can be read on a phone."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(LOOK):
        yield Figure(figsize=(width, height), layout="constrained")


def axes(figure: "Figure", xlabel: str, ylabel: str, grid: bool = True) -> "Axes":
    """The figure's one pair of axes."""
    ax: Axes = figure.add_subplot()
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    if grid:
        ax.grid(True)
    return ax


def legend(figure: "Figure") -> None:
    """What belongs to which source, above the axes, where it hides nothing."""
    handles, names = figure.axes[0].get_legend_handles_labels()
    columns = len(names) if len(names) <= 5 else 3
    figure.legend(
        handles,
        names,
        loc="outside upper center",
        ncols=columns,
        columnspacing=1.2,
        handlelength=1.8 if columns < 5 else 1.2,
        handletextpad=0.5,
    )


def plate(figure: "Figure", *, title: str, alt: str, caption: str, pixels: bool = False) -> Plate:
    """Draw a figure: SVG, or PNG where it is made of pixels.

    The same figure gives the same bytes.
    """
    from matplotlib import rc_context

    drawn = io.BytesIO()
    with rc_context({"svg.hashsalt": title}):
        if pixels:
            figure.savefig(drawn, format="png", dpi=150, metadata={"Software": None})
        else:
            figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    kind = "png" if pixels else "svg+xml"
    return Plate(title, f"data:image/{kind};base64,{base64.b64encode(drawn.getvalue()).decode()}", alt, caption)


def evenly(items: Sequence[int], most: int) -> list[int]:
    """At most so many of the items, evenly spread, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(index * (len(items) - 1) / (most - 1))] for index in range(most)]
