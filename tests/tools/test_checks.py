"""Tools that check the whole: what they run is what is documented."""

import ast
import math
import os
import re
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import click
import pytest

from noiseflow.cli import main
from tools.checks import planting, reach
from tools.checks.bounds import lower_bounds
from tools.checks.faults import Mutant, drawn, equivalents, mutants_of, written
from tools.checks.newcomer import commands, unexplained
from tools.checks.planting import NotPlantedError, likely_tests, near_tests, plant
from tools.checks.reach import NOTED, block_at, read_reach, watched
from tools.checks.slow_tests import LISTED

ROOT = Path(__file__).resolve().parents[2]


def test_every_dependency_has_a_lower_bound() -> None:
    pins = lower_bounds((ROOT / "setup.cfg").read_text("utf-8"))
    assert {re.split("==", pin)[0] for pin in pins} >= {"numpy", "torch", "h5py", "click"}
    assert all(re.fullmatch(r"[\w-]+==[\d.]+(; .*)?", pin) for pin in pins)


def test_the_newcomer_s_commands_are_commands_with_those_options() -> None:
    for small in (True, False):
        for words in map(shlex.split, commands(small).values()):
            if words[0] != "noiseflow":
                continue
            context = click.Context(main)
            command = main.get_command(context, words[1])
            assert command is not None
            command.make_context(words[1], words[2:], parent=context)


def test_an_explained_warning_is_no_fault_and_any_other_is() -> None:
    explained = "m.py:9: ExtrapolationWarning: ISO 142.6, 255.1 is outside 800…1600; its parameters are extrapolated"
    assert not unexplained(explained)
    assert unexplained("noiseflow: warning: the black level is too low") != []


def test_slow_tests_are_of_files_that_are_there() -> None:
    files = {line.split(maxsplit=1)[1].split("::")[0] for line in LISTED.read_text("utf-8").splitlines()}
    assert not [file for file in files if not (ROOT / file).is_file()]


def test_what_is_quick_anyway_is_there() -> None:
    for test in (ROOT / "tools" / "checks" / "quick_anyway.txt").read_text("utf-8").splitlines():
        file, name = test.split("::")
        assert f"def {name.split('[')[0]}(" in (ROOT / file).read_text("utf-8")


def test_a_planted_fault_is_that_change_and_no_other() -> None:
    text = (
        "def f(a: int, b: float = 2.0) -> float:\n    σ = a - 1\n    raise ValueError(f'{a + 1}')\n"
        "    return -σ if a < b else 0.5\n"
    )
    planted = [mutant.planted(text).splitlines() for mutant in mutants_of(text, "f.py")]
    assert [next(line.strip() for line in lines if line not in text.splitlines()) for lines in planted] == [
        "σ = (a + 1)",
        "σ = a - 2",
        "return -σ if (a <= b) else 0.5",
        "return (σ) if a < b else 0.5",
        "return -σ if a < b else 0.625",
    ]


def test_faults_are_drawn_by_the_seed_and_have_tests_to_find_them() -> None:
    first, again, other = drawn(("flows",), 5, 0), drawn(("flows",), 5, 0), drawn(("flows",), 5, 1)
    assert first == again != other
    for mutant in first:
        assert near_tests(mutant.file)
        assert (ROOT / mutant.file).read_text("utf-8")[mutant.start : mutant.end] == mutant.old


def test_faults_written_by_hand_stand_where_they_say() -> None:
    faults, gone = written()
    # Those whose code has changed are said; too many of them, and the list is to be brought up to date.
    assert len(faults) > 3 * len(gone)
    for fault in faults:
        text = (ROOT / fault.file).read_text("utf-8")
        ast.parse(fault.planted(text))
        assert text[fault.start : fault.end] == fault.old != fault.new


def test_what_is_struck_off_has_a_reason_and_is_mostly_still_there() -> None:
    struck = equivalents()
    assert all(len(reason) > 10 for reason in struck.values())
    files = {file: (ROOT / file).read_text("utf-8") if (ROOT / file).is_file() else "" for file, _, _ in struck}
    gone = [line for file, line, _ in struck if line not in files[file]]
    assert 3 * len(gone) <= len(struck), gone


