"""Which blocks of the package each test enters: a plug-in of pytest, and a reader of what it writes.

    pytest -p tools.checks.reach --reach reach.txt --quick

A line of the file is a test, its seconds of processor time and the blocks that it entered.  A block is the body of a
function, ``noiseflow/…/file.py:Class.name``, or the n-th list of statements within it, ``noiseflow/…/file.py:name#n``.
Each block notes its own name in a set, which costs a test little.  What a test runs in another process is not seen.
"""

import ast
import contextlib
import importlib
import itertools
import os
import pkgutil
import sys
import warnings
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from noiseflow.core.errors import NoiseflowError
from tools.checks.exchange import exchange, functions_of, place_of

__all__ = ["Reach", "block_at", "read_reach"]

ROOT = Path(__file__).resolve().parents[2]

Reach = dict[str, list[tuple[float, str]]]
"""Tests of each block and of each file, with their seconds, the quickest first."""

ENTERED: set[str] = set()
"""Blocks that were entered since the test began."""

OF_FIXTURES: dict["pytest.FixtureDef[object]", set[str]] = {}
"""Blocks that the making of a fixture entered."""

NOTED = "__entered__"
"""Name of `ENTERED` in the modules that are watched."""


def blocks(node: ast.AST, name: str = "", numbers: Iterator[int] | None = None) -> Iterator[tuple[str, list[ast.stmt]]]:
    r"""Names and statements of all blocks in functions, each before those within it.

    >>> text = "def f(x):\n if x:\n  return 1\n else:\n  return 2\nclass A:\n def g(self): pass"
    >>> [name for name, _ in blocks(ast.parse(text))]
    ['f', 'f#1', 'f#2', 'A.g']
    """
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            inner = f"{name}.{child.name}".removeprefix(".")
            yield inner, child.body
            yield from blocks(child, inner, itertools.count(1))
        elif isinstance(child, ast.ClassDef):
            yield from blocks(child, f"{name}.{child.name}".removeprefix("."))
        else:
            for part in ("body", "orelse", "finalbody"):
                body = getattr(child, part, None)
                if numbers and body and isinstance(body, list):
                    yield f"{name}#{next(numbers)}", body
            yield from blocks(child, name, numbers)


def block_at(text: str, line: int) -> str | None:
    """Name of the innermost block that a line is in; None outside functions."""
    found = None
    for name, body in blocks(ast.parse(text)):
        if body[0].lineno <= line <= (body[-1].end_lineno or 0):
            found = name
    return found


def watched(text: str, file: str) -> ast.Module:
    """The syntax tree of a module whose blocks note that they are entered."""
    tree = ast.parse(text)
    for name, body in list(blocks(tree)):
        note = ast.parse(f"{NOTED}.add({f'{file}:{name}'!r})").body[0]
        for each in ast.walk(note):
            ast.copy_location(each, body[0])
        # Behind a docstring, which stays one.
        body.insert(isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant), note)
    return tree


def watch() -> None:
    """Exchange the code of every function of the package."""
    import noiseflow

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for each in pkgutil.walk_packages(noiseflow.__path__, "noiseflow.", onerror=lambda _: None):
            # Some want a library that is not installed.
            with contextlib.suppress(ImportError, NoiseflowError):
                if not each.name.endswith("__main__"):
                    importlib.import_module(each.name)
    codes = {}
    for module in list(sys.modules.values()):
        path = Path(getattr(module, "__file__", None) or "/")
        if path.suffix != ".py" or not path.is_relative_to(ROOT / "noiseflow"):
            continue
        tree = watched(path.read_text("utf-8"), path.relative_to(ROOT).as_posix())
        vars(module)[NOTED] = ENTERED
        # A line may have several lambdas, which note nothing.
        compiled = functions_of(compile(tree, str(path), "exec"))
        codes |= {place_of(code): code for code in compiled if not code.co_name.startswith("<")}
    exchange(codes)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--reach", metavar="FILE", help="Append the blocks that each test enters to FILE.")


def pytest_collection_finish(session: pytest.Session) -> None:
    if session.config.getoption("reach"):
        watch()


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: "pytest.FixtureDef[object]") -> Generator[None, object, object]:
    """Keep what a fixture enters: it is made for the first test that uses it, and the later ones look at it too."""
    before = set(ENTERED)
    ENTERED.clear()
    try:
        return (yield)
    finally:
        OF_FIXTURES.setdefault(fixturedef, set()).update(ENTERED)
        ENTERED.update(before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, bool, bool]:
    file = item.config.getoption("reach")
    if not file:
        return (yield)
    ENTERED.clear()
    before = os.times()
    try:
        return (yield)
    finally:
        seconds = sum(os.times()[:4]) - sum(before[:4])
        of_item = getattr(item, "_fixtureinfo", None)
        for used in of_item.name2fixturedefs.values() if of_item else ():
            ENTERED.update(*(OF_FIXTURES.get(each, ()) for each in used))
        with open(file, "a", encoding="utf-8") as lines:
            lines.write("\t".join([item.nodeid, f"{seconds:.2f}", *sorted(ENTERED)]) + "\n")


def read_reach(file: Path) -> Reach:
    """Tests by block and by file."""
    reach: Reach = {}
    for line in file.read_text("utf-8").splitlines():
        test, seconds, *names = line.split("\t")
        for name in {*names, *(each.split(":")[0] for each in names)}:
            reach.setdefault(name, []).append((float(seconds), test))
    return {name: sorted(tests) for name, tests in reach.items()}
