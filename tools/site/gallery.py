"""Run the programs of the gallery, and keep their pictures.

    python -m tools.site.gallery [NAME ...]

A program is the fenced Python of a page in docs/guide/gallery; its pictures go to docs/images/gallery.
"""

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import torch

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "guide" / "gallery"
PICTURES = ROOT / "docs" / "images" / "gallery"


def pages() -> list[Path]:
    """The pages with a program."""
    return [page for page in sorted(PAGES.glob("*.md")) if page.stem != "index"]


def run(page: Path, folder: Path) -> list[Path]:
    """Run the program of a page in a folder; its pictures."""
    (program,) = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    with _inside(folder), torch.random.fork_rng():
        exec(compile(program, str(page), "exec"), {"__name__": "__main__"})
    return sorted(folder.glob("*.png"))


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@click.command()
@click.argument("names", nargs=-1)
def main(names: tuple[str, ...]) -> None:
    """Run them."""
    PICTURES.mkdir(exist_ok=True)
    for page in pages():
        if names and page.stem not in names:
            continue
        click.echo(f"== {page.stem}")
        with tempfile.TemporaryDirectory() as folder:
            for picture in run(page, Path(folder)):
                shutil.copy(picture, PICTURES / picture.name)


if __name__ == "__main__":
    main()
