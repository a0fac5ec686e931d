"""Mutation testing: plant small faults by a fixed seed, and see whether the package's own tests find them.

    python -m tools.checks.mutants --count 40 --seed 0
    python -m tools.checks.mutants --room flows --count 10

A fault is one changed operator, comparison or number.  It is planted in a copy of the tree, and the test files of its
room that name what its module offers are run until the first failure.  Survivors are printed with their line; those
that change no number (equivalent ones) are struck off by hand.
"""

import ast
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

__all__ = ["Mutant", "mutants_of", "near_tests"]

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("flows", "models", "raw", "patches", "evaluate", "calibrate")

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


def near_tests(file: str) -> list[str]:
    """Test files of the same room that name a module or something that it offers; all of the room if none does."""
    text = (ROOT / file).read_text("utf-8")
    listed = re.search(r"__all__ = \[(.*?)\]", text, re.DOTALL)
    names = {Path(file).stem, *re.findall(r'"(\w+)"', listed[1] if listed else "")}
    room = Path("tests") / Path(file).parts[1]
    pattern = re.compile(r"\b(" + "|".join(map(re.escape, sorted(names))) + r")\b")
    tests = sorted((ROOT / room).rglob("test_*.py"))
    near = [test for test in tests if pattern.search(test.read_text("utf-8"))]
    return [str(test.relative_to(ROOT)) for test in near or tests]


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


def fate(mutant: Mutant, copy: Path, seconds: float) -> str:
    """What the tests say of a fault: found, SURVIVES, or undecided where they took too long."""
    path = copy / mutant.file
    text = path.read_text("utf-8")
    path.write_text(mutant.planted(text), "utf-8")
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", "not slow"]
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    environment = {**os.environ, **threads, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        ended = subprocess.run(
            [*command, *near_tests(mutant.file)],
            cwd=copy,
            env=environment,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "undecided"
    finally:
        path.write_text(text, "utf-8")
    # 5: no test was collected, which finds nothing.
    return "SURVIVES" if ended.returncode in (0, 5) else "found"


@click.command()
@click.option("--count", type=click.IntRange(1), default=40, show_default=True, help="Faults to plant.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the draw.")
@click.option("--room", "rooms", type=click.Choice(ROOMS), multiple=True, default=ROOMS, help="Rooms; all if none.")
@click.option("--seconds", type=float, default=900.0, show_default=True, help="Longest run of the tests of one.")
@click.option("--list", "only_list", is_flag=True, help="Print the faults and their tests, and run nothing.")
def main(count: int, seed: int, rooms: tuple[str, ...], seconds: float, only_list: bool) -> None:
    """Plant faults, run the tests, and print what survives."""
    fates: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / "tree"
        if not only_list:
            left_out = shutil.ignore_patterns(".git", ".venv", ".*_cache", "site", "build")
            # Links stay links: tests look where those of datasets/ lead.
            shutil.copytree(ROOT, copy, symlinks=True, ignore=left_out)
            shared = ROOT.parent / "shared"
            if shared.exists():
                (Path(place) / "shared").symlink_to(shared.resolve())
        mutants = drawn(rooms, count, seed)
        for mutant in mutants:
            about = f"{mutant.file}:{mutant.line}: {mutant.old!r} → {mutant.new!r}"
            if only_list:
                click.echo(f"{about}  [{' '.join(near_tests(mutant.file))}]")
                continue
            began = time.monotonic()
            found = fate(mutant, copy, seconds)
            fates[found] += 1
            click.echo(f"{found:9} {time.monotonic() - began:4.0f} s  {about}")
            sys.stdout.flush()
    if not only_list:
        click.echo(f"{len(mutants)} planted: {dict(fates)}")


if __name__ == "__main__":
    main()
