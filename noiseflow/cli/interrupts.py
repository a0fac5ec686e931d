"""Ctrl-C, TERM and HUP: print one line on what is kept and how to continue, and exit with 128 + signal number."""

import functools
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import click

from noiseflow.core.text import lines_text

__all__ = ["Kept", "Stopped", "begun", "farewell", "keeps", "kept_run", "listening", "remembering"]

WORDS = {"SIGINT": "Ctrl-C", "SIGTERM": "TERM", "SIGHUP": "HUP"}
NAMES = {getattr(signal, name): word for name, word in WORDS.items() if hasattr(signal, name)}
"""Number of each signal that stops a command → its name in messages; Windows has no HUP."""

META = "noiseflow.kept"
OUTPUTS = ("out", "report", "preview", "maps")
"""Parameters of commands whose values are the paths of outputs."""

SHOWN = 3
"""Maximum number of outputs that a message lists; of more, such as the frames of a burst, it gives the number."""

AGAIN_S = 0.01
"""Delay in seconds before a signal is sent again whose exception Python dropped, such as in a destructor."""

REPLACED_S = 1.0
"""An error so many seconds after a signal is taken for its consequence: libraries replace exceptions by their own."""

State = tuple[int, int, int]


class Stopped(KeyboardInterrupt):
    """Raised when a signal stops the command.

    Parameters
    ----------
    number : int
        Number of the signal.
    """

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(number)
        self.number = number

    @property
    def status(self) -> int:
        """Exit status by the convention of shells: 128 + number of the signal."""
        return 128 + self.number


class Kept(NamedTuple):
    """What a stopped command has kept: a description, and the option to add to the command to continue."""

    text: str
    add: str = ""


@contextmanager
def listening() -> Iterator[None]:
    """Raise `Stopped` in the main thread at the first signal that stops; exit at once at the second."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        if came:
            # Files under their final names are complete at any moment; the next run removes the temporary ones.
            os._exit(128 + number)
        came.append(number)
        if _place.within:
            _place.stopped, _place.stopped_at = Stopped(number), time.monotonic()
            raise _place.stopped
        # Before or after the command, where click would print "Aborted!".
        line, status = farewell(_place.ctx, Stopped(number))
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        with suppress(OSError):
            os.write(2, f"noiseflow: {lines_text(line)}\n".encode(errors="backslashreplace"))
        os._exit(status)

    defaults = (signal.SIG_DFL, signal.default_int_handler)
    # Replace default handlers only: under nohup, HUP stays ignored.
    before = {number: signal.getsignal(number) for number in NAMES if signal.getsignal(number) in defaults}
    report, again = sys.unraisablehook, list[threading.Timer]()
    of_threads = threading.excepthook

    def dropped(what: "sys.UnraisableHookArgs") -> None:
        if not isinstance(what.exc_value, Stopped):
            report(what)
            return
        came.clear()
        again.append(threading.Timer(AGAIN_S, os.kill, (os.getpid(), what.exc_value.number)))
        again[-1].start()

    def in_thread(what: "threading.ExceptHookArgs") -> None:
        # TensorBoard raises what its thread could not write in the main thread too, which says it in one line.
        if not (isinstance(what.exc_value, OSError) and type(what.thread).__name__ == "_AsyncWriterThread"):
            of_threads(what)

    try:
        sys.unraisablehook, threading.excepthook = dropped, in_thread
        for number in before:
            signal.signal(number, stop)
        yield
    finally:
        sys.unraisablehook, threading.excepthook = report, of_threads
        for timer in again:
            timer.cancel()
        _place.ctx = None
        for number, handler in before.items():
            signal.signal(number, handler)


class _Place:
    """State of the process: the command, if one has begun, and whether it is running."""

    def __init__(self) -> None:
        self.ctx: click.Context | None = None
        self.within = False
        self.stopped: Stopped | None = None
        self.stopped_at = 0.0


_place = _Place()


class _Running:
    """The running command: its arguments, the earlier states of its outputs, and a function that finds what is kept."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self.arguments = arguments
        self.before: dict[Path, State | None] = {}
        self.look: Callable[[], Kept | None] = lambda: None


@contextmanager
def begun(ctx: click.Context, arguments: Sequence[str]) -> Iterator[None]:
    """Record the arguments of a command and that it is running; the caller catches `Stopped`.

    `Stopped` is raised as well where a library has replaced it by an error of its own, such as of a damaged file.
    """
    ctx.meta[META] = _Running(arguments)
    _place.ctx, _place.within, _place.stopped = ctx, True, None
    try:
        yield
    except Exception as error:
        if _place.stopped is None or time.monotonic() > _place.stopped_at + REPLACED_S:
            raise
        raise _place.stopped from error
    finally:
        _place.within = False


