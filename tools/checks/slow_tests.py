"""List the slow tests, which ``pytest --quick`` leaves out, and the slowest twenty in docs/develop.md.

rm -f times.txt; pytest -n 2 --dist loadfile --times times.txt
python -m tools.checks.slow_tests times.txt
"""

from collections.abc import Iterable
from pathlib import Path

import click

from tools.benching.page import put_between

__all__ = ["slowest"]

ROOT = Path(__file__).resolve().parents[2]
LISTED = ROOT / "tests" / "slow_tests.txt"
PAGE = ROOT / "docs" / "develop.md"

SLOW_S = 0.1
"""Seconds of processor time from which on a test is not in the quick set."""

SHOWN = 20


def slowest(lines: Iterable[str], least_s: float = SLOW_S) -> list[tuple[float, str]]:
    """Tests that took `least_s` or longer, the slowest first.

    >>> slowest(["0.10 a.py::quick", "2.00 a.py::slow[x y]", "9.00 b.py::slower"])
    [(9.0, 'b.py::slower'), (2.0, 'a.py::slow[x y]')]
    """
    found = [line.rstrip("\n").split(maxsplit=1) for line in lines]
    return sorted(((float(seconds), test) for seconds, test in found if float(seconds) >= least_s), reverse=True)


@click.command()
@click.argument("times", type=click.Path(exists=True, path_type=Path))
def main(times: Path) -> None:
    """Write both lists from TIMES, a file of ``pytest --times``."""
    lines = times.read_text("utf-8").splitlines()
    slow = slowest(lines)
    LISTED.write_text("".join(f"{seconds:.2f} {test}\n" for seconds, test in slow), "utf-8")
    total = sum(float(line.split(maxsplit=1)[0]) for line in lines)
    rows = [f"| {seconds:.1f} | `{test.removeprefix('tests/')}` |" for seconds, test in slow[:SHOWN]]
    table = "\n".join(["| s | test |", "|---:|---|", *rows])
    put_between(PAGE, "slowest tests", f"{len(lines):,} tests, {total:.0f} s of processor time in all.\n\n{table}")
    click.echo(f"{len(slow)} of {len(lines)} tests are slow: {sum(s for s, _ in slow):.0f} of {total:.0f} s")


if __name__ == "__main__":
    main()
