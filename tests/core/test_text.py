"""Hostile names are harmless wherever they are shown."""

import csv
import io
import json
import re
import unicodedata

import pytest

from noiseflow.core.text import (
    csv_cell,
    figure_text,
    html_text,
    json_text,
    markdown_text,
    plain_text,
    rich_text,
    tag_text,
)

HOSTILE = (
    "cost$_$",
    "$\\frac{$",
    "<script>alert(1)</script>\"'&",
    "[red]",
    "[/b]",
    "one\ntwo\r\nthree\u2028four",
    "\x1b[31mred\x1b]0;title\x07\x9b1m",
    "abc\u202egnp.exe\u200f\u2066",
    "\ud800",
    "=HYPERLINK(1)",
    "\t=1+1",
    "\u200f@SUM(1)",
    "_hidden",
    "x" * 10_000,
    "\u202e" * 10_000,
    "",
)


def visible(text: str) -> bool:
    return all(unicodedata.category(character)[0] != "C" for character in text)


@pytest.mark.parametrize("name", HOSTILE)
def test_one_short_line_of_visible_characters(name: str) -> None:
    for shown in (plain_text(name), tag_text(name)):
        assert visible(shown)
        assert len(shown) <= 80
        shown.encode()
    assert tag_text(name).isascii()


def test_a_long_name_keeps_its_ends() -> None:
    shown = plain_text("head" + "x" * 10_000 + "tail", 20)
    assert len(shown) == 20
    assert shown.startswith("head")
    assert shown.endswith("tail")
    assert plain_text("é中Ω") == "é中Ω"


@pytest.mark.parametrize("name", HOSTILE)
def test_rich_prints_the_name_itself(name: str) -> None:
    from rich.text import Text

    assert Text.from_markup(rich_text(name)).plain == plain_text(name)


LINKS = (
    "[click](https://example.org)",
    "![](https://example.org/track.png)",
    "<img src=https://example.org/track.png>",
    "a|b",
    "\\|<b>",
    "`code` | ``",
    "\\[x](javascript:alert(1))",
    "HTTPS://example.org/track and www.example.org, ftp://a.b, c@d.org",
    "*a* **b** _c_ __d__ e_f &#47; &amp;",
)


@pytest.mark.parametrize("name", [*HOSTILE, *LINKS])
def test_markdown_shows_the_name_and_nothing_comes_of_it(name: str) -> None:
    from markdown_it import MarkdownIt

    shown = markdown_text(name)
    assert visible(shown)
    lines = ["| a | b |", "|---|---|", f"| {shown} | last |"]
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse("\n".join(lines))
    cells = [token for token in tokens if token.type == "inline"]
    assert [token.content for token in cells[:2]] == ["a", "b"]
    assert len(cells) == 4
    assert cells[-1].content == "last"
    kinds = {each.type for each in cells[2].children or []}
    assert kinds <= {"text", "text_special"}
    assert "".join(each.content for each in cells[2].children or []) == plain_text(name, 1000)
    # GitHub makes links of bare addresses.
    assert not re.search(r"(?i)\b(https?|ftp)://|\bwww\.|\w@\w", shown)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_page_shows_the_name_and_runs_nothing(name: str) -> None:
    from html.parser import HTMLParser

    seen: list[str] = []
    tags: list[str] = []

    class Reader(HTMLParser):
        def handle_data(self, data: str) -> None:
            seen.append(data)

        def handle_starttag(self, tag: str, attrs: object) -> None:
            tags.append(tag)

    reader = Reader()
    reader.feed(f"<p title='{html_text(name)}'>{html_text(name)}</p>")
    reader.close()
    assert tags == ["p"]
    assert visible("".join(seen))


@pytest.mark.parametrize("name", HOSTILE[:-1])
def test_a_figure_draws_the_name(name: str) -> None:
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure()
    ax = figure.add_subplot()
    ax.plot([0, 1], label=figure_text(name))
    ax.set_title(figure_text(name))
    ax.legend()
    FigureCanvasSVG(figure).print_svg(io.BytesIO())
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [figure_text(name)]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_spreadsheet_runs_nothing(name: str) -> None:
    cell = csv_cell(name)
    assert not cell.lstrip().startswith(("=", "+", "-", "@"))
    text = io.StringIO()
    csv.writer(text).writerow([cell, csv_cell(-1.5)])
    assert len(text.getvalue().splitlines()) == 1
    assert next(csv.reader(io.StringIO(text.getvalue()))) == [cell, "-1.5"]


@pytest.mark.parametrize("name", HOSTILE)
def test_json_reads_back_the_same(name: str) -> None:
    text = json_text({name: [name, 1.5, None]})
    assert json.loads(text) == {name: [name, 1.5, None]}
    assert visible(text.replace("\n", ""))
    text.encode()
