"""Find clean twins by name: ``clean/0.dng`` for ``noisy/0.dng``, ``a_gt.dng`` for ``a_noisy_1.dng``, long for short.

A file is clean if its name, or that of a folder above it, contains a word such as gt, clean
or reference.  To compare paths, words for clean and noisy, exposure times and ISOs are removed
from them.  A clean file is the twin of a noisy one if its remaining path is the beginning of the
noisy file's, or if it is the only clean file in the noisy file's folder.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from noiseflow.patches.sources.scene import kind_of
from noiseflow.raw.file_names import without_settings

__all__ = ["CLEAN_WORDS", "LONG_WORDS", "NOISY_WORDS", "Twins", "find_twins"]

CLEAN_WORDS = frozenset(
    (*("gt", "clean", "reference", "ref", "truth", "groundtruth", "target", "noisefree", "noiseless"),)
)
LABEL_WORDS = frozenset(("label", "labels", "hq"))
"""Words for clean only if other names mean noisy; otherwise a label may be the subject of the photo."""
MEAN_WORDS = frozenset(("mean", "avg", "average", "averaged", "median"))
"""Words for clean, except in folders of darks and flats, where they mean a master frame."""
LONG_WORDS = frozenset(("long",))
"""Words for a long exposure; its signal is scaled to the short one by the ratio of exposure time × ISO."""
NOISY_WORDS = frozenset(
    (
        *("noisy", "noise", "input", "inputs", "short", "low", "lq", "ground", "frame", "frames"),
        *("img", "image", "images", "raw", "raws"),
    )
)
"""Words for noisy, or without meaning."""
SURELY_NOISY = frozenset(("noisy", "input", "inputs", "low", "lq"))
"""Words that can only mean noisy."""

OF_NO_FRAME = CLEAN_WORDS | LABEL_WORDS | MEAN_WORDS | LONG_WORDS | NOISY_WORDS
"""Words that do not identify a frame and are removed before paths are compared."""

Key = tuple[str, ...]


@dataclass(frozen=True)
class Twins:
    """Clean twins and their noisy files.

    Parameters
    ----------
    pairs : mapping of Path to sequence of Path
        Clean file → its noisy files.
    long : frozenset of Path
        Clean files that are long exposures.
    alone : tuple of Path
        Noisy files without a clean twin.
    unused : tuple of Path
        Clean files without a noisy file.
    """

    pairs: Mapping[Path, Sequence[Path]]
    long: frozenset[Path] = frozenset()
    alone: tuple[Path, ...] = ()
    unused: tuple[Path, ...] = ()


def find_twins(root: Path, files: Iterable[Path]) -> Twins | None:
    """Pair noisy files with clean twins by name; None if there is no pair.

    Parameters
    ----------
    root : Path
        Folder above all files; its own name is ignored.
    files : iterable of Path
        Raw files in and below the folder.

    Examples
    --------
    >>> names = ["noisy/000.dng", "noisy/001.dng", "clean/000.dng", "clean/001.dng"]
    >>> twins = find_twins(Path("d"), [Path("d") / name for name in names])
    >>> [(str(clean), [str(each) for each in noisy]) for clean, noisy in twins.pairs.items()]
    [('d/clean/000.dng', ['d/noisy/000.dng']), ('d/clean/001.dng', ['d/noisy/001.dng'])]
    """
    keys = {file: _words(root, file) for file in files}
    seen = frozenset(word for words in keys.values() for word in words)
    marks = CLEAN_WORDS | (LONG_WORDS if "short" in seen else set()) | (LABEL_WORDS if SURELY_NOISY & seen else set())
    clean = {
        file: _key(words)
        for file, words in keys.items()
        if marks & set(words) or (MEAN_WORDS & set(words) and not kind_of(file.parent.name))
    }
    noisy = {file: _key(words) for file, words in keys.items() if file not in clean}
    pairs: dict[Path, list[Path]] = {}
    alone = []
    for file, key in noisy.items():
        twin = _best(key, clean) or _only_beside(file, clean)
        if twin is None:
            alone.append(file)
        else:
            pairs.setdefault(twin, []).append(file)
    if not pairs:
        return None
    long = frozenset(file for file in pairs if not (marks - LONG_WORDS | MEAN_WORDS) & set(keys[file]))
    unused = tuple(file for file in clean if file not in pairs)
    return Twins(dict(sorted(pairs.items())), long, tuple(alone), unused)


def _words(root: Path, file: Path) -> Key:
    """Words and numbers of a path below the root, without ISO and exposure time; numbers without leading zeros."""
    parts = file.relative_to(root).with_suffix("").parts
    text = " ".join(without_settings(part) for part in parts)
    # Split "groundTruth" and "CleanFrames" into two words each, but keep "GT".
    found = re.findall(r"[a-z]+|\d+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).lower())
    return tuple(word.lstrip("0") or "0" if word.isdecimal() else word for word in found)


def _key(words: Key) -> Key:
    """Words of a path that identify the frame."""
    return tuple(word for word in words if word not in OF_NO_FRAME)


def _best(key: Key, clean: Mapping[Path, Key]) -> Path | None:
    """Clean file whose key is the longest beginning of `key`; None if there is none, or several are equally long."""
    fitting = [(len(its), file) for file, its in clean.items() if key[: len(its)] == its]
    most = max((count for count, _ in fitting), default=0)
    best = [file for count, file in fitting if count == most]
    return best[0] if len(best) == 1 else None


def _only_beside(file: Path, clean: Mapping[Path, Key]) -> Path | None:
    """The clean file in a file's folder, if there is exactly one."""
    beside = [each for each in clean if each.parent == file.parent]
    return beside[0] if len(beside) == 1 else None
