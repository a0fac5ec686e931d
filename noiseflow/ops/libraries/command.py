"""Compiler commands for kernel libraries, and the list of libraries that a wheel contains.

``setup.py`` loads this module by its path before anything is installed, so it imports only the standard library.
"""

import hashlib
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

__all__ = [
    "BUILT",
    "PROCESSORS",
    "SOURCES",
    "command",
    "commands_for_a_wheel",
    "compiler",
    "forms",
    "library_name",
    "processors",
]

SOURCES = Path(__file__).resolve().parents[1] / "csrc"
BUILT = Path(__file__).with_name("built")
"""Folder of the prebuilt libraries, with a subfolder per kind of processor; exists only in an installed wheel."""

FORMS = Path(__file__).with_name("forms.json")
"""Files and macros of the libraries that models use, written by ``python -m tools.workloads.kernel_forms``."""

PROCESSORS: Mapping[str, Mapping[str, str]] = {
    "x86_64": {
        "x86-64-v4": "avx512f avx512bw avx512cd avx512dq avx512vl",
        "x86-64-v3": "avx avx2 bmi1 bmi2 f16c fma abm movbe xsave",
        "x86-64-v2": "cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3",
    },
    "aarch64": {"armv8-a": "asimd"},
}
"""Machine → kind of processor, best first → its flags in Linux's ``/proc/cpuinfo``.

A kind also needs the flags of the kinds after it.  The x86-64 kinds are the levels of the x86-64 psABI, section 3.1.1.
"""

OPTIMISE = ("-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math")


def machine() -> str:
    """Name of this machine in `PROCESSORS`."""
    name = platform.machine()
    return {"AMD64": "x86_64", "arm64": "aarch64"}.get(name, name)


def processors(cpuinfo: str | None = None) -> list[str]:
    """List the kinds whose instructions this processor supports, best first.

    Parameters
    ----------
    cpuinfo : str, optional
        Contents of ``/proc/cpuinfo``; by default the file is read.  If it does not exist, the most basic kind is
        returned.
    """
    kinds = list(PROCESSORS.get(machine(), {}).items())
    if cpuinfo is None:
        try:
            cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return [name for name, _ in kinds[-1:]]
    lines = (line.partition(":")[2] for line in cpuinfo.splitlines() if line.startswith(("flags", "Features")))
    there = set(next(lines, "").split())
    found: list[str] = []
    for name, flags in reversed(kinds):
        if not there.issuperset(flags.split()):
            break
        found.insert(0, name)
    return found


@cache
def compiler() -> tuple[str, ...] | None:
    """Command words of the C++ compiler: ``CXX`` if set, else g++ or clang++; None if there is no compiler.

    Raises
    ------
    OSError
        ``CXX`` does not name a program.
    """
    chosen = shlex.split(os.environ.get("CXX", ""))
    if chosen:
        if shutil.which(chosen[0]) is None:
            raise OSError(f"CXX={os.environ['CXX']}: no such program; name a C++ compiler, or unset CXX")
        return tuple(chosen)
    found = next(filter(None, map(shutil.which, ("g++", "clang++"))), None)
    return None if found is None else (found,)


@cache
def is_clang(words: tuple[str, ...]) -> bool:
    """Whether a compiler is clang, according to its ``--version``."""
    try:
        said = subprocess.run([*words, "--version"], capture_output=True, check=False, timeout=30)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return False
    return b"clang" in said.stdout


def command(words: Sequence[str], files: Sequence[str], macros: Mapping[str, int | float], kind: str) -> list[str]:
    """The command that builds a library for this machine, without ``-o FILE``.

    Parameters
    ----------
    words : sequence of str
        Command words of the compiler.
    files : sequence of str
        Names of sources in ``csrc``, without suffix.
    macros : mapping
        C++ macros: ints become C++ ints, floats become C++ floats.
    kind : str
        Kind of processor of `PROCESSORS`, or ``native``.
    """
    return [*words, *_flags(tuple(words), macros, kind), "-shared", *(str(SOURCES / f"{name}.cpp") for name in files)]


def commands_for_a_wheel(
    words: Sequence[str], files: Sequence[str], macros: Mapping[str, int | float], kind: str, library: Path
) -> list[list[str]]:
    """The commands that build a library which uses the OpenMP runtime already loaded by PyTorch.

    Linking with ``-fopenmp`` would make the library depend on a runtime of its own, so that the wheel would contain
    a second copy with its own threads.

    Parameters
    ----------
    words, files, macros, kind
        As in `command`.
    library : path
        File to write; object files are written beside it.
    """
    flags = _flags(tuple(words), macros, kind)
    objects = [library.with_name(f"{library.stem}-{name}.o") for name in files]
    compiled = [
        [*words, *flags, "-c", str(SOURCES / f"{name}.cpp"), "-o", str(made)]
        for name, made in zip(files, objects, strict=True)
    ]
    symbols = ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else ["-s"]
    return [*compiled, [*words, "-shared", *symbols, *map(str, objects), "-o", str(library)]]


def _flags(words: tuple[str, ...], macros: Mapping[str, int | float], kind: str) -> list[str]:
    flags = [*OPTIMISE, "-fPIC", f"-march={kind}"]
    if machine() == "x86_64":
        # Shifted rows seldom start at a cache line, so 64-byte vectors take a quarter longer than 32-byte ones, of
        # which AVX-512 has twice as many registers.
        flags += ["-mprefer-vector-width=256", "-mtune=generic"]
    if not is_clang(words):
        # GCC uses the OpenMP runtime that PyTorch has loaded.  clang uses another one, which may be missing, so its
        # kernels run on one thread.
        flags.append("-fopenmp")
    return [
        *flags,
        *(f"-D{name}={f'({value!r}f)' if isinstance(value, float) else value}" for name, value in macros.items()),
    ]


def library_name(files: Sequence[str], macros: Mapping[str, int | float]) -> str:
    """File name of a prebuilt library: its first source and a digest of all sources and macros.

    Parameters
    ----------
    files : sequence of str
        Names of sources in ``csrc``, without suffix.
    macros : mapping
        As in `command`.
    """
    values = "\n".join(f"{name}={value!r}" for name, value in sorted(macros.items()))
    digest = hashlib.sha256(b"\0".join([*source_texts(tuple(files)), values.encode()]))
    return f"{files[0]}-{digest.hexdigest()[:16]}.so"


@cache
def source_texts(files: tuple[str, ...]) -> list[bytes]:
    """Contents of the sources and of all headers."""
    return [path.read_bytes() for path in (*(SOURCES / f"{name}.cpp" for name in files), *sorted(SOURCES.glob("*.h")))]


def forms() -> list[tuple[list[str], dict[str, int | float]]]:
    """Files and macros of each library that a wheel contains."""
    return [(form["files"], form["macros"]) for form in json.loads(FORMS.read_text(encoding="utf-8"))]
