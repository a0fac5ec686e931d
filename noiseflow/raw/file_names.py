"""ISO and exposure time written in file names, and a walk over folders that skips files of the operating system."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

__all__ = ["is_litter", "named_exposure_s", "named_iso", "walk", "without_settings"]

NUMBER = r"(\d{1,7})(?!\d)(?!(?:[.,]\d+)?[\s_]?(?:us|µs|ms|sec|s)(?![a-z\d]))"
"""A whole number of at most seven digits without a unit of time behind it."""
ISO = re.compile(
    rf"(?<![a-z])iso[\s_=-]*{NUMBER}|(?<![\d.,a-z])(\d{{2,7}})\s?iso(?![a-z\d])(?![\s_=-]*{NUMBER})", re.IGNORECASE
)
EXPOSURE = re.compile(
    r"(?<![\d.,a-z])(?:(?P<over>1)[/_-](?P<under>\d+)(?=[\s_]?s)|(?P<number>\d+(?:[.,]\d+)?))[\s_]?"
    r"(?P<unit>us|µs|ms|sec|s)(?![a-z\d])",
    re.IGNORECASE,
)
"""A ratio such as 1/100 needs the unit s: in ``1_10ms`` the 1 is a number of its own and the time is 10 ms."""
SECONDS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0}

LITTER = frozenset(("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin", "lost+found"))
"""Files and folders that operating systems create on their own, in lower case."""


def named_iso(path: Path) -> tuple[float | None, str]:
    """ISO written in a file's name or, failing that, in its folder's name; and the name that contains it.

    A name with two different values is ignored.  Returns (None, "") if neither name has an ISO.

    Parameters
    ----------
    path : Path
        The file; it is not opened.

    Examples
    --------
    >>> named_iso(Path("darks/ISO800_10ms.tif"))
    (800.0, 'ISO800_10ms')
    """
    for name in (path.stem, path.parent.name):
        found = {behind or before for behind, before, _ in ISO.findall(name)}
        if len(found) == 1 and (iso := float(found.pop())) > 0:
            return iso, name
    return None, ""


def named_exposure_s(path: Path) -> tuple[float | None, str]:
    """Exposure time in seconds written in a file's name or its folder's; and the name that contains it.

    A name with two different values is ignored.  Returns (None, "") if neither name has a time.

    Parameters
    ----------
    path : Path
        The file; it is not opened.

    Examples
    --------
    >>> named_exposure_s(Path("10003_00_0.04s.ARW"))
    (0.04, '10003_00_0.04s')
    """
    for name in (path.stem, path.parent.name):
        found = {match.group(0): match for match in EXPOSURE.finditer(name)}
        if len(found) == 1:
            ((_, match),) = found.items()
            value = 1 / float(match["under"]) if match["over"] and float(match["under"]) else 0.0
            if match["number"]:
                value = float(match["number"].replace(",", "."))
            return value * SECONDS[match["unit"].lower()], name
    return None, ""


def without_settings(name: str) -> str:
    """Remove the ISO and the exposure time from a name.

    >>> without_settings("10003_00_0.04s"), without_settings("desk_ISO800_1")
    ('10003_00_', 'desk__1')
    """
    return ISO.sub("", EXPOSURE.sub("", name))


def is_litter(name: str) -> bool:
    """Whether a name belongs to a hidden file or is in `LITTER`.

    >>> is_litter("._IMG_0001.dng"), is_litter("Thumbs.db"), is_litter("IMG_0001.dng")
    (True, True, False)
    """
    return name.startswith(".") or name.lower() in LITTER


def walk(path: Path) -> Iterator[tuple[Path, list[str], str]]:
    """Walk a folder and its sub-folders in order of name, without hidden files and files in `LITTER`.

    Links to folders are followed; each folder is visited once.

    Yields
    ------
    folder : Path
        The folder.
    files : list of str
        Names of its files, sorted.
    problem : str
        Why the folder cannot be opened; empty if it can.  These folders come last.
    """
    problems: list[OSError] = []
    seen: set[tuple[int, int] | str] = set()
    for folder, below, names in os.walk(path, onerror=problems.append, followlinks=True):
        one = _identity(folder)
        if one in seen:
            below.clear()
            continue
        seen.add(one)
        below[:] = sorted(name for name in below if not is_litter(name))
        yield Path(folder), sorted(name for name in names if not is_litter(name)), ""
    for problem in problems:
        yield Path(problem.filename), [], f"{problem.filename}: cannot be opened ({problem.strerror}); left out"


def _identity(folder: str) -> tuple[int, int] | str:
    """Key shared by a folder and all links to it: device and inode, which cost less than resolving a deep path."""
    try:
        about = os.stat(folder)
    except OSError:
        return os.path.realpath(folder)
    return (about.st_dev, about.st_ino) if about.st_ino else os.path.realpath(folder)
