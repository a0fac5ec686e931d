import configparser
import importlib.metadata
from importlib import resources
from pathlib import Path

import noiseflow

ROOT = Path(__file__).resolve().parents[1]


def test_the_version_is_said_once() -> None:
    assert importlib.metadata.version("camera-noiseflow") == noiseflow.__version__
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    assert config["metadata"]["version"] == "attr: noiseflow._version.__version__"
    assert f"version: {noiseflow.__version__}" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_data_files_are_found_from_the_package() -> None:
    for package, name in (
        ("noiseflow", "py.typed"),
        ("noiseflow.simulate", "cameras.json"),
        ("noiseflow.evaluate", "templates"),
    ):
        assert (resources.files(package) / name).name == name
        assert Path(str(resources.files(package) / name)).exists(), name


def test_every_public_name_is_there() -> None:
    for name in noiseflow.__all__:
        assert getattr(noiseflow, name) is not None


def test_the_readme_s_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in ("demo", "test", "lint", "docs", "clean"):
        assert f"\n{target}:" in makefile
