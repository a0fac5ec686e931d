"""Mosaics in HDF5 files, one or a stack; and the normalised planes that we write to such files."""

import mmap
import re
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import RawError
from noiseflow.core.output.marks import MARK
from noiseflow.raw.fields import FIELDS, said_by
from noiseflow.raw.formats.planes import mosaic_image
from noiseflow.raw.guards import MAX_PIXELS, check_size, decoding, refuse_planes_last
from noiseflow.raw.image import RawImage
from noiseflow.raw.settings import RawSettings

if TYPE_CHECKING:
    import h5py

__all__ = ["SUFFIXES", "count", "plain_dataset", "read", "recognises"]

SUFFIXES = frozenset((".h5", ".hdf5"))

STORE_MARKS = ("schema", "finished")
"""Attributes of a patch store, which is no raw file."""

HEAP = b"GCOL\x01\0\0\0"
"""Where a global heap, which holds texts, begins: signature and version."""

MOST_HEAPS = 64
"""Heaps whose texts are checked; a file with a few attributes has one."""


def recognises(path: Path) -> bool:
    """Whether a file is HDF5, and no patch store."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return not any(mark in file.attrs for mark in STORE_MARKS)
    except (OSError, RuntimeError, KeyError, ValueError):
        return False


def count(path: Path) -> int:
    """Frames in a file: the length of the first of three axes."""
    import h5py

    _refuse_damaged_heaps(path)
    with decoding(path, "an HDF5 file"), h5py.File(path, "r") as file:
        if _is_ours(file):
            return 1
        data = _mosaic(path, file)
        return int(data.shape[0]) if data.ndim == 3 else 1


def read(path: Path, settings: RawSettings, frame: int = 0) -> RawImage:
    """Read one frame of the dataset ``mosaic``, or of the only one of shape (H, W) or (frames, H, W).

    Or of the planes (C, h, w) in the dataset ``signal`` of a file of ours.

    Attributes ``cfa``, ``black``, ``white``, ``iso``, ``gain_db``, ``exposure_s``, ``make`` and
    ``model``, of the dataset or else of the file, say the rest.

    Raises
    ------
    RawError
        The file is damaged, or holds no such dataset.
    """
    import h5py

    _refuse_damaged_heaps(path)
    with decoding(path, "an HDF5 file"), h5py.File(path, "r") as file:
        data = plain_dataset(path, _mosaic(path, file))
        if _is_ours(file):
            return mosaic_image(path, _planes(path, data), _facts(path, data), settings)
        frames = int(data.shape[0]) if data.ndim == 3 else 1
        if not 0 <= frame < frames:
            raise RawError(f"{path}: holds {frames} frames; there is no frame {frame}")
        values = {key: place[key] for place in (file.attrs, data.attrs) for key in FIELDS if key in place}
        pixels = np.asarray(data[()] if data.ndim == 2 else data[frame])
    return settings.image(pixels, str(path) if frames == 1 else f"{path}[{frame}]", **said_by(values, str(path)))


def _mosaic(path: Path, file: "h5py.File") -> "h5py.Dataset":
    import h5py

    flat: list[str] = []

    def note(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim in (2, 3):
            flat.append(name)

    # In groups too, each once, whatever links lead to it.
    file.visititems(note)
    named = [name for name in flat if name.rpartition("/")[2] == "mosaic"]
    alone = [each[0] for each in (named, flat) if len(each) == 1]
    name = "mosaic" if "mosaic" in flat else next(iter(alone), None)
    if name is None:
        raise RawError(f"{path}: expected one 2-D dataset, or one named 'mosaic'; got {', '.join(flat) or 'none'}")
    if not _is_ours(file):
        refuse_planes_last(path, file[name].shape)
    return file[name]


def _is_ours(file: "h5py.File") -> bool:
    """Whether a file holds planes that we wrote."""
    return file.attrs.get("made_by") == MARK and "signal" in file


def _planes(path: Path, data: "h5py.Dataset") -> NDArray[Any]:
    if data.ndim != 3 or data.dtype.kind != "f":
        raise RawError(
            f"{path}: {data.name} is {data.dtype} of shape {data.shape}; expected planes of floats, (C, h, w)"
        )
    return np.asarray(data[()])


def _facts(path: Path, data: "h5py.Dataset") -> dict[str, Any]:
    """What the attributes say, of those that have a value."""
    known = said_by({key: data.attrs[key] for key in FIELDS if key in data.attrs}, str(path))
    if "camera" in data.attrs:
        known["camera"] = str(data.attrs["camera"])
    return {name: value for name, value in known.items() if value == value}


def plain_dataset(path: Path, data: "h5py.Dataset") -> "h5py.Dataset":
    """The dataset, once nothing about it takes more memory than its pixels or reads other files."""
    check_size(path, *data.shape[-2:])
    if data.size > MAX_PIXELS:
        raise RawError(f"{path}: {data.name} claims {data.size:,} values; expected at most {MAX_PIXELS:,}")
    if data.dtype.kind not in "uif":
        raise RawError(f"{path}: {data.name} holds values of type {data.dtype}; expected integers or floats")
    if data.is_virtual or data.external:
        raise RawError(f"{path}: {data.name} keeps its values in other files; expected them in this one")
    if data.chunks and np.prod(data.chunks, dtype=np.float64) > 2 * max(data.size, 1 << 20):
        raise RawError(f"{path}: {data.name} claims chunks of {data.chunks}, larger than itself")
    return data


def _refuse_damaged_heaps(path: Path) -> None:
    """Refuse a file whose damaged texts would send the HDF5 library round for ever, or make it take gigabytes.

    Texts stand in global heaps: an entry that takes no room is read again and again, and a text of which its owner
    says that it is longer than the file gets that much memory before its entry is looked up.

    References
    ----------
    HDF5 File Format Specification 3.0, III.E: index, count of references, four bytes of nothing and the
    size of each entry; that of index 0 is what is free, header and all.  IV.A.2.d: a value of variable length is its
    length in 4 bytes, the address of its heap in 8, and its index in 4.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        heaps: dict[bytes, int] = {}
        heap = content.find(HEAP)
        while heap >= 0:
            heaps[struct.pack("<Q", heap)] = _entries(path, content, heap)
            heap = content.find(HEAP, heap + 1)
        if not heaps or len(heaps) > MOST_HEAPS:
            return
        for found in re.finditer(b"|".join(map(re.escape, heaps)), content):
            at = found.start()
            if not 4 <= at <= len(content) - 12:
                continue
            length, index = struct.unpack_from("<I", content, at - 4)[0], struct.unpack_from("<I", content, at + 8)[0]
            if length > len(content) and 0 < index <= heaps[found.group()]:
                raise RawError(f"{path}: cannot be read as an HDF5 file (a text longer than the file); copy it again")


def _entries(path: Path, content: mmap.mmap, heap: int) -> int:
    """The highest index in a heap of texts.

    Raises
    ------
    RawError
        An entry takes no room.
    """
    at, highest = heap + 16, 0
    end = min(heap + int.from_bytes(content[heap + 8 : at], "little"), len(content))
    while at + 16 <= end:
        index, size = struct.unpack_from("<H6xQ", content, at)
        highest = max(highest, index)
        # In 64 bits, as the library has it.
        step = (size if index == 0 else 16 + (size + 7) // 8 * 8) % 2**64
        if not step:
            raise RawError(f"{path}: cannot be read as an HDF5 file (a damaged heap of texts); copy it again")
        at += step
    return highest
