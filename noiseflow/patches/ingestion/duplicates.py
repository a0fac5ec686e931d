"""The same file twice: found by checksum, so that no frame is its own clean signal or in two splits."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from blake3 import blake3

from noiseflow.core.errors import RawError
from noiseflow.patches.checksums import file_checksum

__all__ = ["repeated"]

HEAD_BYTES = 1 << 16


def repeated(files: Iterable[Path]) -> dict[Path, Path]:
    """Files whose content is that of an earlier one.

    Only files of one size and of the same first and last 64 KiB are read whole.

    Parameters
    ----------
    files : iterable of Path

    Returns
    -------
    dict
        Repeated file → the first of that content.
    """
    known = list(dict.fromkeys(files))
    alike: dict[tuple[int, str], list[Path]] = defaultdict(list)
    for file in known:
        alike[_size(file), _ends(file)].append(file)
    first: dict[str, Path] = {}
    again: dict[Path, Path] = {}
    for group in alike.values():
        if len(group) < 2:
            continue
        for file in group:
            original = first.setdefault(file_checksum(file), file)
            if original != file:
                again[file] = original
    return again


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise RawError(f"{path}: cannot be read ({error.strerror})") from error


def _ends(path: Path) -> str:
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
            file.seek(max(0, path.stat().st_size - HEAD_BYTES))
            return blake3(head + file.read(HEAD_BYTES)).hexdigest()
    except OSError as error:
        raise RawError(f"{path}: cannot be read ({error.strerror})") from error
