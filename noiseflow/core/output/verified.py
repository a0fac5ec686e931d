"""Compare files in output folders with the SHA-256 in their lists, to find changes since they were written."""

import hashlib
import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from noiseflow.core.errors import NoiseflowError
from noiseflow.core.output.manifest import MANIFEST, digest_of, listing

__all__ = ["Verified", "check_file", "verified"]


DEPTH = 3
"""Number of folders above a file that are searched for its list; a training state is three levels below its run."""


@dataclass(frozen=True)
class Verified:
    """Result of comparing a folder with its lists.

    Parameters
    ----------
    same : int
        Number of unchanged files.
    changed : tuple of str
        Paths of files that have changed or are missing.
    """

    same: int
    changed: tuple[str, ...]


def check_file(path: Path, error: type[NoiseflowError], content: bytes | None = None) -> bool:
    """Refuse a file whose content differs from the list of its output folder.

    Parameters
    ----------
    path : Path
        A file in an output folder or its sub-folders.
    error : type
        Class of the error to raise.
    content : bytes, optional
        What was read of the file, so that it is not read twice.

    Returns
    -------
    bool
        Whether the list has a SHA-256 of the file; folders of earlier versions have no list.

    Raises
    ------
    NoiseflowError
        Of the class `error`, if the file has changed since it was written.
    """
    digests: set[str] = set()
    for root in islice(path.parents, DEPTH):
        known = None if digests else listing(root)
        if known:
            digests = known.files.get(path.relative_to(root).as_posix(), set())
    if digests and (digest_of(path) if content is None else hashlib.sha256(content).hexdigest()) not in digests:
        raise error(f"{path}: was changed since it was written (its SHA-256 differs); make it again")
    return bool(digests)


def verified(folder: Path) -> Verified | None:
    """Compare all listed files in an output folder, and in output folders below it, with the SHA-256 in their lists.

    Parameters
    ----------
    folder : Path
        The output folder.

    Returns
    -------
    Verified or None
        None if the folder has no list, as in earlier versions.
    """
    lists = [Path(here) for here, _, files in os.walk(folder) if MANIFEST in files]
    if folder not in lists:
        return None
    same, changed = 0, []
    for root in sorted(lists):
        known = listing(root)
        for name, digests in sorted(known.files.items()) if known else ():
            path = root / name
            gone = not path.is_file() or path.is_symlink()
            # Training states that were removed later remain in the list.
            if gone and "/" in name and not path.parent.exists():
                continue
            if gone or digest_of(path) not in digests:
                changed.append(str(path.relative_to(folder)))
            else:
                same += 1
    return Verified(same, tuple(changed))
