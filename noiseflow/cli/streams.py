"""Standard output and error as a command finds them: closed, on a full disk, or a pipe that nobody reads any more.

What cannot be said does not stop the work.  An answer that cannot be printed is an error, in one line.
"""

import errno
import os
import re
import shutil
import sys
import textwrap
from typing import TextIO

import click

from noiseflow.core.text import lines_text

__all__ = ["TIED", "answer", "lost_answer", "say"]

OF_ONE_NUMBER = re.compile(
    r"(?<=\d) (?=%)|(?<=\d) (?=(?:±|to|…) [-−\d])|(?<=\d (?:±|…)) (?=[-−\d])|(?<=\d to) (?=[-−\d])"
    r"|(?<=\d) (?=\(\d)|(?<=\d) (?=frames?\))|(?<=\b[SO]) (?=\d)"
)
"""Spaces within a number, its interval, its per cent or its frames, and after S and O of a NoiseProfile."""

TIED = "\N{NO-BREAK SPACE}"
"""A space at which `answer` does not break a line; printed as a plain one."""

NARROWEST = 20
"""Width that the text beside a label has at least."""


def answer(text: str, whole: bool = False) -> None:
    """Print lines on standard output; names in them may be those of strangers.

    On a terminal a long line breaks between words, never within a number and its interval; what follows stands
    under its text.  In a file or a pipe it stays one line, and so does one that is for programs, such as JSON.

    Parameters
    ----------
    text : str
        Lines.
    whole : bool
        Break no line, on a terminal neither.
    """
    text = TIED.join(map(lines_text, text.split(TIED)))
    # A closed stream is None.
    if not whole and sys.stdout and sys.stdout.isatty():
        columns = shutil.get_terminal_size().columns
        text = "\n".join(_broken(line, columns) for line in text.split("\n"))
    click.echo(text.replace(TIED, " "))


def _broken(line: str, columns: int) -> str:
    """A line as lines of a terminal."""
    if len(line) <= columns:
        return line
    # The text after a label and two spaces or more, else two spaces further in.
    label = re.match(r" *\S+(?: \S+)* {2,}|  ISO \S+ +", line)
    indent = len(label[0]) if label else len(line) - len(line.lstrip()) + 2
    room = max(columns, indent + NARROWEST)
    # Not textwrap's own white space: it breaks at the tied ones too.
    tied = OF_ONE_NUMBER.sub(TIED, line).replace(TIED, "\0")
    rest = " " * min(indent, columns // 2)
    pieces = textwrap.wrap(tied, room, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False)
    return "\n".join(pieces).replace("\0", " ")


def say(line: str) -> None:
    """Print a line on standard error; where that takes nothing, go on in silence."""
    try:
        click.echo(lines_text(line), err=True)
    except OSError:
        _silence(sys.stderr)


def lost_answer() -> str | None:
    """Whether standard output refuses what was printed; what comes after that is not printed.

    Returns
    -------
    str or None
        None if all is printed; else what to say of it, which is nothing where the reader went away.
    """
    try:
        # None: closed before the start, by who wanted no answer.
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        _silence(sys.stdout)
        reason = (error.strerror or str(error)).lower()
        return "" if error.errno == errno.EPIPE else f"standard output: cannot be written ({reason})"
    return None


def _silence(stream: TextIO) -> None:
    """Send what a stream still holds nowhere: the interpreter flushes it once more at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
