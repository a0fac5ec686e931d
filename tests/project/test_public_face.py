"""What a user sees of the package from Python."""

import importlib
import pkgutil
import subprocess
import sys
from types import ModuleType

import pytest

import noiseflow

NAMES = {
    "AddCameraNoise",
    "Conditions",
    "ModelSpec",
    "NoiseModel",
    "NoiseflowError",
    "PatchStore",
    "RawImage",
    "__version__",
    "build",
    "denoise_frame",
    "describe",
    "ingest",
    "list_cameras",
    "load",
    "load_denoiser",
    "measure_picture",
    "read_raw",
    "sample_camera",
    "sample_frame",
    "synthesize",
    "write_report",
}
PACKAGES = [name for _, name, is_package in pkgutil.walk_packages(noiseflow.__path__, "noiseflow.") if is_package]
# Adapters import libraries that are extras.
PACKAGES.remove("noiseflow.augment.adapters")


def test_dir_shows_the_packages_and_the_names() -> None:
    packages = {info.name for info in pkgutil.iter_modules(noiseflow.__path__) if info.ispkg}
    assert set(dir(noiseflow)) == packages | NAMES
    assert len(NAMES) == 21


def test_what_is_missing_is_said_before_torch_is_loaded() -> None:
    code = "import sys; from noiseflow.cli.workflows.describe import describe\ntry: describe('none')\n"
    heavy = "[name for name in ('torch', 'h5py', 'matplotlib') if name in sys.modules]"
    assert in_fresh_python(f"{code}except Exception as error: print(error, {heavy})") == (
        "none: no such file or folder []"
    )


def in_fresh_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_a_package_is_an_attribute_after_the_import() -> None:
    assert in_fresh_python("import noiseflow; print(noiseflow.models.build.__name__)") == "build"


def test_the_import_loads_no_torch() -> None:
    heavy = "[name for name in ('torch', 'scipy', 'h5py', 'matplotlib', 'rawpy') if name in sys.modules]"
    assert in_fresh_python(f"import sys, noiseflow; dir(noiseflow); print({heavy})") == "[]"


@pytest.mark.parametrize("name", ["noiseflow", *PACKAGES])
def test_no_name_hides_a_module(name: str) -> None:
    package = importlib.import_module(name)
    for info in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{name}.{info.name}") if info.name not in ("__main__", "adapters") else None
        found = getattr(package, info.name, None)
        assert found is None or isinstance(found, ModuleType), f"{name}.{info.name} is a module and something else"