def keeps(look: Callable[[], Kept | None], outputs: Sequence[Path | None] | None = None) -> None:
    """Register the function that finds out what the running command has kept when it is stopped.

    Parameters
    ----------
    look : callable
        Returns what is kept; None if there is nothing but finished outputs.
    outputs : sequence of path, optional
        Outputs of the command; by default the values of its parameters in `OUTPUTS`.
    """
    ctx = click.get_current_context()
    running = ctx.meta.setdefault(META, _Running(sys.argv[1:]))
    named = [ctx.params.get(name) for name in OUTPUTS] if outputs is None else outputs
    running.before = {path: _state(path) for path in named if isinstance(path, Path)}
    running.look = look


def remembering(command: Callable[..., Any] | None) -> Callable[..., Any] | None:
    """Wrap a command so that it first records the state of its outputs and checks its numbers."""
    if command is None:
        return None

    @functools.wraps(command)
    def call(*given: Any, **values: Any) -> Any:
        keeps(lambda: None)
        for name, value in values.items():
            _check_numbers(name, value)
        return command(*given, **values)

    return call


def _check_numbers(name: str, value: Any) -> None:
    """Refuse NaN, infinities, integers of more than 64 bits and seeds of more than 32 bits."""
    flag = f"--{name.removeprefix('raw_').replace('_', '-')}"
    for each in value if isinstance(value, tuple) else (value,):
        if isinstance(each, float) and not math.isfinite(each):
            raise click.BadParameter(f"{each} is not a finite number", param_hint=flag)
        if name.endswith("seed") and isinstance(each, int) and each >= 2**32:
            raise click.BadParameter(f"{each}: expected 0 … 2³² − 1", param_hint=flag)
        if isinstance(each, int) and abs(each) >= 2**63:
            raise click.BadParameter(f"{each}: expected a whole number that fits in 64 bits", param_hint=flag)


def kept_run(out: Path) -> Kept | None:
    """Return the last checkpoint of a training run in `out`; None if there is none, or the model is written."""
    # Judged by file names alone: the signal may have arrived while PyTorch was being imported.
    from noiseflow.core.output.checks import partial_of
    from noiseflow.core.output.manifest import MANIFEST

    replacing = partial_of(out)
    if (replacing / MANIFEST).is_file() and any(replacing.glob("state/[0-9]*")):
        earlier = f", and the earlier run is still in {out}" if out.exists() else ""
        return Kept(f"the last state is kept in {replacing}{earlier}", "--resume")
    if (out / "spec.json").is_file() or not any(out.glob("state/[0-9]*")):
        return None
    return Kept(f"the last state is kept in {out}", "--resume")


def farewell(ctx: click.Context | None, stop: BaseException) -> tuple[str, int]:
    """Return the line to print when a command was stopped, and its exit status."""
    number = stop.number if isinstance(stop, Stopped) else int(signal.SIGINT)
    running = (ctx.meta.get(META) if ctx is not None else None) or _Running(sys.argv[1:])
    name, status = NAMES[signal.Signals(number)], 128 + number
    kept = running.look()
    complete = [path for path, state in running.before.items() if _state(path) not in (None, state)]
    if kept is None and complete:
        shown = " and ".join(map(str, complete)) if len(complete) <= SHOWN else f"{len(complete)} files"
        text = f"{shown} {'is' if len(complete) == 1 else 'are'} complete"
        if len(complete) == len(running.before):
            return f"stopped by {name}; {text}", status
        kept = Kept(f"{text}, {len(running.before) - len(complete)} not written", "--overwrite")
    kept = kept or Kept("nothing was kept")
    added = [word for word in [kept.add] if word and word not in running.arguments]
    again = " ".join(map(_quoted, ["noiseflow", *running.arguments, *added]))
    return f"stopped by {name}; {kept.text}; continue with: {again}", status


def _quoted(word: str) -> str:
    r"""Quote a word for a shell, with unprintable characters as escapes.

    >>> _quoted("a\x1b[m b")
    "$'a\\x1b[m b'"
    """
    if word.isprintable():
        # Imported only when a command is stopped.
        from shlex import quote

        return quote(word)
    # Works for bytes of file names that are not valid text, too.
    quoted = word.replace("\\", "\\\\").replace("'", "\\'")
    parts = (each if each.isprintable() else "".join(f"\\x{byte:02x}" for byte in os.fsencode(each)) for each in quoted)
    return f"$'{''.join(parts)}'"


def _state(path: Path) -> State | None:
    try:
        about = os.lstat(path)
    except OSError:
        return None
    return about.st_dev, about.st_ino, about.st_mtime_ns
