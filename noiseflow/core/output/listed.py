"""Write files into an output folder one by one; each is complete, and listed before it gets its name."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from noiseflow.core.errors import OutputError
from noiseflow.core.output.manifest import begin, listing, record, remove_ours
from noiseflow.core.output.whole import deferred, exchange, move_new, private_folder, write_bytes

__all__ = ["adopt", "fresh_folder", "remove_listed", "write_listed", "write_listed_folder"]


def write_listed(root: Path, name: str, content: bytes) -> None:
    """Write or replace a file in an output folder.

    Parameters
    ----------
    root : Path
        The output folder; it is created with a list of files if it does not exist.
    name : str
        Path in the folder, with ``/`` between names.
    content : bytes
        Content of the file.

    Raises
    ------
    OutputError
        If a file of this name exists that noiseflow did not write.
    """
    _ensure(root)
    path = root / name
    _make_parent(root, name)
    _must_be_ours(root, name)
    record(root, {"file": name, "sha256": hashlib.sha256(content).hexdigest()})
    write_bytes(path, content, replace=True)


def write_listed_folder(root: Path, name: str, contents: Mapping[str, bytes]) -> None:
    """Write or replace a sub-folder of an output folder; it gets its name once all its files are complete.

    Parameters
    ----------
    root, name
        As in `write_listed`.
    contents : mapping
        Name → content of each file.

    Raises
    ------
    OutputError
        If a folder of this name contains files that noiseflow did not write.
    """
    _ensure(root)
    target = root / name
    _make_parent(root, name)
    for entry in target.iterdir() if target.is_dir() else ():
        _must_be_ours(root, f"{name}/{entry.name}")
    with private_folder(target) as partial:
        for each, content in contents.items():
            (partial / each).write_bytes(content)
        record(
            root,
            *(
                {"file": f"{name}/{each}", "sha256": hashlib.sha256(content).hexdigest()}
                for each, content in contents.items()
            ),
        )
        if target.exists():
            with deferred():
                exchange(partial, target)
        else:
            move_new(partial, target)


def fresh_folder(folder: Path, kind: str, *lines: Mapping[str, str]) -> None:
    """Make an empty output folder with a list, and remove the earlier output there.

    A new folder gets its name together with its list: a killed process must not leave a folder without a list, which
    could not be distinguished from a user's folder.

    Parameters
    ----------
    folder : Path
        The folder, checked and locked by `noiseflow.core.output.checks.writing`.
    kind : str
        Kind of the output, such as ``"run"``, for its list of files.
    *lines : mapping
        Lines of the list about its future files: see `noiseflow.core.output.manifest.record`.

    Raises
    ------
    OutputError
        If the folder contains files that noiseflow did not write; then nothing is changed.
    """
    if folder.exists() and any(folder.iterdir()):
        remove_ours(folder)
    if folder.exists():
        begin(folder, kind)
        record(folder, *lines)
        return
    with private_folder(folder) as made:
        begin(made, kind)
        record(made, *lines)
        move_new(made, folder)


def remove_listed(root: Path, name: str) -> None:
    """Remove a sub-folder of an output folder, unless it contains files that noiseflow did not write."""
    known, folder = listing(root), root / name
    entries = list(folder.iterdir())
    if known is None or not all(_is_file(entry) and known.has(f"{name}/{entry.name}", entry) for entry in entries):
        return
    for entry in entries:
        entry.unlink()
    folder.rmdir()


def adopt(root: Path, names: list[str]) -> None:
    """Make the list of a folder from an earlier version without lists, whose content shows that noiseflow wrote it.

    Parameters
    ----------
    root : Path
        The folder.
    names : list of str
        Paths of its files, with ``/`` between names; missing ones are ignored.
    """
    if listing(root) is not None:
        return
    begin(root, "run")
    paths = {name: root / name for name in names}
    record(
        root,
        *(
            {"file": name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
            for name, path in paths.items()
            if _is_file(path)
        ),
    )


def _ensure(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    if listing(root) is None:
        begin(root, "run")


def _make_parent(root: Path, name: str) -> None:
    """Make the folder of a file; it is listed first, so that a kill does not leave an unknown empty folder."""
    parent = (root / name).parent
    if parent != root and not parent.exists():
        record(root, {"growing": f"{parent.relative_to(root).as_posix()}/"})
        parent.mkdir()


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _must_be_ours(root: Path, name: str) -> None:
    path, known = root / name, listing(root)
    if os.path.lexists(path) and not (known and _is_file(path) and known.has(name, path)):
        raise OutputError(f"{path}: was not written by noiseflow, so it is not replaced; move it away")
