"""Tools that check the whole: what they run is what is documented."""

import re
import shlex
from pathlib import Path

import click

from noiseflow.cli import main
from tools.checks.bounds import lower_bounds
from tools.checks.mutants import drawn, mutants_of, near_tests
from tools.checks.newcomer import commands, unexplained
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
