"""Text from files, made harmless: one function for each place where it is shown.

Names of cameras, files and scenes come from strangers.  They may hold escape sequences,
markup, formulas, marks that reverse the text, or ten thousand characters.
"""

import html
import json
import re
import unicodedata
from typing import Any

__all__ = [
    "LONGEST_LINE",
    "OF_ONE_NUMBER",
    "TIED",
    "csv_cell",
    "figure_text",
    "html_text",
    "json_text",
    "lines_text",
    "markdown_text",
    "plain_text",
    "rich_text",
    "tag_text",
]

LONGEST_LINE = 1000
"""Characters of a message."""

OF_ONE_NUMBER = re.compile(
    r"(?<=\d) (?=[%×]|(?:dB|DN)\b)|(?<=\d) (?=(?:±|to|…) [-−\d])|(?<=\d (?:±|…)) (?=[-−\d])|(?<=\d to) (?=[-−\d])"
    r"|(?<=\d) (?=\(\d)|(?<=\d) (?=frames?\))|(?<=\b[SO]) (?=\d)"
)
"""Spaces within a number, its interval, its unit or its frames, and after S and O of a NoiseProfile."""

MARKDOWN = re.compile(r"[\\`|\[\]$*<&@]|(?<![^\W_])_|_(?![^\W_])|(?<=:)//|(?<=www)\.", re.IGNORECASE)
"""What has a meaning in GitHub's Markdown; an underscore within a word has none."""

TIED = "\N{NO-BREAK SPACE}"
"""A space at which no line is broken; commands print it as a plain one."""

LONGEST = 80
"""Characters of a name that are shown."""

FORMULA = ("=", "+", "-", "@")
"""What spreadsheets take for the start of a formula."""


def plain_text(text: str, longest: int = LONGEST) -> str:
    r"""One line of visible characters, for a terminal, a log or an error message.

    Line breaks and tabs become spaces; characters without a glyph become their escapes.  A long
    text keeps its two ends.

    Parameters
    ----------
    text : str
        Any text, such as a camera's name in a raw file.
    longest : int
        Characters to keep.

    Returns
    -------
    str
        At most `longest` characters.

    Examples
    --------
    >>> plain_text("S6\x1b[31m\n")
    'S6\\x1b[31m'
    >>> plain_text("0123456789", 5)
    '012…9'
    """
    # Escapes lengthen a text sixfold at the most: what is cut here would be cut below as well.
    head, tail = text[: 2 * longest], text[-longest:] if len(text) > 3 * longest else text[2 * longest :]
    visible = " ".join("".join(_visible(character) for character in head + tail).split())
    if len(visible) <= longest:
        return visible
    kept = longest - 1
    return visible[: kept - kept // 3] + "…" + visible[len(visible) - kept // 3 :]


def lines_text(text: str) -> str:
    r"""Text of any length for a terminal: line breaks and rows of spaces stay, characters without a glyph are escaped.

    >>> lines_text("S6\x1b[31m:\n  1")
    'S6\\x1b[31m:\n  1'
    """
    return "\n".join(map(_all_visible, text.split("\n")))


def rich_text(text: str, longest: int = LONGEST) -> str:
    r"""`plain_text` for a table or a bar of `rich`: its markup is shown, not obeyed.

    >>> rich_text("[red]")
    '\\[red]'
    """
    from rich.markup import escape

    return escape(plain_text(text, longest))


def html_text(text: str) -> str:
    """A text of any length for HTML, as content or as an attribute in quotes.

    >>> html_text("<b>")
    '&lt;b&gt;'
    """
    return html.escape(_all_visible(text))


def figure_text(text: str, longest: int = LONGEST) -> str:
    r"""`plain_text` for matplotlib: dollars are no formulas, and a leading ``_`` hides no legend.

    >>> figure_text("cost$_$")
    'cost\\$_\\$'
    """
    shown = plain_text(text, longest).replace("$", r"\$")
    return "\u2009" + shown if shown.startswith("_") else shown


def markdown_text(text: str, longest: int = LONGEST_LINE) -> str:
    r"""`plain_text` for Markdown, in the cell of a table too: no link, picture, tag, formula or emphasis comes of it.

    >>> markdown_text("a|b <img src=x> [x](y)")
    'a\\|b &lt;img src=x> \\[x\\](y)'
    >>> markdown_text("https://a.org www.b.org c@d.org *e* _f_ g_h")
    'https:&#47;&#47;a.org www&#46;b.org c&#64;d.org \\*e\\* \\_f\\_ g_h'
    """
    return MARKDOWN.sub(_in_markdown, plain_text(text, longest))


def _in_markdown(found: re.Match[str]) -> str:
    """A mark as an escape; what makes an address of its neighbours, to GitHub, as entities."""
    mark = found[0]
    if mark.startswith(("&", "<")):
        return html.escape(mark)
    if mark in "@." or mark == "//":
        return "".join(f"&#{ord(each)};" for each in mark)
    return "\\" + mark


def csv_cell(value: Any) -> Any:
    """A value for a CSV file: a text that a spreadsheet would run as a formula gets a leading apostrophe.

    >>> csv_cell("=HYPERLINK(A1)"), csv_cell(-1.5)
    ("'=HYPERLINK(A1)", -1.5)
    """
    if not isinstance(value, str):
        return value
    visible = _all_visible(value)
    return "'" + visible if visible.lstrip().startswith(FORMULA) else visible


def json_text(content: Any, indent: int | None = 1) -> str:
    r"""JSON that reads back the same, with every invisible character escaped.

    Parameters
    ----------
    content
        JSON values.
    indent : int, optional
        Spaces of each level; None for one line.

    Raises
    ------
    ValueError
        If a number is NaN or infinite, which JSON does not know.

    Examples
    --------
    >>> json_text({"σ": "a\u202eb"}, None)
    '{"σ": "a\\u202eb"}'
    """
    text = json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False)
    return re.sub(r"[^\x20-\x7e\n]", lambda found: _escaped(found[0]), text) + ("\n" if indent else "")


def tag_text(text: str, longest: int = LONGEST) -> str:
    r"""ASCII for a tag of a raw or TIFF file.

    >>> tag_text("Caméra\x00")
    'Camera\\x00'
    """
    letters = unicodedata.normalize("NFKD", plain_text(text, longest))
    letters = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return letters.encode("ascii", "replace").decode()[:longest]


def _all_visible(text: str) -> str:
    return text if text.isprintable() else "".join(map(_visible, text))


def _visible(character: str) -> str:
    """A character, a space for a line break, or the escape of one that has no glyph."""
    if character.isprintable():
        return character
    return " " if character.isspace() else repr(character)[1:-1]


def _escaped(character: str) -> str:
    """A character in JSON: as it is, or its escape where it has no glyph or breaks the line."""
    visible = character.isprintable() or unicodedata.category(character) == "Zs"
    return character if visible else json.dumps(character)[1:-1]
