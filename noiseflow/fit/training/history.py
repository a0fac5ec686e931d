"""The history of a training as a table."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from noiseflow.core.output.listed import write_listed

__all__ = ["write_history"]


def write_history(folder: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Write ``history.csv`` into a run folder; it takes its name when it is whole."""
    table = io.StringIO()
    # The start has no metrics of steps; its cells stay empty.
    columns = dict.fromkeys(name for row in history for name in row)
    writer = csv.DictWriter(table, list(columns))
    writer.writeheader()
    writer.writerows(history)
    write_listed(folder, "history.csv", table.getvalue().encode())
