"""Report the progress of long-running work to a callback."""

from collections.abc import Callable, Mapping
from typing import Protocol

__all__ = ["Progress", "in_stages", "silent"]


class Progress(Protocol):
    """A callback that receives the number of finished units, their total, and a short note."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Show the progress, or ignore it."""


def silent(done: int, total: int, note: str = "") -> None:
    """Ignore progress; the default callback."""


WHOLE = 100
"""Number of units that work in several stages reports: per cent."""


def in_stages(progress: Progress, costs: Mapping[str, float]) -> Callable[[str], Progress]:
    """Report several stages of work as one progress in per cent, with the name of the stage in the note.

    Parameters
    ----------
    progress : Progress
        Called with the per cent done, 100, and the stage with its own progress.
    costs : mapping of str to float
        Stage → its expected time in any unit, in the order of the work.

    Returns
    -------
    callable
        Name of a stage → its progress callback.

    Examples
    --------
    >>> stage = in_stages(lambda done, total, note="": print(done, total, note), {"read": 1, "score": 3})
    >>> stage("read")(5, 10)
    12 100 read: 5/10
    >>> stage("score")(10, 10, "last")
    100 100 score: 10/10 last
    """
    whole = sum(costs.values())
    names = list(costs)

    def stage(name: str) -> Progress:
        before = sum(costs[each] for each in names[: names.index(name)])

        def part(done: int, total: int, note: str = "") -> None:
            share = (before + costs[name] * (done / total if total else 1.0)) / whole
            # A stage that itself reports per cent gives its place in the note.
            place = note if total == WHOLE and note else f"{done}/{total} {note}".rstrip()
            progress(int(WHOLE * share + 1e-9), WHOLE, f"{name}: {place}")

        return part

    return stage
