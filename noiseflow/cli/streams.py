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

__all__ = ["lost_answer", "say", "tell"]

OF_ONE_NUMBER = re.compile(
    r"(?<=\d) (?=%)|(?<=\d) (?=(?:±|to|…) [-−\d])|(?<=\d (?:±|…)) (?=[-−\d])|(?<=\d to) (?=[-−\d])"
)
"""Spaces within a number, its interval and its per cent."""

TIED = "\N{NO-BREAK SPACE}"
"""A space at which `tell` does not break a line; printed as a plain one."""


def tell(line: str, indent: int = 0) -> None:
    """Print a line of the answer; on a terminal it breaks between words, never within a number and its interval.

    In a file or a pipe it stays one line.

    Parameters
    ----------
    line : str
        What to print.
    indent : int
        Spaces before the second line and all after it.
    """
    if sys.stdout.isatty():
        room = max(shutil.get_terminal_size().columns, indent + 20)
        tied = OF_ONE_NUMBER.sub(TIED, line)
        # Not textwrap's own white space: it would break at the tied ones too.
        pieces = textwrap.wrap(
            tied.replace(TIED, "\x00"),
            room,
            subsequent_indent=" " * indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        line = "\n".join(pieces).replace("\x00", " ")
    click.echo(line.replace(TIED, " "))


def say(line: str) -> None:
    """Print a line on standard error; where that takes nothing, go on in silence."""
    try:
        click.echo(line, err=True)
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
