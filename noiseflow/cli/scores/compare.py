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
    from noiseflow.core.text import plain_text
    from noiseflow.evaluate.presentation.formatting import plus_minus
    from noiseflow.evaluate.report.compare_reports import compare as run

    found = run(first, second)
    width = max(len(name) for name in found.numbers)
    models = [plain_text(name, 28) for name in found.models]
    if models[0] == models[1]:
        models = [plain_text(folder.name, 28) for folder in (first, second)]
    click.echo(f"{'':{width}}  {models[0]:>28}  {models[1]:>28}")
    for name, values in found.numbers.items():
        one, other = ("–" if value is None else plus_minus(value, 4) for value in values)
        click.echo(f"{name:{width}}  {one:>28}  {other:>28}")
    for sentence in found.words():
        click.echo(plain_text(sentence, 1000))
