"""``noiseflow compare``."""

from pathlib import Path

import click

from noiseflow.cli.options import PATH

__all__ = ["compare"]


@click.command()
@click.argument("first", type=PATH)
@click.argument("second", type=PATH)
def compare(first: Path, second: Path) -> None:
    """Compare the models under test of two report folders, FIRST and SECOND.

    On the same patches the difference in likelihood is paired over scenes.

    \b
    noiseflow compare report_before/ report_now/
    """  # noqa: D301
    from noiseflow.evaluate.presentation.formatting import plus_minus
    from noiseflow.evaluate.report.compare_reports import compare as run

    found = run(first, second)
    width = max(len(name) for name in found.numbers)
    click.echo(f"{'':{width}}  {found.models[0]:>28}  {found.models[1]:>28}")
    for name, values in found.numbers.items():
        one, other = ("–" if value is None else plus_minus(value, 4) for value in values)
        click.echo(f"{name:{width}}  {one:>28}  {other:>28}")
    for sentence in found.words():
        click.echo(sentence)
