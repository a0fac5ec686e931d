"""Names: those of our private files beside an output, and those that a file gives."""

import os
import re
import secrets
from pathlib import Path, PurePosixPath

from noiseflow.core.errors import OutputError

__all__ = ["inside", "is_private", "partial_of", "private_name"]

PREFIX = ".noiseflow-"
PRIVATE = re.compile(re.escape(PREFIX) + r"[0-9a-f]{24}(\.\w{1,10})?", re.ASCII)


def partial_of(path: str | Path) -> Path:
    """Where an output is made that takes long and is gone on with after a kill; a list in it says that it is ours."""
    return Path(f"{path}.partial")


def private_name(suffix: str = "") -> str:
    """A name that nobody else has: 96 random bits, short for file systems with short names.

    Parameters
    ----------
    suffix : str
        Kept, since some libraries choose a format by it.
    """
    kept = suffix if re.fullmatch(r"\.\w{1,10}", suffix, re.ASCII) else ""
    return f"{PREFIX}{secrets.token_hex(12)}{kept}"


def is_private(name: str) -> bool:
    """Whether `private_name` could have given this name."""
    return PRIVATE.fullmatch(name) is not None


def inside(folder: Path, name: object, said_by: Path) -> Path:
    """The path of a file that another file names, which must lie in a folder.

    Parameters
    ----------
    folder : Path
        What the user named.
    name : object
        From a manifest: relative, with ``/`` between folders.
    said_by : Path
        The manifest, for the error.

    Raises
    ------
    OutputError
        The name leads out of the folder, or is no name.
    """
    parts = PurePosixPath(name).parts if isinstance(name, str) and "\0" not in name else ()
    if not parts or os.path.isabs(str(name)) or ".." in parts:
        raise OutputError(f"{said_by}: names {name!r}, which is no file inside {folder}; nothing outside is touched")
    return folder.joinpath(*parts)
