"""Commands as copies of one process that has imported everything, so that thousands of trials take minutes."""

import importlib
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Ended", "Running", "import_what_it_needs", "run"]

LIMIT_S = 600

IMPORTED = ("noiseflow", "torch", "numpy", "scipy", "matplotlib", "tensorboard", "sklearn", "h5py", "PIL", "jinja2")
"""Packages that are imported before commands are run."""


@dataclass(frozen=True)
class Ended:
    """A command that ended: its status, negative for a signal, and what it said."""

    status: int
    said: str

    @property
    def last(self) -> str:
        """The last line that it said."""
        return (self.said.strip().splitlines() or [""])[-1]


class Running:
    """A command in a copy of this process."""

    def __init__(self, folder: Path, words: Sequence[str], *, note: bool = False) -> None:
        # Not where writes are counted.
        self.said = Path(os.environ["FAULT_CONTROL"]).with_name(f"said-{random.getrandbits(64):x}")
        self.pid = os.fork()
        if not self.pid:
            _become(folder, words, self.said, note=note)

    def wait(self, stop: int | None = None, after_s: float = 0.0) -> Ended:
        """The end of the command; one that takes too long is killed.

        Parameters
        ----------
        stop : int, optional
            Signal that it is sent.
        after_s : float
            When it is sent, seconds from now.
        """
        began = time.monotonic()
        until = began + LIMIT_S
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                break
            if stop is not None and time.monotonic() > began + after_s:
                os.kill(self.pid, stop)
                stop = None
            if time.monotonic() > until:
                os.kill(self.pid, signal.SIGKILL)
                until += LIMIT_S
            time.sleep(0.002)
        text = self.said.read_text(errors="replace") if self.said.exists() else ""
        self.said.unlink(missing_ok=True)
        return Ended(os.waitstatus_to_exitcode(status), text)


def run(folder: Path, words: Sequence[str]) -> Ended:
    """Run a command to its end."""
    return Running(folder, words).wait()


def import_what_it_needs(folder: Path, words: Sequence[str]) -> Ended:
    """Run a command to its end, and import what it imported: those that follow are quick."""
    command = Running(folder, words, note=True)
    ended = command.wait()
    noted = command.said.with_suffix(".modules")
    for name in noted.read_text().split():
        if name not in sys.modules and name.partition(".")[0] in IMPORTED:
            with suppress(ImportError):
                importlib.import_module(name)
    noted.unlink()
    return ended


def _become(folder: Path, words: Sequence[str], said: Path, *, note: bool) -> None:
    """Run a command in this process, and end."""
    from noiseflow.cli import main

    status = 1
    try:
        os.chdir(folder)
        descriptor = os.open(said, os.O_WRONLY | os.O_CREAT, 0o666)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        sys.argv = ["noiseflow", *words]
        # A shell that starts this tool in the background has it ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            main(list(words), prog_name="noiseflow")
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        except KeyboardInterrupt:
            # Before or after the command: Python itself ends so.
            status = 130
        sys.stdout.flush()
        if note:
            said.with_suffix(".modules").write_text("\n".join(list(sys.modules)))
    except BaseException:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)
