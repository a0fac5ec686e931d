"""How long work tells of its progress, without knowing who listens."""

from typing import Protocol

__all__ = ["Progress", "silent"]


class Progress(Protocol):
    """Called as work goes on: `done` of `total` units, and a short note on how it stands."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Take note."""


def silent(done: int, total: int, note: str = "") -> None:
    """Listen to nothing: the default."""
