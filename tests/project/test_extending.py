"""A toy of each kind that develop.md names: one file, and at most one line elsewhere, in a copy of the package."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from toys import PAIRING, RAW_FORMAT, TOYS, Toy

PACKAGE = Path(__file__).resolve().parents[2] / "noiseflow"


def put(toy: Toy, package: Path) -> None:
    """Add the toy's file and its line."""
    file = package / toy.file
    assert not file.exists()
    file.write_text(toy.text, encoding="utf-8")
    if toy.extra:
        (package / toy.extra[0]).write_text(toy.extra[1], encoding="utf-8")
    if toy.table:
        table = package / toy.table
        text = table.read_text(encoding="utf-8")
        changed, count = re.subn(toy.opening, lambda match: f"{match[0]}\n{toy.line}", text, flags=re.M)
        assert count == 1, f"{toy.table}: no line that fits {toy.opening}"
        assert "\n" not in toy.line
        table.write_text(changed, encoding="utf-8")


@pytest.fixture(scope="module")
def plain_copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package without the toys."""
    root = tmp_path_factory.mktemp("plain")
    shutil.copytree(PACKAGE, root / "noiseflow", ignore=shutil.ignore_patterns("__pycache__"))
    return root


@pytest.fixture(scope="module")
def extended_copy(plain_copy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with all toys."""
    root = tmp_path_factory.mktemp("extended")
    shutil.copytree(plain_copy / "noiseflow", root / "noiseflow")
    for toy in TOYS:
        put(toy, root / "noiseflow")
    return root


def use(toy: Toy, root: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the toy's script in a folder, with the package below `root`."""
    script = f"import noiseflow; assert noiseflow.__file__.startswith({str(root)!r}), noiseflow.__file__\n{toy.script}"
    environment = {**os.environ, "PYTHONPATH": str(root)}
    words = [sys.executable, "-W", "ignore", "-c", script]
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("toy", TOYS, ids=lambda toy: toy.kind)
def test_one_file_and_one_line_are_enough(toy: Toy, extended_copy: Path, tmp_path: Path) -> None:
    done = use(toy, extended_copy, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("toy", [RAW_FORMAT, PAIRING], ids=lambda toy: toy.kind)
def test_the_script_fails_without_the_toy(toy: Toy, plain_copy: Path, tmp_path: Path) -> None:
    assert use(toy, plain_copy, tmp_path).returncode != 0


def test_develop_md_names_every_kind() -> None:
    page = (PACKAGE.parent / "docs" / "develop.md").read_text(encoding="utf-8")
    for toy in TOYS:
        assert f"| {toy.kind} |" in page
