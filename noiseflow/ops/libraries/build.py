"""Kernel libraries: taken from the wheel, or built on this machine and kept in the user's cache folder.

The environment variable ``NOISEFLOW_KERNELS`` selects: ``auto`` (default: from the wheel, else built here), ``build``
(always built here, for this processor) or ``off``.  ``CXX`` names the compiler.
"""

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

__all__ = ["available", "build", "can_compile", "has_prebuilt", "say_once"]

CHOICES = ("auto", "build", "off")


def chosen() -> str:
    """The value of ``NOISEFLOW_KERNELS``.

    Raises
    ------
    NoiseflowError
        An unknown value.
    """
    value = os.environ.get("NOISEFLOW_KERNELS", "") or "auto"
    if value not in CHOICES:
        raise NoiseflowError(f"NOISEFLOW_KERNELS={value}: expected one of {', '.join(CHOICES)}")
    return value


def can_compile() -> bool:
    """Whether kernels can be built on this machine: Linux with a C++ compiler, and not switched off."""
    return chosen() != "off" and sys.platform.startswith("linux") and _compiler() is not None


def has_prebuilt() -> bool:
    """Whether this installation contains prebuilt kernels for this processor, and may use them."""
    return chosen() == "auto" and _prebuilt_folder() is not None


def available() -> bool:
    """Whether kernels are prebuilt or can be built on this machine."""
    return has_prebuilt() or can_compile()


def build(files: Sequence[str], macros: Mapping[str, int | float]) -> Path | None:
    """Find or build the library of some sources; return its path, or None, with a single warning, if there is none.

    Parameters
    ----------
    files : sequence of str
        Names of sources in ``csrc``, without suffix.
    macros : mapping
        C++ macros: ints become C++ ints, floats become C++ floats.
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
        say_once(f"{files[0]}: not compiled, so it runs slower: {error}")
        return None


WITHOUT = (
    "fits and samples take two to eight times as long as they could: no C++ compiler was found (g++, clang++ or what "
    "CXX names), and this installation contains no kernels for this model and processor"
    if sys.platform.startswith("linux")
    else "fits and samples take two to eight times as long as they could: this installation contains no kernels for "
    "this model and processor, and they can be built on demand only on Linux"
)


@cache
def say_once(text: str) -> None:
    """Warn with this text, once per process."""
    warnings.warn(text, RuntimeWarning, stacklevel=4)


@cache
def _prebuilt_folder() -> Path | None:
    """Folder of the wheel's kernels for the best instruction set of this processor; None if there is none."""
    return next((place for kind in command.processors() if (place := command.BUILT / kind).is_dir()), None)


def _compiler() -> tuple[str, ...] | None:
    try:
        return command.compiler()
    except OSError as error:
        say_once(f"layers are not compiled, so they run slower: {error}")
        return None


def _library(compiler: tuple[str, ...], files: Sequence[str], macros: Mapping[str, int | float]) -> Path:
    """Build the library, or take it from the cache folder; return its path."""
    words = command.command(compiler, files, macros, "native")
    texts = command.source_texts(tuple(files))
    # The sources' paths are left out, so that two installations of one version share their kernels.
    flags = " ".join(words[: -len(files)])
    digest = hashlib.sha256(b"\0".join([*texts, flags.encode(), _processor().encode()]))
    return library_of(f"{files[0]}-{digest.hexdigest()[:24]}.so", lambda made: [*words, "-o", str(made)])


def _processor() -> str:
    """Description of this processor, for the cache key: machines with different processors may share a home folder."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
