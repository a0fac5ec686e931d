"""The progress of long work, reported without knowing who shows it."""

from typing import Protocol

__all__ = ["Progress", "silent"]


class Progress(Protocol):
    """Called during work: `done` of `total` units, and a short note on its state."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Show or ignore it."""


def silent(done: int, total: int, note: str = "") -> None:
    """Show nothing: the default."""
