"""The progress of long work, reported without knowing who shows it."""

from collections.abc import Callable, Mapping
from typing import Protocol

__all__ = ["Progress", "in_stages", "silent"]


class Progress(Protocol):
    """Called during work: `done` of `total` units, and a short note on its state."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Show or ignore it."""


def silent(done: int, total: int, note: str = "") -> None:
    """Show nothing: the default."""


WHOLE = 100
"""Parts into which work of several stages is divided: per cent."""


def in_stages(progress: Progress, costs: Mapping[str, float]) -> Callable[[str], Progress]:
    """Report the stages of one piece of work as per cent of the whole, with the name of the stage.

    Parameters
    ----------
    progress : Progress
        Called with per cent done, 100, and the stage with what it says itself.
    costs : mapping of str to float
        Stage → its expected time in any unit, in the order of the work.

    Returns
    -------
    callable
        From the name of a stage to its progress.

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
            # A stage of per cent says where it is itself.
            place = note if total == WHOLE and note else f"{done}/{total} {note}".rstrip()
            progress(int(WHOLE * share + 1e-9), WHOLE, f"{name}: {place}")

        return part

    return stage
