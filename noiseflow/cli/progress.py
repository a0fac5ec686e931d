"""Progress on standard error: a bar on a terminal, plain lines in a log."""

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache

import click

from noiseflow.core.progress import Progress

__all__ = ["shown"]

SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def shown(title: str, unit: str) -> Iterator[Progress]:
    """Show the progress of one piece of work, with its rate in units a second and its ETA."""
    if not sys.stderr.isatty():
        yield _Lines(title, unit)
        return
    with ExitStack() as stack:
        draw = cache(lambda: stack.enter_context(_bar(title, unit)))
        # Its thread is not to be there when processes are started as copies of this one, and a library is imported
        # for it: it is made when there is something to tell.
        yield lambda done, total, note="": draw()(done, total, note)


@contextmanager
def _bar(title: str, unit: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress as RichProgress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    with RichProgress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn(unit + " · {task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
    ) as bar:
        task = bar.add_task(title, total=None, note="", rate="")
        began = time.monotonic()

        def draw(done: int, total: int, note: str = "") -> None:
            rate = done / max(time.monotonic() - began, 1e-9)
            bar.update(task, completed=done, total=total, note=note, rate=f"{rate:.3g}/s")

        yield draw


class _Lines:
    """A line now and then, and one at the end of each run up to the total."""

    def __init__(self, title: str, unit: str) -> None:
        self.title, self.unit = title, unit
        self.began = self.last = time.monotonic()

    def __call__(self, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        if now - self.last < SECONDS_BETWEEN_LINES and done < total:
            return
        self.last = now
        rate = done / max(now - self.began, 1e-9)
        eta = (total - done) / rate if rate else 0.0
        click.echo(f"{self.title}: {done}/{total} {self.unit}, {rate:.3g}/s, ETA {eta:.0f} s, {note}", err=True)
