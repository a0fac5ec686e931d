"""Fixtures shared by all tests, and the quick set of them.

``pytest --quick`` leaves out tests that are marked slow or in ``tests/slow_tests.txt``, but the fastest of a file that
is not listed as a whole;
``pytest --times FILE`` writes what each test took; ``python -m tools.checks.slow_tests FILE`` makes that list of it.
"""

import gc
import os
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import pytest

# Nothing of what is imported and collected goes away: no search for garbage there, now or later.
gc.disable()

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

SLOW_TESTS = Path(__file__).with_name("slow_tests.txt")
"""Lines of seconds of processor time and a test, the slowest first; before them files that are left out whole."""

QUICK_ANYWAY = Path(__file__).resolve().parents[1] / "tools" / "checks" / "quick_anyway.txt"
"""Slow tests in the quick set: no quick one enters a module that they enter."""

OTHERS_S = 0.03
"""Seconds that a test takes that is not listed."""


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout; skips where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"real data not found: {SHARED_DATA} is absent")
    return SHARED_DATA


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="Leave out the tests that tests/slow_tests.txt lists.")
    parser.addoption("--times", metavar="FILE", help="Append the processor time of each test to FILE.")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    slow = dict(reversed(line.split(maxsplit=1)) for line in SLOW_TESTS.read_text("utf-8").splitlines())
    if config.getoption("quick"):
        _keep_quick(config, items, slow)
    if hasattr(config, "workerinput"):
        # The slowest files first: the processes end together.
        total: Counter[Path] = Counter()
        for item in items:
            total[item.path] += float(slow.get(item.nodeid, OTHERS_S))
        items.sort(key=lambda item: -total[item.path])


def pytest_collection_finish() -> None:
    gc.enable()
    gc.freeze()


def _keep_quick(config: pytest.Config, items: list[pytest.Item], slow: dict[str, str]) -> None:
    marked = {item: 10.0 if item.get_closest_marker("slow") else 0.0 for item in items}
    seconds = {item: float(slow.get(item.nodeid, marked[item])) for item in items}
    fastest: dict[Path, pytest.Item] = {}
    for item in items:
        if item.path not in fastest or seconds[item] < seconds[fastest[item.path]]:
            fastest[item.path] = item
    anyway = set(QUICK_ANYWAY.read_text("utf-8").splitlines())
    kept = [
        item
        for item in items
        if item.nodeid in anyway
        or (item.nodeid.split("::")[0] not in slow and (not seconds[item] or item is fastest[item.path]))
    ]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
    items[:] = kept


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, bool, bool]:
    file = item.config.getoption("times")
    if not file:
        return (yield)
    before = os.times()
    try:
        return (yield)
    finally:
        # Of this process and of those that it waited for, fixtures included; the load of the machine is not in it.
        spent = sum(os.times()[:4]) - sum(before[:4])
        with open(file, "a", encoding="utf-8") as lines:
            lines.write(f"{spent:.2f} {item.nodeid}\n")
