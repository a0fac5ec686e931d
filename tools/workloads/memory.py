"""Peak memory of a piece of work, its own apart from pages of files."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, cast

__all__ = ["Peaks", "in_fresh_process", "watched"]

STATUS = Path("/proc/self/status")
EVERY_S = 0.01


@dataclass
class Peaks:
    """Highest resident memory seen, MiB.

    Parameters
    ----------
    own : float
        Anonymous: what the process allocated (RssAnon).
    total : float
        With pages of mapped files, libraries and stores, which the system takes back when it needs room (VmRSS).
    """

    own: float = 0.0
    total: float = 0.0

    def look(self) -> None:
        """Take in what is resident now."""
        kib = {name: int(words[0]) for name, *words in map(str.split, _status()) if name in ("RssAnon:", "VmRSS:")}
        self.own, self.total = max(self.own, kib["RssAnon:"] / 1024), max(self.total, kib["VmRSS:"] / 1024)


@contextmanager
def watched() -> Iterator[Peaks]:
    """Look at this process's memory every 10 ms, on Linux."""
    peaks, done = Peaks(), threading.Event()

    def look_again() -> None:
        while not done.wait(EVERY_S):
            peaks.look()

    peaks.look()
    thread = threading.Thread(target=look_again, daemon=True)
    thread.start()
    try:
        yield peaks
    finally:
        done.set()
        thread.join()
        peaks.look()


def in_fresh_process(work: Any, *arguments: Any) -> Any:
    """What a function returns in a process of its own, in whose memory nothing lies that was done before."""
    with cast(Any, get_context("spawn")).Pool(1) as pool:
        return pool.apply(work, arguments)


def _status() -> list[str]:
    return STATUS.read_text().splitlines()
