"""Make text from files harmless, with one function for each place where it is shown.

Names of cameras, files and scenes come from untrusted files.  They may contain escape sequences,
markup, formulas, characters that reverse the text, or ten thousand characters.
"""

import json
import re
import unicodedata
from typing import Any

__all__ = [
    "LONGEST_LINE",
    "OF_ONE_NUMBER",
    "TIED",
    "counted",
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
"""Largest number of characters of a message."""

OF_ONE_NUMBER = (
    r"(?<=\d) (?=[%×]|(?:dB|DN)\b)|(?<=\d) (?=(?:±|to|…) [-−\d])|(?<=\d (?:±|…)) (?=[-−\d])|(?<=\d to) (?=[-−\d])"
    r"|(?<=\d) (?=\(\d)|(?<=\d) (?=frames?\))|(?<=\b[SO]) (?=\d)"
)
"""Pattern of spaces within a number with its interval, unit or frames, and after S and O of a NoiseProfile."""

MARKDOWN = r"(?i)[\\`|\[\]$*<&@]|(?<![^\W_])_|_(?![^\W_])|(?<=:)//|(?<=www)\."
"""Pattern of characters with a meaning in GitHub's Markdown; underscores within words have none."""

TIED = "\N{NO-BREAK SPACE}"
"""A space at which lines are not broken; commands print it as an ordinary space."""

LONGEST = 80
"""Largest number of characters of a name that are shown."""

FORMULA = ("=", "+", "-", "@")
"""Characters that start a formula in spreadsheets."""


def counted(number_of: int, thing: str, things: str | None = None) -> str:
    """Format a number of things: ``1 frame``, ``20,000 frames``.

    Parameters
    ----------
    number_of : int
        How many.
    thing : str
        One of them.
    things : str, optional
        More than one of them; by default `thing` and an s.
    """
    return f"{number_of:,} {thing if number_of == 1 else things or thing + 's'}"


def plain_text(text: str, longest: int = LONGEST) -> str:
    r"""Convert text to one line of printable characters, for a terminal, a log or an error message.

    Line breaks and tabs become spaces; unprintable characters become escapes.  A long text
    keeps its beginning and its end.

    Parameters
    ----------
    text : str
        Any text, such as a camera's name in a raw file.
    longest : int
        Largest number of characters to keep.

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
    # Characters dropped here would be dropped below too; this keeps very long texts cheap.
    head, tail = text[: 2 * longest], text[-longest:] if len(text) > 3 * longest else text[2 * longest :]
    visible = " ".join("".join(_visible(character) for character in head + tail).split())
    if len(visible) <= longest:
        return visible
    kept = longest - 1
    return visible[: kept - kept // 3] + "…" + visible[len(visible) - kept // 3 :]


def lines_text(text: str) -> str:
    r"""Escape unprintable characters of a text for a terminal; line breaks and repeated spaces are kept.

    >>> lines_text("S6\x1b[31m:\n  1")
    'S6\\x1b[31m:\n  1'
    """
    return "\n".join(map(_all_visible, text.split("\n")))


def rich_text(text: str, longest: int = LONGEST) -> str:
    r"""Apply `plain_text` and escape the markup of `rich`.

    >>> rich_text("[red]")
    '\\[red]'
    """
    from rich.markup import escape

    return escape(plain_text(text, longest))


def html_text(text: str) -> str:
    """Escape a text of any length for HTML, as content or as a quoted attribute.

    >>> html_text("<b>")
    '&lt;b&gt;'
    """
    # Its table of entities would cost every command a millisecond.
    from html import escape

    return escape(_all_visible(text))


def figure_text(text: str, longest: int = LONGEST) -> str:
    r"""Apply `plain_text` and escape dollars and a leading ``_``, which mean formulas and hidden labels in matplotlib.

    >>> figure_text("cost$_$")
    'cost\\$_\\$'
    """
    shown = plain_text(text, longest).replace("$", r"\$")
    return "\u2009" + shown if shown.startswith("_") else shown


def markdown_text(text: str, longest: int = LONGEST_LINE) -> str:
    r"""Apply `plain_text` and escape Markdown, including table cells, links, pictures, tags, formulas and emphasis.

    >>> markdown_text("a|b <img src=x> [x](y)")
    'a\\|b &lt;img src=x> \\[x\\](y)'
    >>> markdown_text("https://a.org www.b.org c@d.org *e* _f_ g_h")
    'https:&#47;&#47;a.org www&#46;b.org c&#64;d.org \\*e\\* \\_f\\_ g_h'
    """
    return re.sub(MARKDOWN, _in_markdown, plain_text(text, longest))


def _in_markdown(found: re.Match[str]) -> str:
    """Escape one match; characters that GitHub uses to detect addresses become entities."""
    mark = found[0]
    if mark.startswith(("&", "<")):
        return html_text(mark)
    if mark in "@." or mark == "//":
        return "".join(f"&#{ord(each)};" for each in mark)
    return "\\" + mark


def csv_cell(value: Any) -> Any:
    """Prepare a value for a CSV file: texts that a spreadsheet would run as a formula get a leading apostrophe.

    >>> csv_cell("=HYPERLINK(A1)"), csv_cell(-1.5)
    ("'=HYPERLINK(A1)", -1.5)
    """
    if not isinstance(value, str):
        return value
    visible = _all_visible(value)
    return "'" + visible if visible.lstrip().startswith(FORMULA) else visible


def json_text(content: Any, indent: int | None = 1) -> str:
    r"""Write values as JSON with every unprintable character escaped.

    Parameters
    ----------
    content
        JSON-able values.
    indent : int, optional
        Spaces per level; None for one line.

    Raises
    ------
    ValueError
        If a number is NaN or infinite, which JSON does not have.

    Examples
    --------
    >>> json_text({"σ": "a\u202eb"}, None)
    '{"σ": "a\\u202eb"}'
    """
    text = json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False)
    return re.sub(r"[^\x20-\x7e\n]", lambda found: _escaped(found[0]), text) + ("\n" if indent else "")


def tag_text(text: str, longest: int = LONGEST) -> str:
    r"""Convert text to ASCII for a tag of a raw or TIFF file.

    >>> tag_text("Caméra\x00")
    'Camera\\x00'
    """
    letters = unicodedata.normalize("NFKD", plain_text(text, longest))
    letters = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return letters.encode("ascii", "replace").decode()[:longest]


def _all_visible(text: str) -> str:
    return text if text.isprintable() else "".join(map(_visible, text))


def _visible(character: str) -> str:
    """A printable character, a space for white space, or an escape."""
    if character.isprintable():
        return character
    return " " if character.isspace() else repr(character)[1:-1]


def _escaped(character: str) -> str:
    """A character for JSON: unchanged if printable or a space, otherwise its escape."""
    visible = character.isprintable() or unicodedata.category(character) == "Zs"
    return character if visible else json.dumps(character)[1:-1]
