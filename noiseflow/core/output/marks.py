"""Recognise single files that noiseflow wrote by a mark in their content.

To write another format, add its suffix and a strict test of its content to `MARKS`.  A file without a
mark counts as the user's.
"""

import hashlib
import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from noiseflow.core.output.ends import ENDED, ENDS, ends_well, png_is_as_written
from noiseflow.core.reading.hdf5 import TEXT_BYTES, check_texts

__all__ = ["CHECKSUM", "MARK", "MARKS", "checksum_of", "has_mark", "sealed_html"]

MARK = "noiseflow"
"""Value of software, producer, generator or ``made_by`` in every file that noiseflow writes."""

CHECKSUM = "sha256"
"""Entry of a camera profile with the `checksum_of` its other entries."""

SOFTWARE = 0x0131
"""TIFF tag Software."""

OF_OTHERS = (0x02BC, 0x4746, 0x4749, 0x83BB, 0x8649)
"""TIFF tags that we never write: XMP, ratings, IPTC and Photoshop, where other programs keep the work of their user."""

DESCRIPTION, OWN_DESCRIPTION = 0x010E, b'{"shape": '
"""TIFF tag ImageDescription, and the start of the one that tifffile writes for us."""

SEAL = b"\n<!-- sha256 "
"""Start of the comment at the end of a page that holds the SHA-256 of everything before it."""

HEAD = 1 << 16
"""Number of bytes at the start of a file that are searched for a mark."""


def has_mark(path: Path) -> bool:
    """Whether noiseflow wrote a file, judged by its content alone."""
    test = MARKS.get(path.suffix.lower())
    if test is None or path.is_symlink() or not path.is_file():
        return False
    try:
        return test(path)
    except (OSError, ValueError, struct.error, KeyError, RuntimeError, NotImplementedError):
        return False


def checksum_of(entries: Mapping[str, Any]) -> str:
    """SHA-256 of JSON values, independent of their order and spacing in the file.

    Parameters
    ----------
    entries : mapping
        JSON-able values.
    """
    plain = json.dumps(entries, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()


def sealed_html(page: str) -> bytes:
    """A page, and behind it the checksum that reveals a later change."""
    content = page.encode("utf-8", "backslashreplace")
    return content + SEAL + hashlib.sha256(content).hexdigest().encode() + b" -->\n"


def _head(path: Path, size: int = HEAD) -> bytes:
    with path.open("rb") as file:
        return file.read(size)


def _tiff(path: Path) -> bool:
    """Whether the tag Software of the first directory is the mark, and nothing shows another program's edits."""
    ours = sealed = False
    with path.open("rb") as file:
        order, number, at = struct.unpack("<2sHI", file.read(8))
        if (order, number) != (b"II", 42):
            return False
        file.seek(at)
        (count,) = struct.unpack("<H", file.read(2))
        for tag, _, size, value in struct.iter_unpack("<HHII", file.read(12 * count)):
            if tag in OF_OTHERS:
                return False
            sealed = sealed or tag == ENDS[0]
            if tag in (DESCRIPTION, SOFTWARE):
                file.seek(value)
                text = file.read(min(size, HEAD)).rstrip(b"\0")
                if tag == DESCRIPTION and not text.startswith(OWN_DESCRIPTION):
                    return False
                ours = ours or (tag == SOFTWARE and text == MARK.encode())
    return ours and (not sealed or ends_well(path))


def _hdf5(path: Path) -> bool:
    if _head(path, 8) != b"\x89HDF\r\n\x1a\n":
        return False
    import h5py

    check_texts(path, TEXT_BYTES)
    with h5py.File(path, "r") as file:
        is_store = {"schema", "layout", "pairing", "unit", "provenance", "fingerprint"} <= set(file.attrs)
        ours, sealed = is_store or file.attrs.get("made_by") == MARK, ENDED in file.attrs
    return bool(ours and (not sealed or ends_well(path)))


def _npy(path: Path) -> bool:
    with path.open("rb") as file:
        if file.read(6) != b"\x93NUMPY":
            return False
    # The header has no field for a mark.
    return ends_well(path)


def _png(path: Path) -> bool:
    content = path.read_bytes()
    ours = content[:8] == b"\x89PNG\r\n\x1a\n" and b"tEXtSoftware\0" + MARK.encode() in content[:HEAD]
    return ours and png_is_as_written(content)


def _profile(path: Path) -> bool:
    """Whether a JSON file has the mark; its checksum, without which no camera profile is ours, must fit too."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        return False
    said = content.pop(CHECKSUM, None)
    if str(content.get("schema")).startswith("noiseflow camera profile"):
        return bool(said == checksum_of(content))
    # Profiles for darktable of earlier versions have no checksum.
    return content.get("made_by") == MARK and said in (None, checksum_of(content))


def _html(path: Path) -> bool:
    """Whether a page has the mark and, except those of earlier versions, ends with the checksum of all before it."""
    content = path.read_bytes()
    if f"<meta name='generator' content='{MARK}'>".encode() not in content[:HEAD]:
        return False
    page, seal, said = content.rpartition(SEAL)
    return not seal or said == hashlib.sha256(page).hexdigest().encode() + b" -->\n"


def _onnx(path: Path) -> bool:
    # Field 2 of a ModelProto, the producer's name.
    return bytes([0x12, len(MARK)]) + MARK.encode() in _head(path, 64)


def _program(path: Path) -> bool:
    # Imported here because every command reads this module.
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            return any(Path(name).name == f"{MARK}.json" for name in archive.namelist())
    except zipfile.BadZipFile:
        return False


MARKS: dict[str, Callable[[Path], bool]] = {
    ".dng": _tiff,
    ".tif": _tiff,
    ".tiff": _tiff,
    ".h5": _hdf5,
    ".hdf5": _hdf5,
    ".npy": _npy,
    ".png": _png,
    ".json": _profile,
    ".html": _html,
    ".htm": _html,
    ".onnx": _onnx,
    ".pt2": _program,
}
"""Suffix → test whether noiseflow wrote a file with it."""
