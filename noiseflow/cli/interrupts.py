"""Ctrl-C, TERM and HUP: one line of what is kept and how to go on, and the customary exit status."""

import functools
import math
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import click

__all__ = ["Kept", "Stopped", "begin", "farewell", "keeps", "kept_run", "listening", "remembering"]

WORDS = {"SIGINT": "Ctrl-C", "SIGTERM": "TERM", "SIGHUP": "HUP"}
NAMES = {getattr(signal, name): word for name, word in WORDS.items() if hasattr(signal, name)}
"""Signals that stop a command, in words; Windows has no HUP."""

META = "noiseflow.kept"
OUTPUTS = ("out", "report", "preview")
"""Parameters of commands that name what they write."""

State = tuple[int, int, int]


class Stopped(KeyboardInterrupt):
    """A signal to stop has come.

    Parameters
    ----------
    number : int
        Of the signal.
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
        raise Stopped(number)

    defaults = (signal.SIG_DFL, signal.default_int_handler)
    # Under nohup HUP is ignored, and stays so.
    before = {number: signal.getsignal(number) for number in NAMES if signal.getsignal(number) in defaults}
    try:
        for number in before:
            signal.signal(number, stop)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass
class _Running:
    """The command that runs: its words, what stood in the place of its outputs, and how to find what is kept."""

    arguments: Sequence[str]
    before: dict[Path, State | None]
    look: Callable[[], Kept | None] = field(default=lambda: None)


def begin(ctx: click.Context, arguments: Sequence[str]) -> None:
    """Note a command's words before it runs."""
    ctx.meta[META] = _Running(arguments, {})


def keeps(look: Callable[[], Kept | None]) -> None:
    """Say how the command that runs finds out, when it is stopped, what is kept.

    Parameters
    ----------
    look : callable
        Gives None where nothing is, or where all outputs are whole.
    """
    ctx = click.get_current_context()
    running = ctx.meta.setdefault(META, _Running(sys.argv[1:], {}))
    named = [ctx.params.get(name) for name in OUTPUTS]
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


def farewell(ctx: click.Context, stop: BaseException) -> tuple[str, int]:
    """The line to print when a command was stopped, and its exit status."""
    number = stop.number if isinstance(stop, Stopped) else int(signal.SIGINT)
    running = ctx.meta.get(META) or _Running(sys.argv[1:], {})
    name, status = NAMES[signal.Signals(number)], 128 + number
    kept = running.look()
    whole = [path for path, state in running.before.items() if _state(path) not in (None, state)]
    if kept is None and whole and len(whole) == len(running.before):
        return f"stopped by {name}; {' and '.join(map(str, whole))} {'is' if len(whole) == 1 else 'are'} whole", status
    kept = kept or Kept("nothing is kept")
    added = [word for word in [kept.add] if word and word not in running.arguments]
    return (
        f"stopped by {name}; {kept.text}; go on with: {shlex.join(['noiseflow', *running.arguments, *added])}",
        status,
    )


def _state(path: Path) -> State | None:
    try:
        about = os.lstat(path)
    except OSError:
        return None
    return about.st_dev, about.st_ino, about.st_mtime_ns
