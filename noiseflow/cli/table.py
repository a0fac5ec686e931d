"""A small table of scores on standard output."""

import sys

from rich.console import Console
from rich.table import Table

from noiseflow.evaluate import Evaluation

__all__ = ["print_scores"]


def print_scores(evaluation: Evaluation) -> None:
    """Print the table of results: a row a measure, a column a model."""
    rows = evaluation.table()
    names = list(dict.fromkeys(name for row in rows for name in row.cells))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("measure", *names):
        table.add_column(heading, justify="left" if heading == "measure" else "right", no_wrap=True)
    for row in rows:
        label = f"{row.measure} [{row.unit}]".replace("[", r"\[") if row.unit else row.measure
        table.add_row(label, *(row.cells.get(name, "") for name in names))
    console = Console(file=sys.stdout)
    if not console.is_terminal:
        console.width = 160
    console.print(table)
