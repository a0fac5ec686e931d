"""The library of a kernel: from the wheel, or built on the machine where it runs and kept in the user's cache folder.

The environment variable ``NOISEFLOW_KERNELS`` chooses: ``auto`` (the default: the wheel's, and else built here),
``build`` (always built here, for this very processor) or ``off``.  ``CXX`` names the compiler.
"""

import ctypes
import hashlib
import os
import platform
import sys
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from noiseflow.core.errors import NoiseflowError
from noiseflow.ops.libraries import command
from noiseflow.ops.libraries.kernel_cache import library_of

__all__ = ["available", "build", "can_compile", "has_prebuilt", "keep_memory_of_steps", "say_once"]

CHOICES = ("auto", "build", "off")

ALLOCATOR = {"MALLOC_TRIM_THRESHOLD_": (-1, 1 << 30), "MALLOC_MMAP_THRESHOLD_": (-3, 32 << 20)}
"""Variable of the environment → number and value, in bytes, of the same option of glibc's `mallopt`."""


def chosen() -> str:
    """The value of ``NOISEFLOW_KERNELS``.

    Raises
    ------
    NoiseflowError
        It is none of the choices.
    """
    value = os.environ.get("NOISEFLOW_KERNELS", "") or "auto"
    if value not in CHOICES:
        raise NoiseflowError(f"NOISEFLOW_KERNELS={value}: expected one of {', '.join(CHOICES)}")
    return value


def can_compile() -> bool:
    """Whether kernels can be built here."""
    return chosen() != "off" and sys.platform.startswith("linux") and _compiler() is not None


def has_prebuilt() -> bool:
    """Whether this installation carries kernels for this processor."""
    return chosen() == "auto" and _prebuilt_folder() is not None


def available() -> bool:
    """Whether there can be kernels here."""
    return has_prebuilt() or can_compile()


def build(files: Sequence[str], macros: Mapping[str, int | float]) -> Path | None:
    """Path of the library of files in ``csrc``, or None, with one warning, where there is none.

    Parameters
    ----------
    files : sequence of str
        Names without their ending.
    macros : mapping
        Whole numbers are C++ ints, others floats.
    """
    if chosen() == "off":
        return None
    folder = _prebuilt_folder() if has_prebuilt() else None
    if folder is not None and (ready := folder / command.library_name(files, macros)).is_file():
        return ready
    if not can_compile():
        say_once(WITHOUT)
        return None
    try:
        return _library(_compiler() or (), files, macros)
    except OSError as error:
        say_once(f"{files[0]}: not compiled, which costs time only: {error}")
        return None


WITHOUT = (
    "fits and samples take two to eight times as long as they could: no C++ compiler was found (g++, clang++ or what "
    "CXX names), and this installation carries no kernels for this model and processor"
    if sys.platform.startswith("linux")
    else "fits and samples take two to eight times as long as they could: this installation carries no kernels for "
    "this model and processor, and only on Linux are they built when they are needed"
)


@cache
def say_once(text: str) -> None:
    """Warn, if it is the first time."""
    warnings.warn(text, RuntimeWarning, stacklevel=4)


@cache
def keep_memory_of_steps() -> None:
    """Let glibc keep up to 1 GiB of what is freed at the end of its heap: a step of training leaves it for the next.

    Otherwise the system takes tensors back as they are freed and zeroes their pages anew in each step: 52,000 pages
    and an eighth of the time of a training step of 512 patches.  Blocks above 32 MiB, the most that glibc allows here,
    still come from the system.  Limits in the environment hold.
    """
    if not sys.platform.startswith("linux"):
        return
    # Other C libraries of Linux have no such function.
    if (set_option := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        for name, (option, value) in ALLOCATOR.items():
            if name not in os.environ:
                set_option(option, value)


@cache
def _prebuilt_folder() -> Path | None:
    """The folder of the best kind of processor that this one is, if the wheel has it."""
    return next((place for kind in command.processors() if (place := command.BUILT / kind).is_dir()), None)


def _compiler() -> tuple[str, ...] | None:
    try:
        return command.compiler()
    except OSError as error:
        say_once(f"layers are not compiled, which costs time only: {error}")
        return None


def _library(compiler: tuple[str, ...], files: Sequence[str], macros: Mapping[str, int | float]) -> Path:
    """Path of the built library, from the cache folder if it is there."""
    words = command.command(compiler, files, macros, "native")
    texts = command.source_texts(tuple(files))
    # Without the sources' paths: two installations of one version share their kernels.
    flags = " ".join(words[: -len(files)])
    digest = hashlib.sha256(b"\0".join([*texts, flags.encode(), _processor().encode()]))
    return library_of(f"{files[0]}-{digest.hexdigest()[:24]}.so", lambda made: [*words, "-o", str(made)])


def _processor() -> str:
    """What `-march=native` stands for: a home folder may be shared by machines of several kinds."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
