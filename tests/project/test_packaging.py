import configparser
import importlib.metadata
import re
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from packaging.requirements import Requirement

import noiseflow
from noiseflow.evaluate.metric import seed_for
from noiseflow.fit.training.engine import _random_numbers
from noiseflow.fit.training.objective import StepPosition
from noiseflow.models.temporal.stream import at_frame
from noiseflow.ops.random.sampling import Keyed

ROOT = Path(__file__).resolve().parents[2]


def setup_cfg() -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config


def test_the_version_is_said_once() -> None:
    assert importlib.metadata.version("camera-noiseflow") == noiseflow.__version__
    assert setup_cfg()["metadata"]["version"] == "attr: noiseflow.core.version.__version__"
    assert f"version: {noiseflow.__version__}" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_classifiers_promise_the_pythons_of_the_makefile_and_the_systems_of_the_kernels() -> None:
    config = setup_cfg()
    words = [line for line in config["metadata"]["classifiers"].splitlines() if line]
    pythons = [word.removeprefix("Programming Language :: Python :: 3.") for word in words if " :: 3." in word]
    first, last = pythons[0], pythons[-1]
    assert pythons == [str(minor) for minor in range(int(first), int(last) + 1)]
    assert config["options"]["python_requires"] == f">=3.{first}"
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"(3, {first}) <= v <= (3, {last})" in makefile
    assert f"OLDEST_PYTHON ?= python3.{first}\nNEWEST_PYTHON ?= python3.{last}\n" in makefile
    # Kernels are built for these two; it was "OS Independent" once.
    systems = [word for word in words if word.startswith("Operating System")]
    assert systems == ["Operating System :: POSIX :: Linux", "Operating System :: MacOS"]
    install = (ROOT / "docs" / "guide" / "install.md").read_text(encoding="utf-8")
    assert f"Python 3.{first} to 3.{last} on Linux or macOS" in install
    # The license stands in license_expression, which no classifier may repeat.
    assert not [word for word in words if word.startswith("License")]


def test_every_data_file_of_the_package_goes_into_a_wheel() -> None:
    package = ROOT / "noiseflow"
    patterns = setup_cfg()["options.package_data"]["noiseflow"].split()
    shipped = {file for pattern in patterns for file in package.glob(pattern)}
    data = {file for file in package.rglob("*") if file.is_file() and file.suffix not in (".py", ".pyc")}
    assert {package / "py.typed", package / "simulate" / "cameras.json"} <= shipped
    assert data == shipped


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_constraints_pin_every_requirement_once_within_its_bounds(python: str) -> None:
    pins: dict[str, list[str]] = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            pin = Requirement(line)
            if pin.marker is None or pin.marker.evaluate({"python_version": python}):
                pins.setdefault(pin.name.lower(), []).append(str(pin.specifier).removeprefix("=="))
    assert all(len(versions) == 1 for versions in pins.values()), pins
    config = setup_cfg()
    extras = (
        config["options.extras_require"][extra]
        for extra in ("train", "fits", "cluster", "export", "hub", "docs", "dev")
    )
    for line in "\n".join([config["options"]["install_requires"], *extras]).splitlines():
        if not line.strip():
            continue
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"python_version": python}):
            continue
        assert requirement.specifier.contains(pins[requirement.name.lower()][0]), requirement


class OldWord(int):
    """A word of 64 bits as in NumPy 1.26, our lower bound: it refuses a shift by a Python integer."""

    def __rshift__(self, other: int) -> int:
        raise TypeError("ufunc 'right_shift' not supported for the input types")


class OldSeeds:
    """Takes the place of `numpy.random.SeedSequence`."""

    def __init__(self, entropy: Sequence[int]) -> None:
        self.entropy = entropy

    def generate_state(self, count: int, kind: type) -> list[OldWord]:
        return [OldWord(2**63 + sum(self.entropy))] * count


def test_seeds_are_made_with_the_oldest_numpy_too(monkeypatch: pytest.MonkeyPatch) -> None:
    # `make bounds` runs the quick tests with it; this finds the same fault in any environment.
    monkeypatch.setattr(np.random, "SeedSequence", OldSeeds)
    assert seed_for(0, "samples", "nlf") < 2**63
    with _random_numbers(0, StepPosition(0, 0, 0), torch.device("cpu")) as generator:
        assert generator.initial_seed() == 2**62
    later = at_frame(Keyed(1, (0,)), 3)
    assert isinstance(later, Keyed)
    assert later.seed == 2**63 + 4


def test_every_public_name_is_there() -> None:
    for name in noiseflow.__all__:
        assert getattr(noiseflow, name) is not None


def test_the_readme_s_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in ("demo", "test", "lint", "docs", "clean"):
        assert f"\n{target}:" in makefile


def test_a_source_distribution_holds_what_packagers_need(tmp_path: Path) -> None:
    words = [sys.executable, "setup.py", "-q", "egg_info", "--egg-base", str(tmp_path), "sdist", "-d", str(tmp_path)]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    (made,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(made) as archive:
        there = {name.partition("/")[2] for name in archive.getnames()}
        (facts,) = (name for name in archive.getnames() if name.count("/") == 1 and name.endswith("/PKG-INFO"))
        described = archive.extractfile(facts)
        assert described is not None
        text = described.read().decode("utf-8")
    # The long description stands on a page from which a path of the repository leads nowhere.
    assert "# " in text
    assert re.findall(r"\]\((?!https?:|#)[^)]*\)", text) == []
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    # A checkout's own.
    assert set(tracked) - there <= {".gitignore", ".pre-commit-config.yaml"}
