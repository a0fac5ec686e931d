"""Plant faults in memory, and run the tests that are likely to see each in a forked process.

All tests are imported once.  A fault is then a function whose code is exchanged, or a constant of a module or class: it
costs the time of its tests alone.  What a test runs in a process of its own does not see it.
"""

import ast
import contextlib
import importlib
import os
import re
import resource
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tools.checks.exchange import exchange, functions_of, place_of
from tools.checks.faults import ROOT, Mutant
from tools.checks.reach import Reach, block_at

__all__ = ["NotPlantedError", "fate", "likely_tests", "near_tests", "plant"]

MOST_OF_ONE = 30.0
"""Seconds of processor time that a test may take with a fault."""

MOST_TESTS, MOST_SECONDS = 400, 30.0
"""Of the tests that enter a block, how many are run, and for how many seconds by the map where nothing is said."""

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


def likely_tests(mutant: Mutant, reach: Reach, known: Sequence[str] | None, most: float = MOST_SECONDS) -> list[str]:
    """Tests that enter the block of a fault, or its file outside functions: of its room first, the quickest first.

    Without a map, those of `near_tests` and its own examples; of a map that is older than a test, that test too.

    Parameters
    ----------
    mutant : Mutant
        The fault.
    reach : dict
        Tests of each block.
    known : sequence of str, optional
        All tests that there are; without them files stand for their tests.
    most : float
        Seconds of tests that are chosen, by the map, which counts a fixture of a file with its first test.
    """
    name = block_at((ROOT / mutant.file).read_text("utf-8"), mutant.line)
    tests = reach.get(f"{mutant.file}:{name}" if name else mutant.file, [])
    # Its own examples are tests too.
    files = [mutant.file, *near_tests(mutant.file)]
    if known is None:
        return [*files, *(test for _, test in tests)]
    mapped = {test for name, each in reach.items() if ":" not in name for _, test in each}
    # Those that are newer than the map, if there is one.
    chosen = [test for file in files for test in known if test.split("::")[0] == file and test not in mapped]
    near, spent = set(files), 0.0
    for seconds, test in sorted(tests, key=lambda each: (each[1].split("::")[0] not in near, each)):
        if len(chosen) < MOST_TESTS and spent + seconds <= most:
            chosen.append(test)
            spent += seconds
    # Tests of a file in a row: its fixtures are made once, and not again where they stand already.
    place = {test.split("::")[0]: number for number, test in reversed(list(enumerate(chosen)))}
    return sorted(chosen, key=lambda test: place[test.split("::")[0]])


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
    before, after = (functions_of(compile(each, str(path), "exec")) for each in (text, mutant.planted(text)))
    # The code of a function holds that of the functions in it.
    changed = {place_of(new): new for old, new in zip(before, after, strict=True) if old != new}
    # What a comprehension makes for a constant is in no function that is there.
    if not (changed and exchange(changed)):
        _exchange_constant(module, mutant, text)


def _modules() -> Iterator[ModuleType]:
    return (each for each in list(sys.modules.values()) if getattr(each, "__file__", None))


def _exchange_constant(module: ModuleType, mutant: Mutant, text: str) -> None:
    for holder, body in _bodies(module, ast.parse(mutant.planted(text)).body):
        for node in body:
            if not isinstance(node, ast.Assign) or not node.lineno <= mutant.line <= (node.end_lineno or 0):
                continue
            value = eval(compile(ast.Expression(node.value), mutant.file, "eval"), vars(module))
            names = [
                (each.id, part)
                for target in node.targets
                for each, part in (
                    zip(target.elts, value, strict=True) if isinstance(target, ast.Tuple) else [(target, value)]
                )
                if isinstance(each, ast.Name)
            ]
            for name, part in names:
                _set_everywhere(holder, name, part)
            if names:
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


def fate(
    mutant: Mutant,
    tests: Tests,
    reach: Reach,
    seconds: float,
    tell: Callable[[str], None],
    most: float = MOST_SECONDS,
) -> str:
    """What the tests say of a fault: found, SURVIVES, undecided where they took too long, or not planted.

    Parameters
    ----------
    mutant : Mutant
        The fault.
    tests : dict
        All tests by name.
    reach : dict
        Tests of each block; may be empty.
    seconds : float
        Longest time of the tests.
    tell : callable
        Takes the name of the test that found it, or why it was not planted.
    most : float
        As in `likely_tests`.
    """
    chosen = [tests[name] for name in likely_tests(mutant, reach, list(tests), most) if name in tests]
    if not chosen:
        tell("no test")
        return "SURVIVES"
    what, test = _forked(lambda: plant(mutant), chosen, seconds)
    while what == "failed" and _forked(lambda: None, [tests[test]], seconds)[0] == "failed":
        # It fails without the fault too, and finds nothing.
        tell(f"{test} fails anyway,")
        chosen = chosen[[each.nodeid for each in chosen].index(test) + 1 :]
        what, test = _forked(lambda: plant(mutant), chosen, seconds) if chosen else ("passed", "")
    tell(test)
    return {"failed": "found", "passed": "SURVIVES", "late": "undecided", "not": "not planted"}[what]


def _forked(prepare: Callable[[], None], items: Sequence[pytest.Item], seconds: float) -> tuple[str, str]:
    """Run tests in a forked process until one fails: failed, passed, late or not; and the test, or why not."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(read)
        os.setsid()
        with os.fdopen(write, "w", encoding="utf-8") as said:
            try:
                _child(prepare, items, lambda text: print(text, file=said, flush=True))
            except BaseException as error:
                print(f"not {error!r}", file=said, flush=True)
            finally:
                os._exit(0)
    os.close(write)
    lines, ended = _read(read, time.monotonic() + seconds)
    os.close(read)
    # What the tests started and left, too.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    what, _, test = (lines[-1] if lines else "not planted: the process ended").partition(" ")
    if what == "runs":
        # A process that was killed by what it tested, or by its limit of processor time, has found it.
        return ("failed" if ended else "late"), test
    return what, test


def _read(pipe: int, until: float) -> tuple[list[str], bool]:
    """Lines from a pipe, and whether all was said before the time was up."""
    text = b""
    while select.select([pipe], [], [], max(until - time.monotonic(), 0))[0]:
        block = os.read(pipe, 1 << 16)
        text += block
        lines = text.decode().splitlines()
        # What the tests left may still have the pipe.
        if not block or (text.endswith(b"\n") and not lines[-1].startswith("runs ")):
            return lines, True
    return text.decode().splitlines(), False


def _child(prepare: Callable[[], None], items: Sequence[pytest.Item], say: Callable[[str], None]) -> None:
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
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    for item, following in zip(items, [*items[1:], None], strict=True):
        say(f"runs {item.nodeid}")
        # A loop without an end is a fault that is found, however busy the machine is.
        resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time() + MOST_OF_ONE), hard))
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if failed:
            say(f"failed {failed[0]}")
            return
    say("passed ")


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
