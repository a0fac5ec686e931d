"""Normalised planes as `noiseflow sample` writes them in NPY and HDF5 files, read back as a mosaic in DN.

Behind the array of an NPY file stands one line of JSON, the `facts` of the frame, and then the mark of our files;
readers of NumPy's format stop before both.  In an HDF5 file the facts are attributes of the dataset ``signal``.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import RawError
from noiseflow.core.output.marks import NPY_MARK
from noiseflow.core.reading.text import json_value
from noiseflow.raw.bayer import unpack
from noiseflow.raw.image import RawImage
from noiseflow.raw.patterns import cell_side, cfa_name
from noiseflow.raw.settings import RawSettings

__all__ = ["facts", "facts_of_npy", "mosaic_image", "npy_facts"]

BEGINS = b'\n{"planes": '

LONGEST = 4096
"""Bytes of the facts and the mark behind an array."""


def facts(image: RawImage, planes: int) -> dict[str, Any]:
    """What planes need to become a frame again.

    Parameters
    ----------
    image : RawImage
        The frame that they are of.
    planes : int
        Number of planes, 1 of a monochrome sensor as stored.
    """
    return {
        "planes": planes,
        "cfa": image.cfa,
        "black": [float(level) for level in image.black],
        "white": float(image.white),
        "iso": image.iso,
        "exposure_s": image.exposure_s,
        "camera": image.camera,
    }


def npy_facts(image: RawImage, planes: int) -> bytes:
    """The line of JSON that stands behind the array of an NPY file, before the mark."""
    return b"\n" + json.dumps(facts(image, planes), ensure_ascii=True).encode()


def facts_of_npy(path: Path) -> dict[str, Any] | None:
    """The facts behind the array of an NPY file; none of an earlier version; None if we did not write the file.

    Raises
    ------
    RawError
        The facts are damaged.
    """
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LONGEST))
        end = file.read(LONGEST)
    if not end.endswith(NPY_MARK):
        return None
    before = end.removesuffix(NPY_MARK)
    line = before[before.rfind(b"\n") :]
    if not line.startswith(BEGINS):
        return {}
    # Few files are ours: reading any other does not wait for this import.
    from noiseflow.core.reading.schema import ListOf, Maybe, Number, Table, Text, checked

    schema = Table(
        {
            "planes": Number(1, 36, whole=True),
            "cfa": Text(36, 1),
            "black": ListOf(Number(), 1, 36),
            "white": Number(),
            "iso": Maybe(Number(0, above=True)),
            "exposure_s": Maybe(Number(0)),
            "camera": Text(1000),
        }
    )
    found = json_value(line.decode("ascii", "replace"), str(path), "what is said of planes", RawError)
    known: dict[str, Any] = checked(found, schema, str(path), RawError, "what is said of planes")
    return known


def mosaic_image(path: Path, signal: NDArray[Any], known: Mapping[str, Any], settings: RawSettings) -> RawImage:
    """A frame of normalised planes: DN = signal · (white − black) + black, in fractions.

    The settings stand in for what the file does not say, and else win over it as for any frame in DN.

    Parameters
    ----------
    path : Path
        The file, for messages.
    signal : ndarray of float, shape (C, h, w)
        The planes.
    known : mapping
        `facts`, or some of them.
    settings : RawSettings
        What the user says.

    Raises
    ------
    RawError
        Neither says what is needed, or another number of planes than the array's pattern has.
    """
    cfa = known.get("cfa") or settings.cfa
    black = known.get("black") or settings.black
    white = known.get("white") or settings.white
    missing = [name for name, value in (("cfa", cfa), ("black", black), ("white", white)) if value is None]
    if cfa is None or black is None or white is None:
        flags = " ".join(f"--{name}" for name in missing)
        raise RawError(f"{path}: holds planes, and does not say their {', '.join(missing)}; give {flags}")
    planes, whole = len(signal), cell_side(cfa) ** 2
    if planes not in (1, whole) or len(black) not in (1, planes, whole) or known.get("planes", planes) != planes:
        counts = f"{planes} planes and {len(black)} black level(s)"
        said = f", where {known['planes']} are said" if known.get("planes", planes) != planes else ""
        raise RawError(f"{path}: holds {counts}{said}; expected those of {cfa_name(cfa)}")
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
