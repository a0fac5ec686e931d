"""``noiseflow info``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from noiseflow.cli.options import PATH, json_option, print_json, raw_options
from noiseflow.cli.progress import shown
from noiseflow.cli.streams import answer, say
from noiseflow.core.text import LONGEST_LINE, plain_text

if TYPE_CHECKING:
    from noiseflow.raw import RawSettings

__all__ = ["info"]


@click.command()
@click.argument("path", type=PATH, metavar="FILE_OR_FOLDER")
@json_option
@raw_options()
@click.option("--verify", is_flag=True, help="Check a store, run, profile, report or benchmark against its checksums.")
def info(path: Path, as_json: bool, settings: "RawSettings", verify: bool) -> None:
    """Describe a file or folder: raw file, patch store, run, camera profile, report or demo.

    \b
    noiseflow info photo.arw
    noiseflow info camera.json
    """  # noqa: D301
    from noiseflow.cli.workflows.describe import describe
    from noiseflow.cli.workflows.verify import verify_path

    described = describe(path, settings)
    if as_json:
        print_json(described)
    else:
        answer(plain_text(str(path), LONGEST_LINE))
        width = max(14, *(len(label) + 1 for label in described))
        for label, text in described.items():
            answer(f"  {label + ':':{width}} {plain_text(text, LONGEST_LINE)}")
    if verify:
        with shown("verify", "patches") as progress:
            found, caution = verify_path(path, progress)
        (say if as_json else answer)(f"  {'verified:':14} {found}")
        if caution:
            (say if as_json else answer)(f"  {'caution:':14} {caution}")
