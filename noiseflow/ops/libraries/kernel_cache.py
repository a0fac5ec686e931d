"""Built kernels on disk: in a private folder of the user, each with a checksum, built within a time limit."""

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
"""Time limit for one compiler run, seconds; a kernel takes three or four."""

OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def cache_folder() -> Path:
    """Folder of the user's built kernels: ``noiseflow`` under ``XDG_CACHE_HOME`` or ``~/.cache``.

    Raises
    ------
    OSError
        There is no home folder.

    References
    ----------
    XDG Base Directory Specification 0.8: a relative ``XDG_CACHE_HOME`` is ignored.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(base):
        return Path(base) / "noiseflow"
    try:
        return Path.home() / ".cache" / "noiseflow"
    except RuntimeError as error:
        raise OSError("no home folder to keep kernels in; set XDG_CACHE_HOME to a folder of your own") from error


def library_of(name: str, command: Callable[[Path], list[str]]) -> Path:
    """Return the path of a built library; build it if it is missing or does not match its checksum.

    Parameters
    ----------
    name : str
        File name, with a digest of everything the library depends on.
    command : callable
        Function of the output path that returns the words of the compiler's command.

    Raises
    ------
    OSError
        Others can write to the folder, or the compiler failed or took too long.
    """
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not _is_ours(folder, stat.S_ISDIR):
        raise OSError(
            f"{folder}: belongs to another user or is writable by others, so no kernel is loaded from it; "
            "expected a private folder: run chmod go-w on it, or set XDG_CACHE_HOME"
        )
    library, checksum = folder / name, folder / f"{name}.sha256"
    if not _is_whole(library, checksum):
        with tempfile.TemporaryDirectory(dir=folder) as place:
            made = Path(place) / name
            _compile(command(made))
            said = Path(place) / checksum.name
            said.write_text(hashlib.sha256(made.read_bytes()).hexdigest())
            for file in (made, said):
                # With umask 002 new files are writable by the group, and would never be trusted.
                file.chmod(stat.S_IMODE(file.stat().st_mode) & ~OTHERS_WRITE)
            place_file(made, library, replace=True)
            place_file(said, checksum, replace=True)
    return library


def _is_ours(path: Path, kind: Callable[[int], bool]) -> bool:
    """Whether a path (not a link) has this file type, belongs to this user, and is writable by nobody else."""
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
    """Run a compiler; on a timeout or interrupt, end it together with all processes it started."""
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
