"""Plant faults in memory, and run the tests that are likely to see each in a forked process.

All tests are imported once.  A fault is then a function whose code is exchanged, or a constant of a module or class: it
costs the time of its tests alone.  What a test runs in a process of its own does not see it.
"""

import ast
import contextlib
import gc
import importlib
import os
import re
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest

from tools.checks.faults import ROOT, Mutant
from tools.checks.reach import Reach

__all__ = ["NotPlantedError", "fate", "likely_tests", "near_tests", "plant"]

MOST_TESTS, MOST_SECONDS = 400, 30.0
"""Of the tests that enter a function, how many are run, and for how long by the map."""

Tests = dict[str, pytest.Item]


class NotPlantedError(Exception):
    """The fault is neither in a function nor a constant."""


def near_tests(file: str) -> list[str]:
    """Test files of the room that name a module or what it offers, most names first; all of the room if none does."""
    text = (ROOT / file).read_text("utf-8")
    listed = re.search(r"__all__ = \[(.*?)\]", text, re.DOTALL)
    names = {Path(file).stem, *re.findall(r'"(\w+)"', listed[1] if listed else "")}
    room = Path("tests") / Path(file).parts[1]
    pattern = re.compile(r"\b(" + "|".join(map(re.escape, sorted(names))) + r")\b")
    tests = sorted((ROOT / room).rglob("test_*.py"))
    named = {test: len(set(pattern.findall(test.read_text("utf-8")))) for test in tests}
    near = sorted((test for test in tests if named[test]), key=lambda test: -named[test])
    return [str(test.relative_to(ROOT)) for test in near or tests]


def likely_tests(mutant: Mutant, reach: Reach, known: Sequence[str] | None) -> list[str]:
    """Tests that enter the function of a fault, or its file where it is in none: of its room first, the quickest first.

    Of a function that the map does not have, those of `near_tests`.

    Parameters
    ----------
    mutant : Mutant
        The fault.
    reach : dict
        Tests of each function.
    known : sequence of str, optional
        All tests that there are; without them files stand for their tests.
    """
    name = _function((ROOT / mutant.file).read_text("utf-8"), mutant.line)
    tests = reach.get(f"{mutant.file}:{name}" if name else mutant.file, [])
    files = near_tests(mutant.file)
    if known is None:
        return [*files, *(test for _, test in tests)]
    mapped = {test for each in reach.values() for _, test in each} if tests else set()
    # Those that are newer than the map, if there is one.
    chosen = [test for file in files for test in known if test.split("::")[0] == file and test not in mapped]
    near, spent = set(files), 0.0
    for seconds, test in sorted(tests, key=lambda each: (each[1].split("::")[0] not in near, each)):
        if len(chosen) < MOST_TESTS and spent + seconds <= MOST_SECONDS:
            chosen.append(test)
            spent += seconds
    return chosen


def _function(text: str, line: int) -> str | None:
    """Name of the innermost function that a line is in."""
    found = None
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.lineno <= line <= (node.end_lineno or 0):
            # Walked breadth first: the last one found is the innermost.
            found = node.name
    return found


def plant(mutant: Mutant) -> None:
    """Exchange the code of the function, or the constant, in this process.

    Raises
    ------
    NotPlantedError
        It is neither, or its module is another one.
    """
    path = ROOT / mutant.file
    module = importlib.import_module(mutant.file.removesuffix(".py").replace("/", "."))
    if module.__file__ != str(path):
        raise NotPlantedError(f"{mutant.file}: {module.__file__} is imported in its place")
    text = path.read_text("utf-8")
    before, after = (compile(each, str(path), "exec") for each in (text, mutant.planted(text)))
    changed = [new for old, new in zip(_functions(before), _functions(after), strict=True) if old != new]
    if changed:
        names = {(code.co_name, code.co_firstlineno): code for code in changed}
        functions = [each for each in gc.get_objects() if isinstance(each, FunctionType)]
        found = [each for each in functions if each.__code__.co_filename == str(path)]
        swapped = [each for each in found if (each.__code__.co_name, each.__code__.co_firstlineno) in names]
        for function in swapped:
            function.__code__ = names[function.__code__.co_name, function.__code__.co_firstlineno]
        if not swapped:
            raise NotPlantedError(f"{mutant.file}:{mutant.line}: the function is not there")
    else:
        _exchange_constant(module, mutant, text)


