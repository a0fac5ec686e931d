"""Put the tables of docs/guide/video.md between their marks: real sensors, simulated cameras, cost of a stream.

python -m tools.studies.in_time docs/guide/video.md --data ../shared/data/emva1288
"""

from pathlib import Path

import click

from noiseflow.core.text import plain_text
from tools.benching.page import put_between
from tools.studies.in_time import planted, stacks, streaming

TABLES = "stacks", "planted", "streaming"
"""Each is between the marks ``<!-- in time: NAME -->`` of the page."""


def of_stacks(data: Path | None, only: tuple[str, ...]) -> str:
    """The table of the EMVA stacks."""
    if data is None:
        raise click.UsageError("--data: the table of the stacks needs the folder of the EMVA reference sets")
    rows = []
    for row in stacks.measured(data, 64, only):
        rows.append(row)
        for trial in row.fit.trials:
            kept = ", kept" if trial.kept else ""
            click.echo(f"{row.name}: {trial.part} {trial.gain:+.5f} ± {trial.error:.5f}{kept}", err=True)
        click.echo(f"{row.name}: {plain_text(str(stacks.facts_of(row)))}\n{stacks.table([row])}", err=True)
    return stacks.table(rows)


def of_planted(only: tuple[str, ...]) -> str:
    """The table of the simulated cameras."""
    rows = []
    for row in planted.measured(only):
        rows.append(row)
        click.echo(planted.table([row]).splitlines()[-1], err=True)
    return planted.table(rows)


def of_streaming() -> str:
    """The table of costs, and the lines about memory."""
    found = []
    for cost in streaming.costs():
        found.append(cost)
        click.echo(f"{cost.frame}, {cost.memory}, {cost.source}: {cost.ratio:.2f}", err=True)
    return streaming.table(found, [streaming.growth(*each) for each in streaming.MEMORY])


@click.command()
@click.argument("page", type=click.Path(exists=True, path_type=Path))
@click.option("--data", type=click.Path(exists=True, path_type=Path), help="Folder of the EMVA reference sets.")
@click.option("--of", "names", multiple=True, type=click.Choice(TABLES), help="Only this table; repeatable.")
@click.option("--only", multiple=True, help="Only the rows of this name; prints the table and leaves the page.")
def main(page: Path, data: Path | None, names: tuple[str, ...], only: tuple[str, ...]) -> None:
    """Make the tables of PAGE about noise in time; half an hour of one core."""
    for name in names or TABLES:
        text = {
            "stacks": lambda: of_stacks(data, only),
            "planted": lambda: of_planted(only),
            "streaming": of_streaming,
        }[name]()
        click.echo(text)
        if not only:
            put_between(page, f"in time: {name}", text)


if __name__ == "__main__":
    main()
