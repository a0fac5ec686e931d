"""Names: that of an output that is being made, and those that a file gives."""

import os
from pathlib import Path, PurePosixPath

from noiseflow.core.errors import OutputError

__all__ = ["inside", "partial_of"]


def partial_of(path: str | Path) -> Path:
    """Where an output is made that takes long and is gone on with after a kill; a list in it says that it is ours."""
    return Path(f"{path}.partial")


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
