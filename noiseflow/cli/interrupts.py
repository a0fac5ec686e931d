"""Ctrl-C, TERM and HUP: one line of what is kept and how to go on, and the customary exit status."""

import functools
import math
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import click

from noiseflow.core.text import lines_text

__all__ = ["Kept", "Stopped", "begun", "farewell", "keeps", "kept_run", "listening", "remembering"]

WORDS = {"SIGINT": "Ctrl-C", "SIGTERM": "TERM", "SIGHUP": "HUP"}
NAMES = {getattr(signal, name): word for name, word in WORDS.items() if hasattr(signal, name)}
"""Signals that stop a command, in words; Windows has no HUP."""

META = "noiseflow.kept"
OUTPUTS = ("out", "report", "preview", "maps")
"""Parameters of commands that name what they write."""

SHOWN = 3
"""Outputs that are named; of more, such as the frames of a burst, their number."""

AGAIN_S = 0.01
"""Time after which a signal comes again that came where Python drops exceptions, such as in a destructor."""

State = tuple[int, int, int]


class Stopped(KeyboardInterrupt):
    """A signal to stop has come.

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
        """Exit status of a process that this signal ended, as shells give it."""
        return 128 + self.number


@dataclass(frozen=True)
class Kept:
    """What is left of a command that was stopped: in words, and the words to add to it to go on."""

    text: str
    add: str = ""


@contextmanager
def listening() -> Iterator[None]:
    """Raise `Stopped` in the main thread at the first signal to stop; end at once at the second."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        if came:
            # Files under their final names are whole at any moment; the next run removes the private ones.
            os._exit(128 + number)
        came.append(number)
        if _place.within:
            raise Stopped(number)
        # Before the command or after it, where click would say "Aborted!".
        line, status = farewell(_place.ctx, Stopped(number))
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        with suppress(OSError):
            os.write(2, f"noiseflow: {lines_text(line)}\n".encode(errors="backslashreplace"))
        os._exit(status)

    defaults = (signal.SIG_DFL, signal.default_int_handler)
    # Under nohup HUP is ignored, and stays so.
    before = {number: signal.getsignal(number) for number in NAMES if signal.getsignal(number) in defaults}
    report, again = sys.unraisablehook, list[threading.Timer]()

    def dropped(what: "sys.UnraisableHookArgs") -> None:
        if not isinstance(what.exc_value, Stopped):
            report(what)
            return
        came.clear()
        again.append(threading.Timer(AGAIN_S, os.kill, (os.getpid(), what.exc_value.number)))
        again[-1].start()

    try:
        sys.unraisablehook = dropped
        for number in before:
            signal.signal(number, stop)
        yield
    finally:
        sys.unraisablehook = report
        for timer in again:
            timer.cancel()
        _place.ctx = None
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass
class _Place:
    """Where the process is: its command, if it has begun, and whether that runs."""

    ctx: click.Context | None = None
    within: bool = False


_place = _Place()


@dataclass
class _Running:
    """The command that runs: its words, what stood in the place of its outputs, and how to find what is kept."""

    arguments: Sequence[str]
    before: dict[Path, State | None]
    look: Callable[[], Kept | None] = field(default=lambda: None)


@contextmanager
def begun(ctx: click.Context, arguments: Sequence[str]) -> Iterator[None]:
    """Note a command's words before it runs, and that it runs; it catches `Stopped` itself."""
    ctx.meta[META] = _Running(arguments, {})
    _place.ctx, _place.within = ctx, True
    try:
        yield
    finally:
        _place.within = False


def keeps(look: Callable[[], Kept | None], outputs: Sequence[Path | None] | None = None) -> None:
    """Say how the command that runs finds out, when it is stopped, what is kept.

    Parameters
    ----------
    look : callable
        Gives None where nothing is, or where outputs are whole.
    outputs : sequence of path, optional
        What is written; by default what `OUTPUTS` name.
    """
    ctx = click.get_current_context()
    running = ctx.meta.setdefault(META, _Running(sys.argv[1:], {}))
    named = [ctx.params.get(name) for name in OUTPUTS] if outputs is None else outputs
    running.before = {path: _state(path) for path in named if isinstance(path, Path)}
    running.look = look


def remembering(command: Callable[..., Any] | None) -> Callable[..., Any] | None:
    """A command that first notes what stands in the place of its outputs."""
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
    """Refuse what no command can use, in the same words everywhere: NaN, infinities, more than 64 bits, of seeds 32."""
    flag = f"--{name.removeprefix('raw_').replace('_', '-')}"
    for each in value if isinstance(value, tuple) else (value,):
        if isinstance(each, float) and not math.isfinite(each):
            raise click.BadParameter(f"{each} is no finite number", param_hint=flag)
        if name.endswith("seed") and isinstance(each, int) and each >= 2**32:
            raise click.BadParameter(f"{each}: expected 0 … 2³² − 1", param_hint=flag)
        if isinstance(each, int) and abs(each) >= 2**63:
            raise click.BadParameter(f"{each}: expected a whole number of 64 bits", param_hint=flag)


def kept_run(out: Path) -> Kept | None:
    """The last state of a training, while its model is not written."""
    # By its files alone: the signal may have come while PyTorch was being imported.
    from noiseflow.core.output.checks import partial_of
    from noiseflow.core.output.manifest import MANIFEST

    replacing = partial_of(out)
    if (replacing / MANIFEST).is_file() and any(replacing.glob("state/[0-9]*")):
        stands = f", and the earlier run stands in {out}" if out.exists() else ""
        return Kept(f"the last state is kept in {replacing}{stands}", "--resume")
    if (out / "spec.json").is_file() or not any(out.glob("state/[0-9]*")):
        return None
    return Kept(f"the last state is kept in {out}", "--resume")


def farewell(ctx: click.Context | None, stop: BaseException) -> tuple[str, int]:
    """The line to print when a command was stopped, and its exit status."""
    number = stop.number if isinstance(stop, Stopped) else int(signal.SIGINT)
    running = (ctx.meta.get(META) if ctx is not None else None) or _Running(sys.argv[1:], {})
    name, status = NAMES[signal.Signals(number)], 128 + number
    kept = running.look()
    whole = [path for path, state in running.before.items() if _state(path) not in (None, state)]
    if kept is None and whole:
        shown = " and ".join(map(str, whole)) if len(whole) <= SHOWN else f"{len(whole)} files"
        text = f"{shown} {'is' if len(whole) == 1 else 'are'} whole"
        if len(whole) == len(running.before):
            return f"stopped by {name}; {text}", status
        kept = Kept(f"{text}, {len(running.before) - len(whole)} not written", "--overwrite")
    kept = kept or Kept("nothing is kept")
    added = [word for word in [kept.add] if word and word not in running.arguments]
    again = " ".join(map(_quoted, ["noiseflow", *running.arguments, *added]))
    return f"stopped by {name}; {kept.text}; go on with: {again}", status


def _quoted(word: str) -> str:
    r"""A word for a shell, in characters that can be seen.

    >>> _quoted("a\x1b[m b")
    "$'a\\x1b[m b'"
    """
    if word.isprintable():
        return shlex.quote(word)
    # Bytes of names that are no text, too.
    quoted = word.replace("\\", "\\\\").replace("'", "\\'")
    parts = (each if each.isprintable() else "".join(f"\\x{byte:02x}" for byte in os.fsencode(each)) for each in quoted)
    return f"$'{''.join(parts)}'"


def _state(path: Path) -> State | None:
    try:
        about = os.lstat(path)
    except OSError:
        return None
    return about.st_dev, about.st_ino, about.st_mtime_ns
