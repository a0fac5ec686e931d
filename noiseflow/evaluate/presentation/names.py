"""Names of models, cameras and scenes as a report shows them: one short line of visible characters."""

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from noiseflow.core.text import plain_text

__all__ = ["renamed", "shown_names"]

LONGEST = 60
"""Characters of a name in a report."""


def shown_names(names: Iterable[str]) -> dict[str, str]:
    """The names that cannot be shown as they are, and what is shown instead; distinct names stay distinct."""
    names = list(dict.fromkeys(names))
    taken = {name for name in names if plain_text(name, LONGEST) == name and name}
    changed: dict[str, str] = {}
    for name in names:
        if name in taken:
            continue
        shown = short = plain_text(name, LONGEST) or "(no name)"
        number = 1
        while shown in taken:
            number += 1
            shown = f"{short} ({number})"
        taken.add(shown)
        changed[name] = shown
    return changed


def renamed(value: Any, names: Mapping[str, str]) -> Any:
    """Dataclasses, mappings and tuples with every name in them replaced, in sentences too.

    Parameters
    ----------
    value
        Such as an `Evaluation`.
    names : mapping of str to str
        From `shown_names`; without any, `value` is returned as it is.
    """
    if not names:
        return value
    if isinstance(value, str):
        return names.get(value) or _in_sentence(value, names)
    if isinstance(value, Mapping):
        return {renamed(name, names): renamed(item, names) for name, item in value.items()}
    if isinstance(value, tuple):
        return tuple(renamed(item, names) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        content = {field.name: renamed(getattr(value, field.name), names) for field in fields(value)}
        return type(value)(**content)
    return value


def _in_sentence(text: str, names: Mapping[str, str]) -> str:
    for name in sorted(filter(None, names), key=len, reverse=True):
        text = text.replace(name, names[name])
    return text
