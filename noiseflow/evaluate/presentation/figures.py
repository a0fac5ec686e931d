"""Figures of a report, embedded in its page."""

import base64
import io
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from noiseflow.core.text import figure_text
from noiseflow.evaluate.examples import Example
from noiseflow.evaluate.metric import DATA
from noiseflow.evaluate.presentation.formatting import cell_name
from noiseflow.evaluate.statistics.intervals import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "GREY",
    "INK",
    "LIGHT_GREY",
    "Pen",
    "Plate",
    "across",
    "axes",
    "bars",
    "canvas",
    "dots",
    "draw_examples",
    "evenly",
    "legend",
    "line",
    "names_down",
    "pens_for",
    "plate",
    "shown",
]

INK, GREY, LIGHT_GREY = "#1f2328", "#57606a", "#d0d7de"
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
"""Colours of the models: Okabe and Ito's palette, safe for colour-blind readers.  The data's colour is `INK`."""

LONGEST = 28
"""Largest number of characters of a name in a figure."""

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

TITLES = ("clean", "real", "sampled")
IN_COLOUR = "Top: all planes as sRGB, grey-world balance, brightness of the clean patch. "


@dataclass(frozen=True)
class Pen:
    """Style of one source in all figures of a report.

    Parameters
    ----------
    colour, marker : str
        Colour and marker, as in matplotlib.
    dash : str or tuple
        Line style, as in matplotlib.
    hollow : bool
        Whether the marker is hollow, as it is for the data.
    """

    colour: str
    marker: str
    dash: str | tuple[float, tuple[float, ...]]
    hollow: bool = False


@dataclass(frozen=True)
class Plate:
    """A figure of the page.

    Parameters
    ----------
    title : str
        Heading.
    image : str
        Data URI of the picture.
    alt, caption : str
        Alternative text, and caption.
    """

    title: str
    image: str
    alt: str
    caption: str


def pens_for(data: str, models: Sequence[str]) -> dict[str, Pen]:
    """Return pens for the data and each model, which are the same in every figure."""
    pens = {
        name: Pen(COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)], DASHES[index % len(DASHES)])
        for index, name in enumerate(models)
    }
    return {data: Pen(INK, "o", "-", hollow=True), **pens}


