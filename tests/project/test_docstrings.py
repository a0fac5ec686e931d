"""Every documented parameter says what it means."""

import re
from pathlib import Path

import pytest

from tools.docstrings import documented_parameters

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("noiseflow", "tools")


@pytest.mark.parametrize("room", ROOMS)
def test_no_parameter_without_a_meaning(room: str) -> None:
    bare = [f"{each.file}:{each.line} {each.name}" for each in documented_parameters(ROOT / room) if not each.meaning]
    assert not bare


def test_a_parameter_without_a_meaning_is_seen(tmp_path: Path) -> None:
    source = (
        'def f(a, b):\n    """Do.\n\n    Parameters\n    ----------\n    a : int\n    b : int\n        The other.\n\n'
        '    Returns\n    -------\n    int\n    """\n'
    )
    (tmp_path / "made.py").write_text(source, encoding="utf-8")
    assert [(each.name, each.meaning) for each in documented_parameters(tmp_path)] == [("a", ""), ("b", "The other.")]


def test_no_message_leaves_the_plural_to_its_reader() -> None:
    """``1 frame`` and ``2 frames``, by `counted`; never ``2 frame(s)``."""
    found = [
        f"{file.relative_to(ROOT)}:{number}"
        for file in sorted((ROOT / "noiseflow").rglob("*.py"))
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(r"\b(?!diag|float|sqrt)[a-z]{4,}\(e?s\)(?!\.)", line)
    ]
    assert found == []
