"""Warnings of many frames put into few lines."""

import re
from collections.abc import Iterable

__all__ = ["gathered"]

NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")


def gathered(cautions: Iterable[str]) -> list[str]:
    """One line for each kind of caution: the first of it, and how many other frames say the same.

    Two cautions are of one kind if they differ by the file, before the first colon, and by numbers only.

    >>> gathered(["a.dng: clips at 99 DN", "b.dng: clips at 98 DN", "b.dng: is odd"])
    ['a.dng: clips at 99 DN (and so 1 other frame)', 'b.dng: is odd']
    """
    first: dict[str, str] = {}
    files: dict[str, set[str]] = {}
    for caution in cautions:
        file, _, words = caution.partition(": ")
        kind = NUMBER.sub("#", words)
        first.setdefault(kind, caution)
        files.setdefault(kind, set()).add(file)
    lines = []
    for kind, caution in first.items():
        others = len(files[kind]) - 1
        lines.append(caution + (f" (and so {others} other frame{'s' if others > 1 else ''})" if others else ""))
    return lines
