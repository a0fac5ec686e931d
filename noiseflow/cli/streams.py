"""Standard output and error as a command finds them: closed, on a full disk, or a pipe that nobody reads any more.

What cannot be said does not stop the work.  An answer that cannot be printed is an error, in one line.
"""

import errno
import os
import sys
from typing import TextIO

import click

from noiseflow.core.text import lines_text

__all__ = ["answer", "lost_answer", "say"]


def answer(text: str) -> None:
    """Print lines on standard output; names in them may be those of strangers."""
    click.echo(lines_text(text))


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
