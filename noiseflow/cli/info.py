"""``noiseflow info``."""

from pathlib import Path

import click

from noiseflow.cli.options import PATH

__all__ = ["info"]


@click.command()
@click.argument("path", type=PATH, metavar="FILE_OR_FOLDER")
def info(path: Path) -> None:
    """Say what a raw file, patch store, run folder or folder of raw files is.

    \b
    noiseflow info photo.arw
    """  # noqa: D301
    from noiseflow.describe import describe

    click.echo(str(path))
    for label, text in describe(path).items():
        click.echo(f"  {label + ':':14} {text}")
