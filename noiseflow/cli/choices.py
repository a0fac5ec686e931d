"""Choices of an option, read from a registry in the library."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

__all__ = ["Registered", "did_you_mean"]


class Registered(click.ParamType):  # type: ignore[type-arg]  # generic in newer click only
    """Option type that accepts the names in a registry; the registry is imported only when it is needed.

    Parameters
    ----------
    table : str
        Module and name of a mapping or sequence, such as ``"noiseflow.patches.pairings:PAIRINGS"``; a key after a
        second colon selects one entry of a mapping of sequences.
    *more : str
        Additional names that the option accepts; they are listed first.
    """

    name = "name"

    def __init__(self, table: str, *more: str) -> None:
        self.table, self.more = table, more

    @property
    def names(self) -> tuple[str, ...]:
        """All accepted names, in the registry's order."""
        module, name, *key = self.table.split(":")
        found = getattr(import_module(module), name)
        return (*self.more, *(found[key[0]] if key else found))

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Return the names in the form in which click shows a `click.Choice`."""
        return f"[{'|'.join(self.names)}]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return a known name, whatever its case; for an unknown name, fail with a suggestion and the list."""
        names = self.names
        for name in names:
            if name.lower() == str(value).lower():
                return name
        self.fail(f"{value!r} is not one of {', '.join(names)}.{did_you_mean(str(value), names)}", param, ctx)


def did_you_mean(value: str, names: Sequence[str]) -> str:
    """Return a question with the most similar name, to append to a message; empty if no name is similar.

    Parameters
    ----------
    value : str
        Name that the user gave.
    names : sequence of str
        Known names.

    Examples
    --------
    >>> did_you_mean("evalute", ["fit", "evaluate"])
    ' Did you mean evaluate?'
    """
    # Imported only for a wrong name.
    from difflib import get_close_matches

    near = get_close_matches(value, names, n=1)
    return f" Did you mean {near[0]}?" if near else ""