def forked(mutant: Mutant, look: Callable[[], float]) -> float:
    """A number after a fault was planted in a process of its own."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            plant(mutant)
            os.write(write, repr(look()).encode())
        except NotPlantedError:
            os.write(write, b"nan")
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    os.close(write)
    with os.fdopen(read) as found:
        return float(found.read())


def fault_at(file: str, old: str, new: str) -> Mutant:
    text = (ROOT / file).read_text("utf-8")
    start = text.index(old)
    return Mutant(file, text.count("\n", 0, start) + 1, start, start + len(old), old, new)


def test_a_fault_is_planted_in_functions_and_constants() -> None:
    from noiseflow.calibrate import measurement

    file = "noiseflow/calibrate/measurement.py"
    assert measurement.quantile(math.inf) == pytest.approx(1.96, abs=1e-3)
    function = fault_at(file, "0.5 + LEVEL / 2)\n    # Imported", "0.5 + LEVEL / 4)\n    # Imported")
    assert forked(function, lambda: measurement.quantile(math.inf)) == pytest.approx(0.636, abs=1e-3)
    constant = fault_at(file, f"LEVEL = {measurement.LEVEL}", "LEVEL = 0.5")
    assert forked(constant, lambda: measurement.quantile(math.inf)) == pytest.approx(0.6745, abs=1e-3)
    # The process that planted it is another.
    assert measurement.quantile(math.inf) == pytest.approx(1.96, abs=1e-3)


def test_tests_of_a_fault_are_those_that_enter_its_block(tmp_path: Path) -> None:
    file = "noiseflow/calibrate/measurement.py"
    (tmp_path / "reach.txt").write_text(
        f"tests/models/test_a.py::b\t0.10\t{file}:quantile\ntests/models/test_a.py::c\t0.05\t{file}:quantile\n"
        f"tests/models/test_a.py::d\t0.01\t{file}:root\ntests/models/test_a.py::e\t0.02\t{file}:quantile#1\n"
    )
    mapped = read_reach(tmp_path / "reach.txt")
    mutant = fault_at(file, "0.5 + LEVEL / 2))", "0))")
    assert likely_tests(mutant, mapped, []) == ["tests/models/test_a.py::c", "tests/models/test_a.py::b"]
    # The quickest first, as long as their seconds allow.
    assert likely_tests(mutant, mapped, [], 0.14) == ["tests/models/test_a.py::c"]
    infinite = fault_at(file, "0.5 + LEVEL / 2)\n    # Imported", "0")
    assert likely_tests(infinite, mapped, []) == ["tests/models/test_a.py::e"]
    near = f"{near_tests(file)[0]}::a"
    assert likely_tests(mutant, {}, [near, "tests/raw/test_image.py::b"]) == [near]


def test_tests_of_a_file_are_run_in_a_row(tmp_path: Path) -> None:
    """By the file of the quickest: a fixture of a module is not made again behind another module's tests."""
    file = "noiseflow/calibrate/measurement.py"
    seconds = {"tests/models/test_a.py::b": 0.1, "tests/models/test_c.py::d": 0.2, "tests/models/test_a.py::e": 0.3}
    (tmp_path / "reach.txt").write_text("".join(f"{test}\t{each}\t{file}:quantile\n" for test, each in seconds.items()))
    mutant = fault_at(file, "0.5 + LEVEL / 2))", "0))")
    found = [
        test.removeprefix("tests/models/test_") for test in likely_tests(mutant, read_reach(tmp_path / "reach.txt"), [])
    ]
    assert found == ["a.py::b", "a.py::e", "c.py::d"]


def test_a_test_enters_what_its_fixtures_entered_for_another(tmp_path: Path) -> None:
    file, made = tmp_path / "reach.txt", cast("Any", object())

    def run(name: str, *fixtures: object, makes: bool = False) -> None:
        item: Any = SimpleNamespace(
            nodeid=name,
            config=SimpleNamespace(getoption=lambda _: file),
            _fixtureinfo=SimpleNamespace(name2fixturedefs={"made": fixtures}),
        )
        test = reach.pytest_runtest_protocol(item)
        next(test)
        if makes:
            fixture = reach.pytest_fixture_setup(made)
            next(fixture)
            reach.ENTERED.add("a.py:of the fixture")
            assert next(fixture, None) is None
        reach.ENTERED.add("a.py:its own")
        assert next(test, None) is None

    run("first", made, makes=True)
    run("second", made)
    run("alone")
    found = {name: [test for _, test in tests] for name, tests in read_reach(file).items()}
    assert found["a.py:of the fixture"] == ["first", "second"]
    assert found["a.py:its own"] == ["alone", "first", "second"]


