"""List the slow tests, which ``pytest --quick`` leaves out, and the slowest twenty in docs/develop.md.

    rm -f times.txt quick.txt reach.txt
    pytest -n 2 --dist loadfile --times times.txt
    python -m tools.checks.slow_tests times.txt
    pytest -p tools.checks.reach --reach reach.txt --times quick.txt --quick
    python -m tools.checks.slow_tests times.txt --quick quick.txt --reach reach.txt

A test's time does not tell what a file costs whose tests share a process: that is in the last test of the file.  So
files that take long in a quick run are left out whole, as long as others enter every module of the package that
they enter.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import click

from tools.benching.page import put_between

__all__ = ["slowest"]

ROOT = Path(__file__).resolve().parents[2]
LISTED = ROOT / "tests" / "slow_tests.txt"
PAGE = ROOT / "docs" / "develop.md"

SLOW_S = 0.1
"""Seconds of processor time from which on a test is not in the quick set."""

FILE_S = 0.5
"""Seconds of processor time from which on a file may be left out of the quick set, if its tests take `SLOW_S` on
average."""

ONE_S = 1.0
"""Seconds of processor time from which on a single test may be left out that was quick in a run of all."""

SHOWN = 20


def slowest(lines: Iterable[str], least_s: float = SLOW_S) -> list[tuple[float, str]]:
    """Tests that took `least_s` or longer, the slowest first.

    >>> slowest(["0.09 a.py::quick", "2.00 a.py::slow[x y]", "9.00 b.py::slower"])
    [(9.0, 'b.py::slower'), (2.0, 'a.py::slow[x y]')]
    """
    found = map(_parts, lines)
    return sorted(((float(seconds), test) for seconds, test in found if float(seconds) >= least_s), reverse=True)


def unneeded(seconds: Mapping[str, Sequence[float]], entered: Mapping[str, set[str]]) -> list[tuple[float, str]]:
    """Files that take `FILE_S` or longer, `SLOW_S` a test or longer, and enter no module alone, the slowest first.

    Parameters
    ----------
    seconds : mapping of str to sequence of float
        File of tests → seconds of each of its tests in a quick run.
    entered : mapping of str to set of str
        File of tests → modules of the package that they enter.

    Examples
    --------
    >>> entered = {"a": {"m", "n"}, "b": {"m"}, "c": {"n"}, "d": {"m", "n"}}
    >>> unneeded({"a": [9.0], "b": [5.0], "c": [0.1], "d": [0.01] * 99}, entered)
    [(9.0, 'a'), (5.0, 'b')]
    >>> unneeded({"a": [9.0], "b": [5.0]}, {"a": {"m", "n"}, "b": {"m"}})
    [(5.0, 'b')]
    """
    files = Counter(module for modules in entered.values() for module in modules)
    found = []
    for spent, file in sorted(((sum(each), file) for file, each in seconds.items()), reverse=True):
        modules = entered.get(file, set())
        if spent >= max(FILE_S, SLOW_S * len(seconds[file])) and all(files[module] > 1 for module in modules):
            files.subtract(modules)
            found.append((spent, file))
    return found


def _not_quick(times: Path, reach: Path) -> list[tuple[float, str]]:
    """The files, and of the others the single tests, to leave out, by the times and the reach of a quick run."""
    spent = {test: float(seconds) for seconds, test in map(_parts, times.read_text("utf-8").splitlines())}
    lines = (line.split("\t") for line in reach.read_text("utf-8").splitlines())
    entered = {test: {block.split(":")[0] for block in blocks} for test, _, *blocks in lines}
    files = _left_out(spent, entered, _file)
    gone = {file for _, file in files}
    spent = {test: each for test, each in spent.items() if _file(test) not in gone}
    entered = {test: each for test, each in entered.items() if _file(test) not in gone}
    # What a file's fixtures cost would move to its next test, but the others have little of that.
    single = _left_out(spent, entered, lambda test: test if spent.get(test, 0.0) >= ONE_S else _file(test))
    return [*files, *((each, part) for each, part in single if "::" in part)]


def _left_out(
    spent: Mapping[str, float], entered: Mapping[str, set[str]], part: Callable[[str], str]
) -> list[tuple[float, str]]:
    """What is `unneeded` of the parts into which tests are put."""
    seconds, modules = defaultdict[str, list[float]](list), defaultdict[str, set[str]](set)
    for test, each in spent.items():
        seconds[part(test)].append(each)
    for test, names in entered.items():
        modules[part(test)] |= names
    return unneeded(seconds, modules)


def _file(test: str) -> str:
    return test.split("::")[0]


def _listed_files() -> list[tuple[float, str]]:
    """The files that are listed as a whole."""
    lines = map(_parts, LISTED.read_text("utf-8").splitlines())
    return [(float(seconds), test) for seconds, test in lines if "::" not in test]


def _parts(line: str) -> tuple[str, str]:
    seconds, test = line.rstrip("\n").split(maxsplit=1)
    return seconds, test


@click.command()
@click.argument("times", type=click.Path(exists=True, path_type=Path))
@click.option("--quick", type=click.Path(exists=True, path_type=Path), help="Times of a quick run, for whole files.")
@click.option("--reach", type=click.Path(exists=True, path_type=Path), help="Reach of the same run.")
def main(times: Path, quick: Path | None, reach: Path | None) -> None:
    """Write both lists from TIMES, a file of ``pytest --times``."""
    lines = times.read_text("utf-8").splitlines()
    slow = slowest(lines)
    whole = _not_quick(quick, reach) if quick and reach else _listed_files()
    listed = {test: seconds for seconds, test in [*slow, *whole]}
    ordered = sorted(listed, key=lambda test: ("::" in test, -listed[test]))
    LISTED.write_text("".join(f"{listed[test]:.2f} {test}\n" for test in ordered), "utf-8")
    total = sum(float(line.split(maxsplit=1)[0]) for line in lines)
    rows = [f"| {seconds:.1f} | `{test.removeprefix('tests/')}` |" for seconds, test in slow[:SHOWN]]
    table = "\n".join(["| s | test |", "|---:|---|", *rows])
    put_between(PAGE, "slowest tests", f"{len(lines):,} tests, {total:.0f} s of processor time in all.\n\n{table}")
    click.echo(f"{len(slow)} of {len(lines)} tests are slow: {sum(s for s, _ in slow):.0f} of {total:.0f} s")


if __name__ == "__main__":
    main()
