"""Which functions of the package each test enters: a plug-in of pytest, and a reader of what it writes.

    pytest -p tools.checks.reach --reach reach.txt --quick

A line of the file is a test, its seconds and the functions that it entered, as ``noiseflow/…/file.py:name``.  What a
test runs in another process is not seen.
"""

import sys
import threading
import time
from collections.abc import Generator
from pathlib import Path
from types import CodeType, FrameType

import pytest

__all__ = ["Reach", "read_reach"]

ROOT = Path(__file__).resolve().parents[2]

Reach = dict[str, list[tuple[float, str]]]
"""Tests of each function and of each file, with their seconds, the quickest first."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--reach", metavar="FILE", help="Append the functions that each test enters to FILE.")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, bool, bool]:
    file = item.config.getoption("reach")
    if not file:
        return (yield)
    entered: set[CodeType] = set()

    def note(frame: FrameType, _event: str, _argument: object) -> None:
        # Without a tracer of lines in return: a call costs one entry in a set.
        entered.add(frame.f_code)

    began, before = time.perf_counter(), sys.gettrace()
    threading.settrace(note)  # type: ignore[arg-type]
    sys.settrace(note)  # type: ignore[arg-type]
    try:
        return (yield)
    finally:
        sys.settrace(before)
        threading.settrace(None)  # type: ignore[arg-type]
        package = f"{item.config.rootpath}/noiseflow/"
        names = {
            f"noiseflow/{code.co_filename.removeprefix(package)}:{code.co_name}"
            for code in entered
            if code.co_filename.startswith(package)
        }
        with open(file, "a", encoding="utf-8") as lines:
            words = [item.nodeid, f"{time.perf_counter() - began:.2f}", *sorted(names)]
            lines.write("\t".join(words) + "\n")


def read_reach(file: Path) -> Reach:
    """Tests by function and by file."""
    reach: Reach = {}
    for line in file.read_text("utf-8").splitlines():
        test, seconds, *names = line.split("\t")
        for name in {*names, *(each.split(":")[0] for each in names)}:
            reach.setdefault(name, []).append((float(seconds), test))
    return {name: sorted(tests) for name, tests in reach.items()}
