"""Progress on standard error: a bar on a terminal, plain lines in a log, nothing with ``--quiet``."""

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING

import click

from noiseflow.cli.options import QUIET
from noiseflow.cli.streams import say
from noiseflow.core.progress import Progress, silent
from noiseflow.core.text import LONGEST_LINE, plain_text, rich_text

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["facts_that_fit", "shown"]

SECONDS_BETWEEN_LINES = 10.0
SHORTEST_BAR, LONGEST_BAR = 8, 24


@contextmanager
def shown(title: str, unit: str) -> Iterator[Progress]:
    """Show the progress of one stage, with its rate in units per second and its ETA.

    Parameters
    ----------
    title : str
        Name of the stage.
    unit : str
        Name of the unit, plural, such as ``"steps"``.
    """
    context = click.get_current_context(silent=True)
    if context is not None and context.meta.get(QUIET):
        yield silent
        return
    if sys.stderr is None:
        # Standard error was closed before the start.
        yield silent
        return
    if not sys.stderr.isatty():
        yield _Lines(title, unit)
        return
    began = time.monotonic()
    with ExitStack() as stack:
        draw = cache(lambda: stack.enter_context(_bar(title, unit, began)))
        # The first report imports Rich and starts its thread: forked worker processes must be started before that.
        yield lambda done, total, note="": draw()(done, total, note)


@contextmanager
def _bar(title: str, unit: str, began: float, console: "Console | None" = None) -> Iterator[Progress]:
    """Show a bar, with as many facts beside it as fit in the terminal.

    `began` is the start of the work, not of the bar: some work is done before the first report.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress as RichProgress, TextColumn

    console = console or Console(stderr=True)
    bar_width = max(SHORTEST_BAR, min(LONGEST_BAR, console.width // 5))
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=bar_width), TextColumn("{task.fields[facts]}"))
    with RichProgress(*columns, console=console) as bar:
        task = bar.add_task(title, total=None, facts="")

        def draw(done: int, total: int, note: str = "") -> None:
            room = console.width - len(title) - bar_width - 3
            facts = facts_that_fit(done, total, unit, time.monotonic() - began, note, room)
            bar.update(task, completed=done, total=total, facts=rich_text(facts, 400))

        yield draw


def facts_that_fit(done: int, total: int, unit: str, seconds: float, note: str, room: int) -> str:
    """Return the text beside a progress bar: as many facts as fit, the most important first.

    Parameters
    ----------
    done, total : int
        Number of units done, and in total.
    unit : str
        Name of the unit, plural.
    seconds : float
        Time since the start, in seconds.
    note : str
        Status, such as the latest loss.
    room : int
        Available width in characters.

    Examples
    --------
    >>> facts_that_fit(30, 120, "steps", 10.0, "NLL -4.4512", 80)
    '30/120 steps · 3/s · 0:00:10 · ETA 0:00:30 · NLL -4.4512'
    >>> facts_that_fit(30, 120, "steps", 10.0, "NLL -4.4512", 44)
    '30/120 steps · ETA 0:00:30 · NLL -4.4512'
    >>> facts_that_fit(30, 100, "%", 10.0, "figures: 5/13 Distribution by intensity", 44)
    '30/100 % · 3/s · ETA 0:00:23 · figures'
    """
    rate = done / max(seconds, 1e-9)
    left = f"ETA {timedelta(seconds=round((total - done) / rate))}" if rate else ""
    count = f"{done}/{total} {unit}"
    # Of a stage within a stage, "a: b: 3/4 c", at least the outer one.
    parts = note.split(": ")
    notes = (": ".join(parts[:number]) for number in range(len(parts), 0, -1))
    note = next((each for each in notes if len(" · ".join(filter(None, (count, left, each)))) <= room), "")
    facts = [count, f"{_rate(rate)}/s", str(timedelta(seconds=round(seconds))), left, note]
    kept: list[int] = []
    for index in (0, 3, 4, 1, 2):
        tried = " · ".join(facts[each] for each in sorted([*kept, index]) if facts[each])
        if len(tried) <= room or not kept:
            kept.append(index)
    return " · ".join(facts[index] for index in sorted(kept) if facts[index])


class _Lines:
    """Progress as lines: one at most every `SECONDS_BETWEEN_LINES`, and one when the total is reached."""

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
        facts = [f"{self.title}: {done}/{total} {self.unit}", f"{_rate(rate)}/s", f"ETA {eta:.0f} s"]
        say(", ".join(filter(None, [*facts, plain_text(note, LONGEST_LINE)])))


def _rate(per_second: float) -> str:
    """Return a rate with at least three significant digits and no exponent.

    >>> _rate(0.01764), _rate(1234.5)
    ('0.0176', '1234')
    """
    return f"{per_second:.0f}" if per_second >= 100 else f"{per_second:.3g}"
