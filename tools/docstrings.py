"""Documented parameters without a word on what they mean, by file.

    python -m tools.docstrings [noiseflow/ROOM ...]

A parameter stands in the section *Parameters* or *Other Parameters* of a numpydoc docstring as ``name : type``; its
meaning is the indented text below.  Docstrings are taken from the syntax tree: nothing is imported.
"""

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import click

__all__ = ["Parameter", "documented_parameters"]

ROOT = Path(__file__).resolve().parents[1]
SECTIONS = ("Parameters", "Other Parameters")


@dataclass(frozen=True)
class Parameter:
    """One documented parameter, or several that share one text (``low, high : float``)."""

    file: Path
    line: int
    owner: str
    name: str
    meaning: str


def documented_parameters(folder: Path) -> Iterator[Parameter]:
    """Every parameter that a docstring below `folder` (or of the file `folder`) names."""
    files = [folder] if folder.is_file() else sorted(folder.rglob("*.py"))
    for file in files:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                for name, meaning in _parameters(ast.get_docstring(node, clean=False) or ""):
                    yield Parameter(file, node.lineno, node.name, name, meaning)


def _parameters(docstring: str) -> Iterator[tuple[str, str]]:
    """Names and meanings in the parameter sections of a docstring."""
    lines = inspect.cleandoc(docstring).splitlines()
    titles = [number for number, line in enumerate(lines[1:]) if set(line) == {"-"}]
    for title, end in pairwise([*titles, len(lines)]):
        if lines[title] not in SECTIONS:
            continue
        name, meaning = "", list[str]()
        for line in lines[title + 2 : end]:
            if line and not line[0].isspace():
                if name:
                    yield name, " ".join(meaning)
                # An example or a sentence below the section names no parameter.
                name, meaning = line.partition(" :")[0].strip(), []
                name = name if all(each.strip(" *").isidentifier() for each in name.split(",")) else ""
            elif line.strip():
                meaning.append(line.strip())
        if name:
            yield name, " ".join(meaning)


@click.command()
@click.argument("folders", type=click.Path(exists=True, path_type=Path), nargs=-1)
def main(folders: tuple[Path, ...]) -> None:
    """List the documented parameters below FOLDERS that have no meaning; of the whole package if none is given."""
    found = [each for folder in folders or (ROOT / "noiseflow",) for each in documented_parameters(folder.resolve())]
    bare = [parameter for parameter in found if not parameter.meaning]
    for parameter in bare:
        click.echo(f"{parameter.file.relative_to(ROOT)}:{parameter.line}: {parameter.owner}: {parameter.name}")
    click.echo(f"{len(bare)} of {len(found)} documented parameters have no meaning")


if __name__ == "__main__":
    main()
