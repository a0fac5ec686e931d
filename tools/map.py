"""Draw the map of the rooms: the packages in the order of the street, with their folders and what each imports.

python -m tools.map docs/images/rooms.svg
"""

import ast
import textwrap
from dataclasses import dataclass
from pathlib import Path

import click
import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from tools.trace import PACKAGE, package_imports

STREET = (
    ("core", "raw", "simulate", "calibrate"),
    ("patches", "ops", "flows", "models"),
    ("fit", "augment", "evaluate", "cli"),
)
"""Packages as `tests/project/test_import_order.py` orders them, in rows; none imports one after it."""

LETTERS = 54
"""Letters on a line of a box."""
LINE, WIDTH, GAP = 0.155, 3.35, 0.25
"""Height of a line, width of a box and room between boxes, inches."""


@dataclass(frozen=True)
class Line:
    """A line of a box: its text, and how it is set."""

    text: str
    weight: str = "normal"
    colour: str = "#222222"


def lines_of(package: str, uses: set[str]) -> list[Line]:
    """What a box says: name, summary, folders with their summaries, imports."""
    folder = PACKAGE / package
    lines = [Line(f"noiseflow.{package}", "bold", "#0072b2")]
    lines += [Line(text) for text in textwrap.wrap(summary(folder), LETTERS)]
    for room in sorted(path.parent for path in folder.glob("*/__init__.py")):
        first, *rest = textwrap.wrap(f"{room.name}/  {summary(room)}", LETTERS, subsequent_indent="    ")
        lines += [Line(first, colour="#555555"), *(Line(text, colour="#555555") for text in rest)]
    order = [name for row in STREET for name in row]
    used = sorted((name.partition(".")[2] for name in uses), key=order.index)
    lines += [Line(text, colour="#009e73") for text in textwrap.wrap(f"uses {', '.join(used) or 'nothing'}", LETTERS)]
    return lines


def summary(folder: Path) -> str:
    """First sentence of a package's docstring."""
    docstring = ast.get_docstring(ast.parse((folder / "__init__.py").read_text("utf-8"))) or ""
    return docstring.splitlines()[0].rstrip(".")


def draw(axes: Axes, left: float, top: float, height: float, lines: list[Line]) -> None:
    """A box with its lines."""
    rounded = "round,pad=0,rounding_size=0.06"
    axes.add_patch(
        FancyBboxPatch((left, top - height), WIDTH, height, boxstyle=rounded, facecolor="white", edgecolor="#999999")
    )
    for number, line in enumerate(lines):
        y = top - 0.1 - (number + 0.5) * LINE
        axes.text(left + 0.1, y, line.text, fontsize=7.5, weight=line.weight, color=line.colour, va="center")


@click.command()
@click.argument("picture", type=click.Path(path_type=Path))
def main(picture: Path) -> None:
    """Draw the map of the rooms into PICTURE."""
    imports = {name.partition(".")[2]: uses for name, uses in package_imports().items()}
    unknown = {use for uses in imports.values() for use in uses if use.partition(".")[2] not in sum(STREET, ())}
    boxes = [[lines_of(name, imports[name] - unknown) for name in row] for row in STREET]
    heights = [max(map(len, row)) * LINE + 0.2 for row in boxes]
    width, height = 4 * (WIDTH + GAP) + GAP, sum(heights) + (len(heights) + 1) * GAP
    # Letters as letters, so that the picture can be searched; the same bytes for the same rooms.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "rooms", "font.family": "sans-serif"}):
        figure = Figure(figsize=(width, height))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, width), ylim=(0, height))
        axes.axis("off")
        top = height - GAP
        for row, tall in zip(boxes, heights, strict=True):
            for column, lines in enumerate(row):
                draw(axes, GAP + column * (WIDTH + GAP), top, tall, lines)
                if column:
                    at = GAP + column * (WIDTH + GAP)
                    axes.annotate("", (at, top - 0.2), (at - GAP, top - 0.2), arrowprops={"arrowstyle": "->"})
            top -= tall + GAP
        dateless = {"Date": None} if picture.suffix == ".svg" else None
        figure.savefig(picture, metadata=dateless, dpi=110, facecolor="#f7f7f7")
    click.echo(f"{picture}: {sum(map(len, STREET))} packages")


if __name__ == "__main__":
    main()
