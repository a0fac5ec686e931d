"""Kernels that a wheel carries: all that the models take, for this processor, without a compiler."""

import platform
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from noiseflow.core.errors import NoiseflowError
from noiseflow.ops import native
from noiseflow.ops.channel_mixing import mix_planes
from noiseflow.ops.libraries import build, command
from tools.workloads.kernel_forms import forms

V2 = "cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3"
V3 = f"{V2} avx avx2 bmi1 bmi2 f16c fma abm movbe xsave"
V4 = f"{V3} avx512f avx512bw avx512cd avx512dq avx512vl"

on_x86_64 = pytest.mark.skipif(platform.machine() != "x86_64", reason="levels of x86-64")


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing found, built or said yet, and nothing chosen."""
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.delenv("NOISEFLOW_KERNELS", raising=False)
    caches = (build.say_once, build._prebuilt_folder, command.compiler, native._built)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


def test_the_list_holds_what_the_models_take() -> None:
    listed = [{"files": files, "macros": macros} for files, macros in command.forms()]
    assert forms() == listed, "run python -m tools.workloads.kernel_forms"


@on_x86_64
@pytest.mark.parametrize(
    ("flags", "kinds"),
    [
        (V4, ["x86-64-v4", "x86-64-v3", "x86-64-v2"]),
        (V3 + " avx512f", ["x86-64-v3", "x86-64-v2"]),
        (V2, ["x86-64-v2"]),
        ("fpu sse2 avx512f avx512bw avx512cd avx512dq avx512vl", []),
    ],
)
def test_the_processor_s_flags_say_which_kinds_it_is(flags: str, kinds: list[str]) -> None:
    assert command.processors(f"model name : x\nflags\t\t: {flags}\n") == kinds


def mixed() -> torch.Tensor:
    x = torch.randn(2, 4, 5, 7, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found: torch.Tensor = mix_planes(x, torch.arange(16.0).reshape(4, 4))
    return found


@pytest.mark.skipif(not build.available(), reason="no C++ compiler")
@pytest.mark.parametrize("kind", command.processors())
def test_a_prebuilt_kernel_needs_no_compiler_and_brings_no_threads_of_its_own(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh: None
) -> None:
    files, macros = next((files, macros) for files, macros in command.forms() if files == ["channel_mixing"])
    library = tmp_path / kind / command.library_name(files, macros)
    library.parent.mkdir()
    words = command.compiler()
    assert words is not None
    for each in command.commands_for_a_wheel(words, files, macros, kind, library):
        subprocess.run(each, check=True)
    assert b"libgomp" not in library.read_bytes()

    with native.compiled(False):
        expected = mixed()
    monkeypatch.setattr(command, "BUILT", tmp_path)
    monkeypatch.setattr(build, "_compiler", lambda: None)
    asked: list[str] = []
    monkeypatch.setattr(native, "build", lambda *given: asked.append(str(found := build.build(*given))) or found)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert build.available()
        torch.testing.assert_close(mixed(), expected)
    assert asked == [str(library)]


def test_what_the_user_chose_is_obeyed(monkeypatch: pytest.MonkeyPatch, fresh: None) -> None:
    monkeypatch.setenv("NOISEFLOW_KERNELS", "off")
    assert not build.available()
    assert build.build(["channel_mixing"], {"PART": 4096, "C": 4}) is None
    monkeypatch.setenv("NOISEFLOW_KERNELS", "fast")
    with pytest.raises(NoiseflowError, match="NOISEFLOW_KERNELS=fast: expected one of auto, build, off"):
        build.available()


def test_cxx_names_the_compiler(monkeypatch: pytest.MonkeyPatch, fresh: None) -> None:
    monkeypatch.setenv("CXX", "sh -c 'exit 1'")
    assert command.compiler() == ("sh", "-c", "exit 1")
    command.compiler.cache_clear()
    monkeypatch.setenv("CXX", "no-such-compiler -m64")
    with pytest.warns(RuntimeWarning, match="CXX=no-such-compiler -m64: no such program"):
        assert not build.can_compile()
