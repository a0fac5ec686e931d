"""Clean twins by name: ``noisy/000.dng`` with ``clean/000.dng``, ``a_noisy_1.dng`` with ``a_gt.dng``, short with long.

A file is clean if its name, or a folder's on the way to it, holds a word such as gt, clean
or reference.  What is left of its path without those words and the noisy ones, exposures
and ISOs, must begin its noisy frames' paths, treated likewise; or it is the only clean
file of their folder.
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
"""Clean beside files that are noisy by their name; else a label may be what was photographed."""
MEAN_WORDS = frozenset(("mean", "avg", "average", "averaged", "median"))
"""Clean but for folders of darks and flats: there it is a master frame, no twin."""
LONG_WORDS = frozenset(("long",))
"""Clean by their exposure: the signal is brought to the short one's by the ratio of exposure and ISO."""
NOISY_WORDS = frozenset(
    (
        *("noisy", "noise", "input", "inputs", "short", "low", "lq", "ground", "frame", "frames"),
        *("img", "image", "images", "raw", "raws"),
    )
)
SURELY_NOISY = frozenset(("noisy", "input", "inputs", "low", "lq"))
"""Words that say nothing of which frame it is."""

OF_NO_FRAME = CLEAN_WORDS | LABEL_WORDS | MEAN_WORDS | LONG_WORDS | NOISY_WORDS

Key = tuple[str, ...]


@dataclass(frozen=True)
class Twins:
    """Noisy files by their clean twin.

    Parameters
    ----------
    pairs : mapping of Path to sequence of Path
        Clean file → its noisy files.
    long : frozenset of Path
        Clean files that are long exposures.
    alone : tuple of Path
        Noisy files without a twin.
    unused : tuple of Path
        Clean files without a noisy one.
    """

    pairs: Mapping[Path, Sequence[Path]]
    long: frozenset[Path] = frozenset()
    alone: tuple[Path, ...] = ()
    unused: tuple[Path, ...] = ()


def find_twins(root: Path, files: Iterable[Path]) -> Twins | None:
    """Pair files by name; None if none is clean by its name, or none of the clean ones has a noisy one.

    Parameters
    ----------
    root : Path
        Folder that all files are in or below; its own name does not count.
    files : iterable of Path
        Raw files of one folder.

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
    """Letters and numbers of a path below the root, in order, without settings; numbers without leading zeros."""
    parts = file.relative_to(root).with_suffix("").parts
    text = " ".join(without_settings(part) for part in parts)
    # "groundTruth" and "CleanFrames" are two words each, "GT" is one.
    found = re.findall(r"[a-z]+|\d+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).lower())
    return tuple(word.lstrip("0") or "0" if word.isdecimal() else word for word in found)


def _key(words: Key) -> Key:
    """What is left of a path to say which frame it is."""
    return tuple(word for word in words if word not in OF_NO_FRAME)


def _best(key: Key, clean: Mapping[Path, Key]) -> Path | None:
    """The clean file with the most words in common; None if none fits, or two do equally well."""
    fitting = [(len(its), file) for file, its in clean.items() if key[: len(its)] == its]
    most = max((count for count, _ in fitting), default=0)
    best = [file for count, file in fitting if count == most]
    return best[0] if len(best) == 1 else None


def _only_beside(file: Path, clean: Mapping[Path, Key]) -> Path | None:
    """The only clean file in a file's folder."""
    beside = [each for each in clean if each.parent == file.parent]
    return beside[0] if len(beside) == 1 else None
