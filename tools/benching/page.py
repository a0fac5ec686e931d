"""Tables and paragraphs in pages of docs/ that a tool makes."""

from collections.abc import Sequence
from pathlib import Path

import click

__all__ = ["between", "put_between", "put_table", "table"]


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, the first column of words and the others of numbers."""
    rule = ["---", *("---:" for _ in columns[1:])]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (columns, rule, *rows))


def put_table(page: Path, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Put a table in the place of the one on the page that has these columns.

    Raises
    ------
    click.ClickException
        The page has no such table, or several.
    """
    new, text = table(columns, rows), page.read_text(encoding="utf-8")
    heading = new.splitlines()[0] + "\n"
    if text.count(heading) != 1:
        raise click.ClickException(f"{page}: has {text.count(heading)} tables with the columns {', '.join(columns)}")
    before, after = text.split(heading)
    lines = after.splitlines(keepends=True)
    end = next((index for index, line in enumerate(lines) if not line.startswith("|")), len(lines))
    page.write_text(before + new + "".join(lines[end:]), encoding="utf-8")


def between(page: Path, name: str) -> str:
    """What stands between the marks of that name on a page, marks included; the marks alone where there are none."""
    start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    if start not in text or end not in text:
        return f"{start}{end}\n"
    return start + text.split(start)[1].split(end)[0] + end + "\n"


def put_between(page: Path, name: str, new: str) -> None:
    """Put text in the place of what stands between ``<!-- NAME -->`` and ``<!-- /NAME -->`` on the page.

    Raises
    ------
    click.ClickException
        The page has no such pair of marks, or several.
    """
    text = page.read_text(encoding="utf-8")
    start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    if text.count(start) != 1 or text.count(end) != 1 or text.index(start) > text.index(end):
        raise click.ClickException(f"{page}: expected one pair of marks {start.strip()} and {end}")
    before, rest = text.split(start)
    after = rest.split(end)[1]
    page.write_text(f"{before}{start}\n{new.strip()}\n\n{end}{after}", encoding="utf-8")