def _modules() -> Iterator[ModuleType]:
    return (each for each in list(sys.modules.values()) if getattr(each, "__file__", None))


def _functions(code: CodeType) -> Iterator[CodeType]:
    """Code of the functions and methods of a module, in order; that of functions in functions belongs to the outer."""
    for each in code.co_consts:
        if isinstance(each, CodeType):
            # A class body's code has the locals of no call.
            if each.co_flags & 0x0002 and each.co_flags & 0x0001:
                yield each
            else:
                yield from _functions(each)


def _exchange_constant(module: ModuleType, mutant: Mutant, text: str) -> None:
    for holder, body in _bodies(module, ast.parse(mutant.planted(text)).body):
        for node in body:
            if not isinstance(node, ast.Assign) or not node.lineno <= mutant.line <= (node.end_lineno or 0):
                continue
            value = eval(compile(ast.Expression(node.value), mutant.file, "eval"), vars(module))
            for name in (each.id for each in node.targets if isinstance(each, ast.Name)):
                _set_everywhere(holder, name, value)
            return
    raise NotPlantedError(f"{mutant.file}:{mutant.line}: neither a function nor a constant")


def _bodies(holder: Any, body: Sequence[ast.stmt]) -> Iterator[tuple[Any, Sequence[ast.stmt]]]:
    yield holder, body
    for node in body:
        if isinstance(node, ast.ClassDef) and hasattr(holder, node.name):
            yield from _bodies(getattr(holder, node.name), node.body)


def _set_everywhere(holder: Any, name: str, value: Any) -> None:
    old = getattr(holder, name)
    setattr(holder, name, value)
    if isinstance(holder, ModuleType):
        for module in _modules():
            # Tests have it under its name too.
            if vars(module).get(name) is old:
                setattr(module, name, value)


def fate(mutant: Mutant, tests: Tests, reach: Reach, seconds: float, tell: Callable[[str], None]) -> str:
    """What the tests say of a fault: found, SURVIVES, undecided where they took too long, or not planted.

    Parameters
    ----------
    mutant : Mutant
        The fault.
    tests : dict
        All tests by name.
    reach : dict
        Tests of each function; may be empty.
    seconds : float
        Longest time of the tests.
    tell : callable
        Takes the name of the test that found it, or why it was not planted.
    """
    chosen = [tests[name] for name in likely_tests(mutant, reach, list(tests)) if name in tests]
    if not chosen:
        tell("no quick test")
        return "SURVIVES"
    answer = _forked(lambda: plant(mutant), chosen, seconds)
    if answer is None:
        return "undecided"
    what, _, test = answer.partition(" ")
    if what == "failed" and (_forked(lambda: None, [tests[test]], seconds) or "").startswith("failed"):
        # It fails without the fault too, and finds nothing.
        tell(f"{test} fails anyway")
        return "undecided"
    tell(test)
    return {"failed": "found", "passed": "SURVIVES", "not": "not planted"}[what]


def _forked(prepare: Callable[[], None], items: Sequence[pytest.Item], seconds: float) -> str | None:
    """Run tests in a forked process until one fails; what it tells, or None if it took too long."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(read)
        os.setsid()
        said = "not planted: the process ended"
        try:
            said = _child(prepare, items)
        except BaseException as error:
            said = f"not {error!r}"
        finally:
            os.write(write, said.encode())
            os._exit(0)
    os.close(write)
    ready = select.select([read], [], [], seconds)[0]
    text = os.read(read, 1 << 16).decode() if ready else ""
    os.close(read)
    # What the tests started and left, too.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    # A process that was killed by what it tested has found it.
    return (text or "failed the process was killed") if ready else None


def _child(prepare: Callable[[], None], items: Sequence[pytest.Item]) -> str:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    prepare()
    failed: list[str] = []

    class Told:
        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            if report.failed:
                failed.append(report.nodeid)

    for item in items[:1]:
        item.config.pluginmanager.register(Told())
    for item, following in zip(items, [*items[1:], None], strict=True):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if failed:
            return f"failed {failed[0]}"
    return "passed "


class Collected:
    """A plug-in that hands over all tests in place of running them.

    Parameters
    ----------
    then : callable
        Takes them by name.
    """

    def __init__(self, then: Callable[[Tests], None]) -> None:
        self.then = then
        self.began = time.monotonic()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """The loop."""
        self.then({item.nodeid: item for item in session.items})
        return True
