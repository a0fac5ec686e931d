"""Choices of an option, read from a registry in the library."""

import ast
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import click

__all__ = ["Registered", "did_you_mean", "names_in_source"]


class Registered(click.ParamType):  # type: ignore[type-arg]  # generic in newer click only
    """Option type that accepts the names in a registry.

    They are read from the source, because importing a registry may take seconds, even for ``--help``.

    Parameters
    ----------
    table : str
        Module and name of a mapping or sequence, such as ``"noiseflow.patches.pairings.registry:PAIRINGS"``; a key
        after a second colon selects one entry of a mapping of sequences.
    *more : str
        Additional names that the option accepts; they are listed first.
    """

    name = "name"

    def __init__(self, table: str, *more: str) -> None:
        self.table, self.more = table, more

    @property
    def names(self) -> tuple[str, ...]:
        """All accepted names, in the registry's order."""
        module, name, *keys = self.table.split(":")
        found = names_in_source(module, name, *keys)
        if found is None:
            table = getattr(import_module(module), name)
            found = tuple(table[keys[0]] if keys else table)
        return (*self.more, *found)

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


def names_in_source(module: str, name: str, *keys: str) -> tuple[str, ...] | None:
    """Names in a table, read from the source of its module without running it.

    Parameters
    ----------
    module, name : str
        Module of noiseflow, and variable in it: a mapping, a sequence, or a call with either as its only argument.
    *keys : str
        Keys that lead to a table within the table.

    Returns
    -------
    tuple of str or None
        The names; None if there is no source, or the table is built in another way than by plain texts.

    Examples
    --------
    >>> names_in_source("noiseflow.patches.schema", "SPLITS")
    ('train', 'val', 'test')
    """
    path = Path(__file__).parents[1].joinpath(*module.split(".")[1:]).with_suffix(".py")
    try:
        body = ast.parse(path.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return None
    assigned = [node for node in body if isinstance(node, ast.Assign | ast.AnnAssign)]
    values = [
        node.value
        for node in assigned
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name) and target.id == name
    ]
    table = values[0] if len(values) == 1 else None
    if isinstance(table, ast.Call) and len(table.args) == 1:
        table = table.args[0]
    for key in keys:
        entries = zip(table.keys, table.values, strict=True) if isinstance(table, ast.Dict) else ()
        found = [value for entry, value in entries if isinstance(entry, ast.Constant) and entry.value == key]
        table = found[0] if found else None
    items = table.keys if isinstance(table, ast.Dict) else table.elts if isinstance(table, ast.Tuple | ast.List) else []
    names = [item.value for item in items if isinstance(item, ast.Constant) and isinstance(item.value, str)]
    return tuple(names) if names and len(names) == len(items) else None


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
