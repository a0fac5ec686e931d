import configparser
import importlib.metadata
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import noiseflow

ROOT = Path(__file__).resolve().parents[2]


def setup_cfg() -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config


def test_the_version_is_said_once() -> None:
    assert importlib.metadata.version("camera-noiseflow") == noiseflow.__version__
    assert setup_cfg()["metadata"]["version"] == "attr: noiseflow.core.version.__version__"
    assert f"version: {noiseflow.__version__}" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


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
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    # A checkout's own.
    assert set(tracked) - there <= {".gitignore", ".pre-commit-config.yaml"}
