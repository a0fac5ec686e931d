"""Built kernels on the disk: in a folder of this user alone, with a checksum beside each, built within a time limit."""

import hashlib
import os
import signal
import stat
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from noiseflow.core.output.whole import place_file

__all__ = ["COMPILER_S", "cache_folder", "library_of"]

COMPILER_S = 120.0
"""Longest time that a compiler may take, seconds; a kernel takes three or four."""

OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def cache_folder() -> Path:
    """Where this user's kernels are.

    Raises
    ------
    OSError
        There is no home folder.

    References
    ----------
    XDG Base Directory Specification 0.8: a relative path is to be ignored.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(base):
        return Path(base) / "noiseflow"
    try:
        return Path.home() / ".cache" / "noiseflow"
    except RuntimeError as error:
        raise OSError("there is no home folder to keep kernels in; set XDG_CACHE_HOME to a folder of yours") from error


def library_of(name: str, command: Callable[[Path], list[str]]) -> Path:
    """Path of a built library; it is built if it is not there, or not as it was built.

    Parameters
    ----------
    name : str
        Name of the file; it holds a checksum of all that the library depends on.
    command : callable
        From the file to write to the words of the compiler's command.

    Raises
    ------
    OSError
        The folder is not this user's alone, or the compiler failed or took too long.
    """
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not _is_ours(folder, stat.S_ISDIR):
        raise OSError(f"{folder}: belongs to another user, or others may write to it; nothing in it is loaded")
    library, checksum = folder / name, folder / f"{name}.sha256"
    if not _is_whole(library, checksum):
        with tempfile.TemporaryDirectory(dir=folder) as place:
            made = Path(place) / name
            _compile(command(made))
            said = Path(place) / checksum.name
            said.write_text(hashlib.sha256(made.read_bytes()).hexdigest())
            for file in (made, said):
                # Where a user's group may write what the user makes (umask 002), no kernel would ever be trusted.
                file.chmod(stat.S_IMODE(file.stat().st_mode) & ~OTHERS_WRITE)
            place_file(made, library, replace=True)
            place_file(said, checksum, replace=True)
    return library


def _is_ours(path: Path, kind: Callable[[int], bool]) -> bool:
    """Whether a path is of a kind, belongs to this user, and nobody else can write to it; no link."""
    try:
        about = path.lstat()
    except OSError:
        return False
    return kind(about.st_mode) and about.st_uid == os.geteuid() and not about.st_mode & OTHERS_WRITE


def _is_whole(library: Path, checksum: Path) -> bool:
    if not (_is_ours(library, stat.S_ISREG) and _is_ours(checksum, stat.S_ISREG)):
        return False
    return checksum.read_bytes() == hashlib.sha256(library.read_bytes()).hexdigest().encode()


def _compile(command: list[str]) -> None:
    """Run a compiler and all that it starts, which end with it."""
    pipe = subprocess.PIPE
    with subprocess.Popen(  # noqa: S603
        command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, start_new_session=True
    ) as process:
        try:
            _, said = process.communicate(timeout=COMPILER_S)
        except subprocess.TimeoutExpired as error:
            _end(process)
            raise OSError(f"{command[0]}: error: took more than {COMPILER_S:.0f} s") from error
        except BaseException:
            _end(process)
            raise
    if process.returncode:
        text = said.decode("utf-8", "replace")
        raise OSError(next((line for line in text.splitlines() if "error" in line), f"{command[0]} failed"))


def _end(process: "subprocess.Popen[bytes]") -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