def test_blocks_note_that_they_are_entered() -> None:
    text = '''
class A:
    """A class."""

    def halves(self, numbers):
        """Halves, one by one."""
        for number in numbers:
            if number > 9:
                number = 9
            yield number / 2
        else:
            yield -1.0

def outer(x):
    return (lambda: x)() if x else inner()

def inner():
    try:
        return 1 / 0
    except ZeroDivisionError:
        return 0
'''
    entered: set[str] = set()
    found: dict[str, Any] = {NOTED: entered}
    exec(compile(watched(text, "a.py"), "a.py", "exec"), found)
    assert list(found["A"]().halves([4])) == [2.0, -1.0]
    assert entered == {"a.py:A.halves", "a.py:A.halves#1", "a.py:A.halves#2"}
    assert found["A"].halves.__doc__ == "Halves, one by one."
    entered.clear()
    assert found["outer"](3) == 3
    assert entered == {"a.py:outer"}
    assert found["outer"](0) == 0
    assert entered == {"a.py:outer", "a.py:inner", "a.py:inner#1", "a.py:inner#2"}
    lines = text.splitlines()
    places = {line.strip(): block_at(text, number) for number, line in enumerate(lines, 1)}
    assert places["number = 9"] == "A.halves#3"
    assert places["if number > 9:"] == "A.halves#1"
    assert places["yield -1.0"] == "A.halves#2"
    assert places["return 0"] == "inner#2"
    assert places["class A:"] is None


def test_a_loop_without_an_end_is_found(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setattr(planting, "MOST_OF_ONE", 1.0)
    deadline = time.monotonic() + 60

    def prepare() -> None:
        monkeypatch.setattr(request.node, "runtest", lambda: [None for _ in iter(int, 1)])

    assert planting._forked(prepare, [request.node], 60) == ("failed", request.node.nodeid)
    assert time.monotonic() < deadline
    assert planting._forked(lambda: os._exit(0), [request.node], 60)[0] == "not"


@pytest.mark.parametrize(("last", "fate"), [("passed", "SURVIVES"), ("failed", "found"), ("late", "undecided")])
def test_a_test_that_fails_anyway_finds_nothing(last: str, fate: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = "noiseflow/calibrate/measurement.py"
    first, second = (f"{near_tests(file)[0]}::{name}" for name in "ab")
    # With the fault, without it; then the rest of the tests.
    answers = [("failed", first), ("failed", first), (last, second), ("passed", "")]
    runs: list[list[str]] = []

    def forked(prepare: object, items: list[Any], seconds: float) -> tuple[str, str]:
        runs.append([each.nodeid for each in items])
        return answers[len(runs) - 1]

    monkeypatch.setattr(planting, "_forked", forked)
    tests: dict[str, Any] = {name: SimpleNamespace(nodeid=name) for name in (first, second)}
    said: list[str] = []
    assert planting.fate(fault_at(file, "LEVEL = ", "LEVEL = 0 * "), tests, {}, 9.0, said.append) == fate
    assert runs[:3] == [[first, second], [first], [second]]
    assert said == [f"{first} fails anyway,", second]


def test_a_constant_made_by_a_comprehension_is_exchanged() -> None:
    from noiseflow.patches.pairings.frames import defects

    fault = fault_at("noiseflow/patches/pairings/frames/defects.py", "(y, x) != (0, 0)", "(y, x) != (9, 9)")
    assert (len(defects.NEIGHBOURS), forked(fault, lambda: len(defects.NEIGHBOURS))) == (8, 9.0)


def test_a_constant_of_several_that_are_set_at_once_is_exchanged() -> None:
    from noiseflow.raw.formats.tags import tiff_pages

    fault = fault_at("noiseflow/raw/formats/tags/tiff_pages.py", "33421, 33422", "33421, 9")
    assert (tiff_pages.CFA_PATTERN, forked(fault, lambda: tiff_pages.CFA_PATTERN)) == (33422, 9.0)
    assert forked(fault, lambda: tiff_pages.CFA_REPEAT) == 33421
