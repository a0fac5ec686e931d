"""Kernels in C++ for the layers that a CPU spends its time on, built on the machine where they run.

A source in ``noiseflow/ops/csrc`` is compiled in a few seconds at its first use, for the
processor at hand and for the number of planes, and kept in the user's cache folder.  Without a
compiler, for other devices and dtypes, under autocast and while a graph is traced, layers take
PyTorch's own operations.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

__all__ = ["Kernels", "can_compile", "compiled", "contiguous", "kernels_for"]

SOURCES = Path(__file__).parent / "csrc"

FLAGS: tuple[str, ...] = ("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math")
if platform.machine() == "x86_64":
    # Shifted rows seldom start at a cache line: vectors of 64 bytes take a quarter longer than those of 32, of which
    # AVX-512 has twice as many.
    FLAGS = (*FLAGS, "-mprefer-vector-width=256", "-mtune=generic")

_wanted: ContextVar[bool | None] = ContextVar("native kernels", default=None)


def can_compile() -> bool:
    """Whether kernels can be built here."""
    return sys.platform.startswith("linux") and _compiler() is not None


@contextmanager
def compiled(on: bool = True) -> Iterator[None]:
    """Take kernels in C++ on a CPU within the block, or do not.

    Outside of any such block they are taken where no gradient is asked for, as in sampling, if
    there is a compiler.  Asked for without a compiler, it warns once and goes on without.
    """
    if on and not can_compile():
        _say_once("no C++ compiler was found: layers are not compiled, which costs time only")
        on = False
    token = _wanted.set(on)
    try:
        yield
    finally:
        _wanted.reset(token)


class Kernels:
    """Functions of one built library: tensors go in as pointers, numbers as they are."""

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))

    def __call__(self, name: str, *arguments: Tensor | int | float | None) -> None:
        """Call a function that returns nothing; tensors must be contiguous, and of the dtype it expects."""
        passed: list[object] = []
        for argument in arguments:
            if isinstance(argument, Tensor):
                assert argument.is_contiguous()
                passed.append(ctypes.c_void_p(argument.data_ptr()))
            elif isinstance(argument, float):
                passed.append(ctypes.c_float(argument))
            else:
                passed.append(argument if argument is None else ctypes.c_long(argument))
        getattr(self._library, name)(*passed)


def kernels_for(source: str, x: Tensor, **defines: int) -> Kernels | None:
    """The kernels of a source for a tensor like `x`, or None where PyTorch's operations are to be taken.

    Parameters
    ----------
    source : str
        Name of a file in ``noiseflow/ops/csrc``, without its ending.
    x : Tensor
    **defines : int
        Macros that make them for so many planes.
    """
    wanted = _wanted.get()
    if wanted is None:
        wanted = not torch.is_grad_enabled()
    fits = x.device.type == "cpu" and x.dtype == torch.float32 and x.numel() and type(x) is Tensor
    if not (wanted and fits) or torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling():
        return None
    return _built(source, tuple(sorted(defines.items())))


def contiguous(*tensors: Tensor) -> list[Tensor]:
    """The same in float32, row by row."""
    return [tensor.detach().to(torch.float32).contiguous() for tensor in tensors]


@cache
def _compiler() -> str | None:
    return next(filter(None, map(shutil.which, ("g++", "clang++"))), None)


@cache
def _built(source: str, defines: tuple[tuple[str, int], ...]) -> Kernels | None:
    compiler = _compiler()
    if compiler is None or not can_compile():
        return None
    try:
        return Kernels(_library(compiler, source, dict(defines)))
    except (OSError, subprocess.CalledProcessError) as error:
        lines = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        reason = next((line for line in lines if "error" in line), lines[0])
        _say_once(f"{source}: not compiled, which costs time only: {reason}")
        return None


def _library(compiler: str, source: str, defines: Mapping[str, int]) -> Path:
    """Path of the built library, from the cache folder if it is there."""
    flags = [*FLAGS, "-shared", "-fPIC", *(f"-D{name}={value}" for name, value in defines.items())]
    if "clang" not in compiler:
        # The runtime that PyTorch has loaded; clang's is another one, and need not be there: one thread does it all.
        flags.append("-fopenmp")
    texts = [path.read_bytes() for path in (SOURCES / f"{source}.cpp", *sorted(SOURCES.glob("*.h")))]
    digest = hashlib.sha256(b"\0".join([*texts, " ".join([compiler, *flags]).encode(), _processor().encode()]))
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "noiseflow"
    library = folder / f"{source}-{digest.hexdigest()[:24]}.so"
    if not library.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=folder) as place:
            made = Path(place) / library.name
            command = [compiler, *flags, str(SOURCES / f"{source}.cpp"), "-o", str(made)]
            subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
            made.replace(library)
    return library


def _processor() -> str:
    """What `-march=native` stands for: a home folder may be shared by machines of several kinds."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))


@cache
def _say_once(text: str) -> None:
    warnings.warn(text, RuntimeWarning, stacklevel=4)
