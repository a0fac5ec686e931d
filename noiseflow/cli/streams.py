"""Printing to standard output and error, which may be closed, on a full disk, or a pipe without a reader.

A message on standard error that cannot be printed is ignored.  A result on standard output that cannot be printed
is an error, reported in one line.
"""

import errno
import io
import os
import re
import shutil
import sys
import textwrap
from typing import TextIO

import click

from noiseflow.core.text import OF_ONE_NUMBER, TIED, lines_text

__all__ = ["answer", "buffered", "lost_answer", "say"]

NARROWEST = 20
"""Smallest width of the text beside a label, in characters."""


def buffered(stream: TextIO) -> TextIO:
    """Return a stream that keeps what could not be written, so that `lost_answer` finds it.

    With ``PYTHONUNBUFFERED``, usual in containers, Python opens streams that keep nothing.

    Parameters
    ----------
    stream : TextIO
        A standard stream.

    Returns
    -------
    TextIO
        The same stream if it has a buffer or is no file; else one in its place, which must no longer be used.
    """
    if not isinstance(stream, io.TextIOWrapper) or not isinstance(stream.buffer, io.RawIOBase):
        return stream
    encoding, errors = stream.encoding, stream.errors
    return io.TextIOWrapper(io.BufferedWriter(stream.detach()), encoding, errors)


def answer(text: str, whole: bool = False) -> None:
    """Print lines on standard output; control characters in them, such as in file names, are escaped.

    On a terminal, long lines wrap between words, never within a number and its interval, and continue indented under
    the text.  In a file or a pipe, lines do not wrap.

    Parameters
    ----------
    text : str
        Lines to print.
    whole : bool
        Do not wrap lines on a terminal either; for output that programs read, such as JSON.
    """
    text = TIED.join(map(lines_text, text.split(TIED)))
    # sys.stdout is None if it is closed.
    if not whole and sys.stdout and sys.stdout.isatty():
        columns = shutil.get_terminal_size().columns
        text = "\n".join(_broken(line, columns) for line in text.split("\n"))
    click.echo(text.replace(TIED, " "))


def _broken(line: str, columns: int) -> str:
    """Wrap a line to the width of a terminal in characters."""
    if len(line) <= columns:
        return line
    # Continue under the text that follows a label and two or more spaces; else indent by two more spaces.
    label = re.match(r" *\S+(?: \S+)* {2,}|  ISO \S+ +", line)
    indent = len(label[0]) if label else len(line) - len(line.lstrip()) + 2
    room = max(columns, indent + NARROWEST)
    # Replace the tied spaces, because textwrap would break lines at them too.
    tied = re.sub(OF_ONE_NUMBER, TIED, line).replace(TIED, "\0")
    rest = " " * min(indent, columns // 2)
    pieces = textwrap.wrap(tied, room, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False)
    return "\n".join(pieces).replace("\0", " ")


def say(line: str) -> None:
    """Print a line on standard error; if that fails, print nothing there from then on."""
    try:
        click.echo(lines_text(line), err=True)
    except OSError:
        _silence(sys.stderr)


def lost_answer() -> str | None:
    """Flush standard output and report whether that failed; after a failure, further output is discarded.

    Returns
    -------
    str or None
        None if everything was printed, or standard output is closed.  Else the message to show, which is empty if the
        reader of a pipe has gone.
    """
    try:
        # None: the caller closed it before the start because no output is wanted.
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        _silence(sys.stdout)
        reason = (error.strerror or str(error)).lower()
        return "" if error.errno == errno.EPIPE else f"standard output: cannot be written ({reason})"
    return None


def _silence(stream: TextIO) -> None:
    """Redirect a stream to the null device, because the interpreter flushes its buffer once more on exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