@contextmanager
def canvas(height: float = 3.3, width: float = 4.8) -> Iterator["Figure"]:
    """Yield a figure in the report's style; sizes are in inches, narrow enough to be read on a phone."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(LOOK):
        yield Figure(figsize=(width, height), layout="constrained")


def axes(figure: "Figure", xlabel: str, ylabel: str, grid: bool = True) -> "Axes":
    """Add one pair of labelled axes to a figure, and return it."""
    ax: Axes = figure.add_subplot()
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    if grid:
        ax.grid(True)
    return ax


def shown(name: str) -> str:
    """Return a name for a figure: cut to `LONGEST`, and with signs of formulas escaped."""
    return figure_text(name, LONGEST)


def line(ax: "Axes", x: Any, y: Any, pen: Pen, name: str) -> None:
    """Draw a line through points, with its name in the legend."""
    style: dict[str, Any] = {"color": pen.colour, "marker": pen.marker, "linestyle": pen.dash}
    ax.plot(x, y, markersize=3.5, linewidth=1.2, label=shown(name), **style)


def bars(
    ax: "Axes", places: Sequence[float], values: Sequence[Interval], pen: Pen, name: str | None, *, joined: bool = True
) -> None:
    """Draw numbers with bars for their intervals, joined by a line; a number without interval has no bar."""
    reach = _reach(values) if any(value.low is not None for value in values) else None
    style = {**_marker(pen), "linestyle": pen.dash if joined else "none"}
    label = None if name is None else shown(name)
    ax.errorbar(places, [value.value for value in values], yerr=reach, linewidth=1.2, label=label, **style)


def across(ax: "Axes", values: Mapping[str, Sequence[Interval]], pens: Mapping[str, Pen]) -> None:
    """Draw numbers with their intervals along the x axis, with one row per place and all sources in each row."""
    for index, (name, of_source) in enumerate(values.items()):
        shift = 0.7 * ((index + 0.5) / len(values) - 0.5)
        dots(ax, of_source, [place + shift for place in range(len(of_source))], pens[name], name)


def dots(ax: "Axes", values: Sequence[Interval], places: Sequence[float], pen: Pen, name: str) -> None:
    """Draw numbers with their intervals along the x axis, at places on the y axis."""
    known, label = [value.value for value in values], shown(name)
    ax.errorbar(known, places, xerr=_reach(values), linestyle="none", label=label, **_marker(pen))


def _marker(pen: Pen) -> dict[str, Any]:
    face = "none" if pen.hollow else pen.colour
    return {"color": pen.colour, "marker": pen.marker, "markerfacecolor": face, "markersize": 4.5, "capsize": 2}


def _reach(values: Sequence[Interval]) -> list[list[float]]:
    """Return how far each interval extends below and above its value; 0 without an interval."""
    below = [0.0 if value.low is None else max(value.value - value.low, 0.0) for value in values]
    above = [0.0 if value.high is None else max(value.high - value.value, 0.0) for value in values]
    return [below, above]


def names_down(ax: "Axes", names: Sequence[str]) -> None:
    """Label the rows of `across`, the first at the top."""
    ax.set_yticks(range(len(names)), [shown(name) for name in names])
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.grid(False, axis="y")


def legend(figure: "Figure", columns: int | None = None) -> None:
    """Add a legend of the sources above the axes, where it covers nothing."""
    handles, names = figure.axes[0].get_legend_handles_labels()
    columns = columns or (len(names) if len(names) <= 5 else 3)
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
    """Render a figure as SVG, or as PNG if it consists of pixels.

    The same figure gives the same bytes.

    Parameters
    ----------
    figure : Figure
        The figure.
    title, alt, caption : str
        Heading, alternative text and caption.
    pixels : bool
        Whether the figure consists of pixels.

    Returns
    -------
    Plate
        The picture with its texts.
    """
    from matplotlib import rc_context

    drawn = io.BytesIO()
    with rc_context({"svg.hashsalt": title}), warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes; the page's text shows it correctly.
        warnings.filterwarnings("ignore", message="Glyph")
        if pixels:
            figure.savefig(drawn, format="png", dpi=150, metadata={"Software": None})
        else:
            figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    kind = "png" if pixels else "svg+xml"
    return Plate(title, f"data:image/{kind};base64,{base64.b64encode(drawn.getvalue()).decode()}", alt, caption)


def evenly(items: Sequence[int], most: int) -> list[int]:
    """Return at most `most` of the items, evenly spread, including the first and the last."""
    if len(items) <= most:
        return list(items)
    return [items[round(index * (len(items) - 1) / (most - 1))] for index in range(most)]


def draw_examples(examples: Sequence[Example], tested: str) -> list[Plate]:
    """Draw each example: clean, real and sampled signal, and below them the real and the sampled noise alone."""
    return [_draw(example, tested) for example in examples]


def _draw(example: Example, tested: str) -> Plate:
    clean = np.array(example.clean)
    real, sampled = (np.array(example.noise[name]) for name in (DATA, tested))
    frame = clean + real * math.sqrt(1 + example.clean_variance)
    low, high = np.quantile(np.concatenate([clean, frame]), (0.005, 0.995))
    reach = 3 * max(float(real.std()), 1e-6)
    in_colour = bool(example.srgb)
    with canvas(height=4.5 if in_colour else 3.1, width=4.2) as figure:
        panels = figure.subplots(3 if in_colour else 2, 3)
        if in_colour:
            for ax, title, name in zip(panels[0], TITLES, ("clean", DATA, tested), strict=True):
                ax.imshow(np.array(example.srgb[name], np.uint8), interpolation="none")
                ax.set_title(f"{title}, sRGB" if title == "clean" else title, fontsize=9)
        (top, bottom) = panels[-2:]
        for ax, title, image in zip(top, TITLES, (clean, frame, clean + sampled), strict=True):
            grey = ax.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), interpolation="none")
            ax.set_title(f"{title}, {example.plane}" if title == "clean" else title, fontsize=9)
        for ax, title, image in zip(bottom[1:], ("real noise", "sampled noise"), (real, sampled), strict=True):
            colour = ax.imshow(image, cmap="RdBu_r", vmin=-reach, vmax=reach, interpolation="none")
            ax.set_title(title, fontsize=9)
        for ax in panels.ravel():
            ax.set_axis_off()
        figure.colorbar(grey, ax=top, shrink=0.9, aspect=12, pad=0.02).set_label("signal, DN")
        figure.colorbar(colour, ax=bottom, shrink=0.9, aspect=12, pad=0.02).set_label("noise, DN")
        estimated = (
            f"The clean signal is an estimate whose error has {example.clean_variance:.2g} × the noise’s variance and "
            "is added to the sampled picture: compare the noise below. "
            if example.clean_variance > 0
            else ""
        )
        where = f"{cell_name(example.camera, example.iso)}, scene {example.scene}, patch {example.row}"
        return plate(
            figure,
            title=f"{example.name.capitalize()}: {clean.mean():.0f} DN, σ {real.std():.3g} DN",
            alt=f"{example.name} patch: clean, real noisy and sampled noisy signal, and both noises alone",
            caption=f"Sampled by {tested}. {IN_COLOUR if in_colour else ''}Plane {example.plane} in grey and its noise "
            "below, in DN above black, each row on one scale. Good: real and sampled look the same. "
            f"{estimated}{where}.",
            pixels=True,
        )
