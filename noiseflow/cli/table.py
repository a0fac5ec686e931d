"""Tables on standard output that fit the width of the terminal."""

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from noiseflow.core.text import lines_text

if TYPE_CHECKING:
    from noiseflow.evaluate import Evaluation

__all__ = ["print_scores", "print_table"]

GAP = 2
"""Spaces between columns."""

NARROWEST = 16
"""Smallest width in characters to which the column of labels shrinks before columns of values are left out."""


def print_scores(evaluation: "Evaluation", console: Console | None = None) -> None:
    """Print the scores: one row for each measure, one column for each model, the model under test first."""
    rows = {f"{row.measure} [{row.unit}]" if row.unit else row.measure: row.cells for row in evaluation.table()}
    print_table("measure", [evaluation.tested, *evaluation.models[1:]], rows, console)


def print_table(
    heading: str, columns: Sequence[str], rows: Mapping[str, Mapping[str, str]], console: Console | None = None
) -> None:
    """Print a table of values with a label for each row.

    If the terminal is too narrow, labels wrap, and the last columns are left out and named below the table.
    Values do not wrap, and the first column of values is always shown.  Without a terminal, the width has no limit.

    Parameters
    ----------
    heading : str
        Heading of the column of labels.
    columns : sequence of str
        Names of the columns of values, the most important first.
    rows : mapping of str to mapping
        Label → (column → value); a missing value is blank.
    console : rich Console, optional
        Console to print to; standard output by default.
    """
    console = console or Console(file=sys.stdout)
    # Names from files may contain control characters: see `noiseflow.core.text`.
    columns = [lines_text(name) for name in columns]
    rows = {
        lines_text(label): {lines_text(name): lines_text(text) for name, text in cells.items()}
        for label, cells in rows.items()
    }
    used = [name for name in columns if any(name in cells for cells in rows.values())]
    widths = {name: max(cell_len(text) for text in (name, *(c.get(name, "") for c in rows.values()))) for name in used}
    labels = max((cell_len(label) for label in (heading, *rows)), default=0)
    full = labels + sum(widths[name] + GAP for name in used)
    if not console.is_terminal:
        console.width = max(console.width, full)
    room = console.width
    shown = _that_fit(used, widths, room - min(labels, NARROWEST))
    left = room - sum(widths[name] + GAP for name in shown)
    # Gaps are part of the columns: before rich 15, padding at the edge was counted but not shown, and values were cut.
    table = Table(box=None, pad_edge=False, padding=0, header_style="bold")
    table.add_column(heading, width=max(1, min(labels, left)), overflow="fold")
    for name in shown:
        table.add_column(Text(name), justify="right", no_wrap=True, width=widths[name] + GAP)
    for label, cells in rows.items():
        table.add_row(Text(label), *(Text(cells.get(name, "")) for name in shown))
    console.print(table)
    if hidden := used[len(shown) :]:
        console.print(Text(f"Not shown, because the terminal is too narrow: {', '.join(hidden)}."))


def _that_fit(names: Sequence[str], widths: Mapping[str, int], room: int) -> list[str]:
    """Return as many of the first columns as fit in the width `room` in characters; at least one."""
    shown: list[str] = []
    for name in names:
        if shown and sum(widths[each] + GAP for each in (*shown, name)) > room:
            break
        shown.append(name)
    return shown
