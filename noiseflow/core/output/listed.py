"""Files in a folder of ours that is filled bit by bit, each whole and listed before it takes its name."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from noiseflow.core.errors import OutputError
from noiseflow.core.output.manifest import begin, listing, record, remove_ours
from noiseflow.core.output.whole import deferred, exchange, move_new, private_folder, write_bytes

__all__ = ["adopt", "fresh_folder", "remove_listed", "write_listed", "write_listed_folder"]


def write_listed(root: Path, name: str, content: bytes) -> None:
    """Write a file of a folder of ours, in the place of an earlier one of ours if there is one.

    Parameters
    ----------
    root : Path
        The folder with the list; it is made, and a list is begun, if there is none.
    name : str
        Path in it, with ``/`` between names.
    content : bytes
        Content of the file.

    Raises
    ------
    OutputError
        A file of that name is not ours.
    """
    _ensure(root)
    path = root / name
    _make_parent(root, name)
    _must_be_ours(root, name)
    record(root, {"file": name, "sha256": hashlib.sha256(content).hexdigest()})
    write_bytes(path, content, replace=True)


def write_listed_folder(root: Path, name: str, contents: Mapping[str, bytes]) -> None:
    """Write a folder within a folder of ours, which takes its name when all its files are whole.

    Parameters
    ----------
    root, name
        As of `write_listed`.
    contents : mapping
        Content of each file by its name.

    Raises
    ------
    OutputError
        A folder of that name holds something that is not ours.
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
    """Make an empty folder with a list, in the place of one of ours if there is one.

    A new folder gets its name in one step, with its list: one without a list, which a killed process would leave,
    could not be told from a stranger's.

    Parameters
    ----------
    folder : Path
        Checked and locked: see `noiseflow.core.output.checks.writing`.
    kind : str
        Kind of the folder, such as ``"run"``, for its list.
    *lines : mapping
        What the list says of its future content: see `noiseflow.core.output.manifest.record`.

    Raises
    ------
    OutputError
        It holds something that is not ours; then all of it is left as it is.
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
    """Remove a folder within a folder of ours; it stays if it holds anything that is not ours."""
    known, folder = listing(root), root / name
    entries = list(folder.iterdir())
    if known is None or not all(_is_file(entry) and known.has(f"{name}/{entry.name}", entry) for entry in entries):
        return
    for entry in entries:
        entry.unlink()
    folder.rmdir()


def adopt(root: Path, names: list[str]) -> None:
    """List files of an earlier version, which kept no list, in a folder that was found to be ours by its content."""
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
    """Make the folder of a file, listed first: a kill right after would leave an empty folder that nobody knows."""
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
