"""Read back the normalised planes that `noiseflow sample` writes to NPY and HDF5 files, as a mosaic in DN.

In an NPY file the array is followed by one line of JSON with the `facts` of the frame and by noiseflow's checksum and
mark; other readers of the format ignore them.  In an HDF5 file the facts are attributes of the dataset ``signal``.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import RawError
from noiseflow.core.output.ends import without_end
from noiseflow.core.reading.text import json_value
from noiseflow.core.text import counted
from noiseflow.raw.bayer import unpack
from noiseflow.raw.image import RawImage
from noiseflow.raw.patterns import cell_side, cfa_name
from noiseflow.raw.settings import RawSettings

__all__ = ["facts", "facts_of_npy", "mosaic_image", "npy_facts"]

BEGINS = b'\n{"planes": '

LONGEST_NAME = 1000
"""Most characters of a camera's name that are kept, each up to 12 bytes of JSON."""

LONGEST = 1 << 14
"""More bytes than the facts and the mark after an array have."""


def facts(image: RawImage, planes: int) -> dict[str, Any]:
    """Facts that turn normalised planes back into a frame.

    Parameters
    ----------
    image : RawImage
        The frame from which the planes were made.
    planes : int
        Number of planes; 1 for a monochrome frame as stored.

    Returns
    -------
    dict
        Number of planes, colour filter array, levels in DN, ISO, exposure time in seconds, camera.
    """
    return {
        "planes": planes,
        "cfa": image.cfa,
        "black": [float(level) for level in image.black],
        "white": float(image.white),
        "iso": image.iso,
        "exposure_s": image.exposure_s,
        "camera": image.camera[:LONGEST_NAME],
    }


def npy_facts(image: RawImage, planes: int) -> bytes:
    """Line of JSON with the `facts`, to be written after the array of an NPY file and before its end.

    Parameters
    ----------
    image, planes
        As in `facts`.
    """
    return b"\n" + json.dumps(facts(image, planes), ensure_ascii=True).encode()


def facts_of_npy(path: Path) -> dict[str, Any] | None:
    """Read the facts after the array of an NPY file.

    Returns
    -------
    dict or None
        The `facts`; empty if an earlier version of noiseflow wrote the file; None if another program did.

    Raises
    ------
    RawError
        If the facts are damaged.
    """
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LONGEST))
        end = file.read(LONGEST)
    before = without_end(end)
    if before is None:
        return None
    line = before[before.rfind(b"\n") :]
    if not line.startswith(BEGINS):
        return {}
    # Imported here because most NPY files are not noiseflow's and do not need it.
    from noiseflow.core.reading.schema import ListOf, Maybe, Number, Table, Text, checked

    schema = Table(
        {
            "planes": Number(1, 36, whole=True),
            "cfa": Text(36, 1),
            "black": ListOf(Number(), 1, 36),
            "white": Number(),
            "iso": Maybe(Number(0, above=True)),
            "exposure_s": Maybe(Number(0)),
            "camera": Text(LONGEST_NAME),
        }
    )
    found = json_value(line.decode("ascii", "replace"), str(path), "what is said of planes", RawError)
    known: dict[str, Any] = checked(found, schema, str(path), RawError, "what is said of planes")
    return known


def mosaic_image(path: Path, signal: NDArray[Any], known: Mapping[str, Any], settings: RawSettings) -> RawImage:
    """Convert normalised planes to a frame: DN = signal · (white − black) + black, not rounded.

    The conversion uses the levels of the file, and those of the settings where the file has none.  As for
    any other file, the settings then override the levels of the frame.

    Parameters
    ----------
    path : Path
        The file, for messages.
    signal : ndarray of float, shape (C, h, w)
        The planes, normalised.
    known : mapping
        All or some of the `facts`.
    settings : RawSettings
        The user's settings.

    Raises
    ------
    RawError
        If neither gives the array, the black or the white level, or the number of planes does not match the array.
    """
    cfa = known.get("cfa") or settings.cfa
    black = known.get("black") or settings.black
    white = known.get("white") or settings.white
    missing = [name for name, value in (("cfa", cfa), ("black", black), ("white", white)) if value is None]
    if cfa is None or black is None or white is None:
        flags = " ".join(f"--{name}" for name in missing)
        raise RawError(f"{path}: contains planes, but does not give their {', '.join(missing)}; give {flags}")
    planes, whole = len(signal), cell_side(cfa) ** 2
    if planes not in (1, whole) or len(black) not in (1, planes, whole) or known.get("planes", planes) != planes:
        counts = f"{counted(planes, 'plane')} and {counted(len(black), 'black level')}"
        said = f", but says {known['planes']} planes" if known.get("planes", planes) != planes else ""
        raise RawError(f"{path}: contains {counts}{said}; expected those of {cfa_name(cfa)}")
    levels = np.asarray(black if len(black) == len(signal) else [np.mean(black)] * len(signal), np.float64)
    levels = levels[:, None, None]
    codes = signal.astype(np.float64) * (white - levels) + levels
    times = {name: value for name in ("iso", "exposure_s") if (value := known.get(name)) is not None}
    return settings.image(
        codes[0] if len(signal) == 1 else unpack(codes, cfa),
        str(path),
        cfa=cfa,
        black=tuple(black),
        white=white,
        model=known.get("camera", ""),
        **times,
    )
