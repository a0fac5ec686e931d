"""Choices of an option, read from the registry that holds them."""

import difflib
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

__all__ = ["Registered", "did_you_mean"]


class Registered(click.ParamType):  # type: ignore[type-arg]  # generic in newer click only
    """One of the names in a registry, which is imported only when a value or the help needs it.

    Parameters
    ----------
    table : str
        Module and name of a mapping or sequence, such as ``"noiseflow.patches.pairings:PAIRINGS"``; a key after a
        second colon picks one entry of a mapping of sequences.
    *more : str
        Names that the option accepts besides, first in the list.
    """

    name = "name"

    def __init__(self, table: str, *more: str) -> None:
        self.table, self.more = table, more

    @property
    def names(self) -> tuple[str, ...]:
        """All names, in the registry's order."""
        module, name, *key = self.table.split(":")
        found = getattr(import_module(module), name)
        return (*self.more, *(found[key[0]] if key else found))

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """The names, as click shows those of a `click.Choice`."""
        return f"[{'|'.join(self.names)}]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Accept a known name in any case; refuse another with the nearest one and the whole list."""
        names = self.names
        for name in names:
            if name.lower() == str(value).lower():
                return name
        self.fail(f"{value!r} is not one of {', '.join(names)}.{did_you_mean(str(value), names)}", param, ctx)


def did_you_mean(value: str, names: Sequence[str]) -> str:
    """A question with the nearest name, to append to a message; empty if none is near.

    Examples
    --------
    >>> did_you_mean("evalute", ["fit", "evaluate"])
    ' Did you mean evaluate?'
    """
    near = difflib.get_close_matches(value, names, n=1)
    return f" Did you mean {near[0]}?" if near else ""
