"""The package is a one-way street: no module imports from one to its right."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "noiseflow"
STREET = (
    ("core",),
    ("raw",),
    ("simulate",),
    ("calibrate",),
    ("patches",),
    ("ops",),
    ("flows",),
    ("models",),
    ("fit",),
    ("augment", "evaluate"),
    ("cli",),
)
PLACE = {name: place for place, names in enumerate(STREET) for name in names}
FILES = [file for file in sorted(PACKAGE.rglob("*.py")) if file.parent != PACKAGE or not file.name.startswith("__")]


def part_of(module: str) -> str:
    return module.removeprefix("noiseflow.").split(".")[0]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_nothing_imports_from_its_right(file: Path) -> None:
    here = part_of(file.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", "."))
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        modules = [node.module] if isinstance(node, ast.ImportFrom) else []
        modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for module in modules:
            if module and module.startswith("noiseflow."):
                there = part_of(module)
                assert PLACE[there] <= PLACE[here], f"{here} imports {module}, which is to its right"
                assert there == here or PLACE[there] < PLACE[here] or here in STREET[0], module
