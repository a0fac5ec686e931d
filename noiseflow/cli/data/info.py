"""``noiseflow info``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from noiseflow.cli.options import PATH, raw_options
from noiseflow.cli.progress import shown

if TYPE_CHECKING:
    from noiseflow.raw import RawSettings

__all__ = ["info"]


@click.command()
@click.argument("path", type=PATH, metavar="FILE_OR_FOLDER")
@raw_options()
@click.option("--verify", is_flag=True, help="Compare every patch of a store with its checksum.")
def info(path: Path, settings: "RawSettings", verify: bool) -> None:
    """Say what a raw file, patch store, run folder or folder of raw files is.

    \b
    noiseflow info photo.arw
    """  # noqa: D301
    from noiseflow.cli.workflows.describe import describe

    described = describe(path, settings)
    click.echo(str(path))
    for label, text in described.items():
        click.echo(f"  {label + ':':14} {text}")
    if verify:
        from noiseflow.patches import PatchStore

        with PatchStore(path) as store, shown("verify", "patches") as progress:
            store.verify(progress)
            click.echo(f"  {'verified:':14} {len(store):,} patches are what was written")
