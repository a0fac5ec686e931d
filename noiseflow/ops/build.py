"""Build C++ sources on the machine where they run, and keep the libraries in the user's cache folder."""

import hashlib
import platform
import shutil
import sys
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from noiseflow.ops.kernel_cache import library_of

__all__ = ["build", "can_compile", "say_once"]

SOURCES = Path(__file__).parent / "csrc"

FLAGS: tuple[str, ...] = ("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math")
if platform.machine() == "x86_64":
    # Shifted rows seldom start at a cache line: vectors of 64 bytes take a quarter longer than those of 32, of which
    # AVX-512 has twice as many.
    FLAGS = (*FLAGS, "-mprefer-vector-width=256", "-mtune=generic")


def can_compile() -> bool:
    """Whether kernels can be built here."""
    return sys.platform.startswith("linux") and _compiler() is not None


def build(files: Sequence[str], defines: Mapping[str, int | float]) -> Path | None:
    """Path of the library built from files in ``csrc``, or None, with one warning, where that fails.

    Parameters
    ----------
    files : sequence of str
        Names without their ending.
    defines : mapping
        Macros: whole numbers are C++ ints, others floats.
    """
    compiler = _compiler()
    if compiler is None or not can_compile():
        return None
    try:
        return _library(compiler, files, defines)
    except OSError as error:
        say_once(f"{files[0]}: not compiled, which costs time only: {error}")
        return None


@cache
def say_once(text: str) -> None:
    """Warn, if it is the first time."""
    warnings.warn(text, RuntimeWarning, stacklevel=4)


@cache
def _compiler() -> str | None:
    return next(filter(None, map(shutil.which, ("g++", "clang++"))), None)


def _library(compiler: str, files: Sequence[str], defines: Mapping[str, int | float]) -> Path:
    """Path of the built library, from the cache folder if it is there."""
    macros = (f"-D{name}={f'({value!r}f)' if isinstance(value, float) else value}" for name, value in defines.items())
    flags = [*FLAGS, "-shared", "-fPIC", *macros]
    if "clang" not in compiler:
        # The runtime that PyTorch has loaded; clang's is another one, and need not be there: one thread does it all.
        flags.append("-fopenmp")
    sources = [SOURCES / f"{name}.cpp" for name in files]
    texts = [path.read_bytes() for path in (*sources, *sorted(SOURCES.glob("*.h")))]
    digest = hashlib.sha256(b"\0".join([*texts, " ".join([compiler, *flags]).encode(), _processor().encode()]))
    name = f"{files[0]}-{digest.hexdigest()[:24]}.so"
    return library_of(name, lambda made: [compiler, *flags, *map(str, sources), "-o", str(made)])


def _processor() -> str:
    """What `-march=native` stands for: a home folder may be shared by machines of several kinds."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
