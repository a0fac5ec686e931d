"""Whether files in folders of ours still are what was written, by the SHA-256 in their lists."""

import os
from dataclasses import dataclass
from pathlib import Path

from noiseflow.core.errors import NoiseflowError
from noiseflow.core.output.manifest import MANIFEST, digest_of, listing

__all__ = ["Verified", "check_file", "verified"]


DEPTH = 3
"""Folders above a file in which a list of it may be: a state of a training is three below its run."""


@dataclass(frozen=True)
class Verified:
    """What a comparison of a folder with its lists found.

    Parameters
    ----------
    same : int
        Files that are what was written.
    changed : tuple of str
        Paths of files that differ or are gone.
    """

    same: int
    changed: tuple[str, ...]


def check_file(path: Path, error: type[NoiseflowError]) -> bool:
    """Refuse a file that its folder's list knows with other content.

    Parameters
    ----------
    path : Path
        File in a folder, or in one of its folders, that may have a list.
    error : type
        Class of the error.

    Returns
    -------
    bool
        Whether there is a SHA-256 that the file was compared with; there is none for folders of earlier versions.

    Raises
    ------
    NoiseflowError
        Of the class `error`: the file was changed since it was written.
    """
    digests: set[str] = set()
    for root in list(path.parents)[:DEPTH]:
        known = None if digests else listing(root)
        if known:
            digests = known.files.get(path.relative_to(root).as_posix(), set())
    if digests and digest_of(path) not in digests:
        raise error(f"{path}: was changed since it was written (its SHA-256 is another); make it again")
    return bool(digests)


def verified(folder: Path) -> Verified | None:
    """Compare all listed files in a folder, and in folders of ours below it, with the SHA-256 in their lists.

    None if there is no list: earlier versions kept none.
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
            # States of a training, of which the list keeps those that are removed again.
            if gone and "/" in name and not path.parent.exists():
                continue
            if gone or digest_of(path) not in digests:
                changed.append(str(path.relative_to(folder)))
            else:
                same += 1
    return Verified(same, tuple(changed))
