"""Small faults to plant: one changed operator, comparison or number, or one written by hand."""

import ast
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["ROOMS", "ROOT", "Mutant", "drawn", "equivalents", "mutants_of", "written"]

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("flows", "models", "raw", "patches", "evaluate", "calibrate")

WRITTEN = Path(__file__).with_name("faults.toml")
"""Faults written by hand: file, old text, new text."""

EQUIVALENT = Path(__file__).with_name("equivalent.toml")
"""Faults that change nothing which is promised: file, line of code, new text, reason."""

OPERATORS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
"""What each operator becomes."""

LEFT_OUT = (ast.Raise, ast.Assert, ast.JoinedStr, ast.AnnAssign, ast.arguments, ast.Import, ast.ImportFrom)
"""Where nothing is planted: messages, types and defaults of arguments."""


@dataclass(frozen=True)
class Mutant:
    """A fault: the file, the line, and the text that is exchanged for another.

    Parameters
    ----------
    file : str
        Path from the root.
    line : int
        Its line, from 1.
    start, end : int
        Place in the file's text, characters.
    old, new : str
        The text there, and what it becomes.
    """

    file: str
    line: int
    start: int
    end: int
    old: str
    new: str

    def planted(self, text: str) -> str:
        """The file's text with the fault."""
        return text[: self.start] + self.new + text[self.end :]


def mutants_of(text: str, file: str) -> list[Mutant]:
    """All faults that can be planted in a file.

    >>> [each.new for each in mutants_of("x = a + 2 * b", "x.py")]
    ['(a - 2 * b)', '(2 / b)', '3']
    """
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    # Columns of the syntax tree count bytes of UTF-8.
    lines = [line.encode() for line in text.splitlines(keepends=True)]

    def at(line: int, column: int) -> int:
        return starts[line - 1] + len(lines[line - 1][:column].decode())

    found = []
    for node in _nodes(ast.parse(text)):
        changed = _changed(node)
        if changed is not None and isinstance(node, ast.expr) and node.end_lineno and node.end_col_offset:
            start, end = at(node.lineno, node.col_offset), at(node.end_lineno, node.end_col_offset)
            found.append(Mutant(file, node.lineno, start, end, text[start:end], changed))
    return found


def _nodes(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, LEFT_OUT):
            yield child
            yield from _nodes(child)


def _changed(node: ast.AST) -> str | None:
    """The text of an expression with a fault; None where there is nothing to change."""
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        other: ast.expr = ast.BinOp(node.left, OPERATORS[type(node.op)](), node.right)  # type: ignore[arg-type]
    elif isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in OPERATORS:
        other = ast.Compare(node.left, [OPERATORS[type(node.ops[0])]()], node.comparators)  # type: ignore[list-item]
    elif isinstance(node, ast.BoolOp):
        other = ast.BoolOp(OPERATORS[type(node.op)](), node.values)  # type: ignore[arg-type]
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Not)):
        other = node.operand
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return repr(node.value + 1 if isinstance(node.value, int) else node.value * 1.25 or 1.0)
    else:
        return None
    return f"({ast.unparse(other)})"


def drawn(rooms: tuple[str, ...], count: int, seed: int) -> list[Mutant]:
    """Faults drawn by a seed, the same number of each room as far as it goes."""
    chosen: list[Mutant] = []
    for index, room in enumerate(rooms):
        files = sorted((ROOT / "noiseflow" / room).rglob("*.py"))
        every = [
            each
            for file in files
            for each in mutants_of(file.read_text("utf-8"), file.relative_to(ROOT).as_posix())
            if file.name != "__init__.py"
        ]
        wanted = count // len(rooms) + (index < count % len(rooms))
        chosen += random.Random(f"{seed} {room}").sample(every, min(wanted, len(every)))
    return chosen


def written() -> tuple[list[Mutant], list[str]]:
    """The faults written by hand, each where its old text stands once; and those whose code has changed since."""
    found, gone = [], []
    for fault in tomllib.loads(WRITTEN.read_text("utf-8"))["fault"]:
        path = ROOT / fault["file"]
        text = path.read_text("utf-8") if path.is_file() else ""
        if text.count(fault["old"]) != 1:
            gone.append(f"{fault['file']}: {fault['old']!r}")
            continue
        start = text.index(fault["old"])
        line = text.count("\n", 0, start) + 1
        found.append(Mutant(fault["file"], line, start, start + len(fault["old"]), fault["old"], fault["new"]))
    return found, gone


def equivalents() -> dict[tuple[str, str, str], str]:
    """Reasons of the faults that were struck off, by file, line of code without its indent, and new text."""
    if not EQUIVALENT.exists():
        return {}
    struck = tomllib.loads(EQUIVALENT.read_text("utf-8")).get("struck", [])
    return {(each["file"], each["line"], each["new"]): each["reason"] for each in struck}
