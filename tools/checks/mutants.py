"""Mutation testing: plant small faults by a fixed seed, and see whether the package's own tests find them.

    python -m tools.checks.mutants --count 40 --seed 0
    python -m tools.checks.mutants --room flows --count 10
    python -m tools.checks.mutants --written
    pytest -q -p tools.checks.reach --reach reach.txt --quick; python -m tools.checks.mutants --reach reach.txt --page

A fault is one changed operator, comparison or number, or one of those written by hand in ``faults.toml``.  It is
planted in memory: see `tools.checks.planting`.  The quick tests that enter its block are run until the first
failure, or without a map of them the test files of its room that name what its module offers.  Survivors are printed
with their line; those that change nothing which is promised are struck off by hand in ``equivalent.toml``.
"""

import re
import sys
import time
from collections import Counter
from pathlib import Path

import click
import pytest

from tools.benching.page import put_between, table
from tools.checks.faults import ROOMS, ROOT, Mutant, drawn, equivalents, written
from tools.checks.planting import MOST_SECONDS, Collected, Tests, fate, likely_tests, near_tests
from tools.checks.reach import read_reach

PAGE = ROOT / "docs" / "develop.md"

FATES = ("found", "SURVIVES", "undecided", "equivalent", "not planted")


def summary(fates: Counter[tuple[str, str]], survivors: list[str], said: str) -> str:
    """The page's table: what became of the faults of each room, and the survivors."""
    rooms = sorted({room for room, _ in fates})
    rows = [[room, *(str(fates[room, each]) for each in FATES)] for room in rooms]
    rows.append(["all", *(str(sum(fates[room, each] for room in rooms)) for each in FATES)])
    counted = sum(number for (_, each), number in fates.items() if each not in ("equivalent", "not planted"))
    caught = sum(number for (_, each), number in fates.items() if each == "found")
    lines = [f"{said}: {100 * caught / max(counted, 1):.0f} % of those that are not struck off were found.", ""]
    lines += [table(["room", "found", "survived", "took too long", "struck off", "not planted"], rows).rstrip()]
    if survivors:
        lines += ["", "Not found:", "", *(f"- {each}" for each in survivors)]
    return "\n".join(lines)


@click.command()
@click.option("--count", type=click.IntRange(1), default=40, show_default=True, help="Faults to plant.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the draw.")
@click.option("--room", "rooms", type=click.Choice(ROOMS), multiple=True, default=ROOMS, help="Rooms; all if none.")
@click.option("--written", "by_hand", is_flag=True, help="The faults written by hand, not drawn ones.")
@click.option("--at", "places", multiple=True, metavar="FILE:LINE", help="Of these, only the ones there.")
@click.option("--seconds", type=float, default=900.0, show_default=True, help="Longest run of the tests of one.")
@click.option(
    "--most", type=float, default=MOST_SECONDS, show_default=True, help="Seconds of tests, by the map, of one."
)
@click.option("--reach", type=click.Path(path_type=Path), help="File of tools.checks.reach.")
@click.option("--whole", is_flag=True, help="The slow tests too; else those of the quick set.")
@click.option("--list", "only_list", is_flag=True, help="Print the faults and their tests, and run nothing.")
@click.option("--said", type=click.Path(exists=True, path_type=Path), multiple=True, help="Sum up these outputs alone.")
@click.option("--page", is_flag=True, help="Put the table into docs/develop.md.")
def main(
    count: int,
    seed: int,
    rooms: tuple[str, ...],
    by_hand: bool,
    places: tuple[str, ...],
    seconds: float,
    most: float,
    reach: Path | None,
    whole: bool,
    only_list: bool,
    said: tuple[Path, ...],
    page: bool,
) -> None:
    """Plant faults, run the tests, and print what survives."""
    if said:
        _summed(said, by_hand, page)
        return
    mutants, gone = written() if by_hand else (drawn(rooms, count, seed), [])
    for each in gone:
        click.echo(f"the code of this fault has changed, so that it is not planted: {each}")
    mutants = [each for each in mutants if not places or f"{each.file}:{each.line}" in places]
    if only_list:
        for mutant in mutants:
            click.echo(f"{_words(mutant)}  [{' '.join(near_tests(mutant.file))}]")
        return
    fates: Counter[tuple[str, str]] = Counter()
    survivors: list[str] = []
    reached = read_reach(reach) if reach and reach.exists() else {}
    struck = equivalents()

    def run_all(tests: Tests) -> None:
        for mutant in mutants:
            began, by = time.monotonic(), [struck.get(_key(mutant), "")]
            became = "equivalent" if by[0] else fate(mutant, tests, reached, seconds, by.append, most)
            fates[mutant.file.split("/")[1], became] += 1
            if became == "SURVIVES":
                survivors.append(f"`{mutant.file}`: `{mutant.old}` → `{mutant.new}`".replace("\n", " "))
            click.echo(f"{became:11} {time.monotonic() - began:4.0f} s  {_words(mutant)}  {' '.join(by)}")
            sys.stdout.flush()

    files = {test.split("::")[0] for mutant in mutants for test in likely_tests(mutant, reached, None)}
    # A map may know files that were moved since.
    wanted = {file for file in files if (ROOT / file).exists()}
    options = ["-q", "-s", "-p", "no:cacheprovider", *([] if whole else ["--quick"]), *sorted(wanted)]
    pytest.main(options, plugins=[Collected(run_all)])
    _show(
        fates, survivors, f"Written by hand, {len(mutants)}" if by_hand else f"Seed {seed}, {len(mutants)} drawn", page
    )


def _show(fates: Counter[tuple[str, str]], survivors: list[str], what: str, page: bool) -> None:
    text = summary(fates, survivors, what)
    click.echo(text)
    if page:
        put_between(PAGE, "written faults" if what.startswith("Written") else "drawn faults", text)


SAID = re.compile(
    rf"^({'|'.join(FATES)}) +\d+ s  (noiseflow/(\w+)/\S+:\d+): ((?:'.*?'|\".*?\") → (?:'.*?'|\".*?\"))(  |$)"
)
"""A line of the output."""


def _summed(outputs: tuple[Path, ...], by_hand: bool, page: bool) -> None:
    """Sum up what runs printed; of a fault that was planted again the last line counts."""
    found: dict[tuple[str, str], tuple[str, str]] = {}  # by place and text: its room and fate
    for line in (line for output in outputs for line in output.read_text("utf-8").splitlines()):
        if match := SAID.match(line):
            found[match[2], match[4]] = (match[3], match[1])
    survivors = [
        f"`{place.rpartition(':')[0]}`: {text}" for (place, text), (_, fate) in found.items() if fate == "SURVIVES"
    ]
    what = "Written by hand" if by_hand else "Drawn by seeds"
    _show(Counter(found.values()), survivors, f"{what}, {len(found)}", page)


def _words(mutant: Mutant) -> str:
    return f"{mutant.file}:{mutant.line}: {mutant.old!r} → {mutant.new!r}"


def _key(mutant: Mutant) -> tuple[str, str, str]:
    lines = (ROOT / mutant.file).read_text("utf-8").splitlines()
    return mutant.file, lines[mutant.line - 1].strip(), mutant.new


if __name__ == "__main__":
    main()
