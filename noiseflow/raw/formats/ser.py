"""Read SER films of astronomical cameras: a header of 178 bytes, then frames of 8 or 16 bits per pixel."""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import RawError
from noiseflow.core.text import counted
from noiseflow.raw.guards import check_size
from noiseflow.raw.image import RawImage
from noiseflow.raw.inspection.other_readings import other_order_is_smoother
from noiseflow.raw.patterns import MONO
from noiseflow.raw.settings import RawSettings

__all__ = ["SUFFIXES", "count", "read"]

SUFFIXES = frozenset((".ser",))

SIGNATURE = b"LUCAM-RECORDER"
HEADER = struct.Struct("<14s7i40s40s40s2q")
"""Signature, LuID, ColorID, LittleEndian, width, height, depth in bits, frames, observer, instrument, telescope, two
dates."""

COLOURS = {0: MONO, 8: "RGGB", 9: "GRBG", 10: "GBRG", 11: "BGGR"}


@dataclass(frozen=True)
class _Header:
    cfa: str
    big_endian: bool
    shape: tuple[int, int]
    depth: int
    frames: int
    instrument: str

    @property
    def frame_bytes(self) -> int:
        return self.shape[0] * self.shape[1] * (1 if self.depth <= 8 else 2)


def count(path: Path) -> int:
    """Number of frames in a film."""
    return _header(path).frames


def read(path: Path, settings: RawSettings, frame: int = 0) -> RawImage:
    """Read one frame of a film.

    Parameters
    ----------
    path : Path
        The film.
    settings : RawSettings
        The user's settings; they override the header.
    frame : int
        Index of the frame, from 0.

    Raises
    ------
    RawError
        If the file is damaged or truncated, its frames are interpolated colour, or it lacks the frame.

    References
    ----------
    Grafton: SER format description version 3, 2014.
    """
    header = _header(path)
    if not 0 <= frame < header.frames:
        raise RawError(
            f"{path}: contains {counted(header.frames, 'frame')}, numbered from 0; there is no frame {frame}"
        )
    with path.open("rb") as file:
        file.seek(HEADER.size + frame * header.frame_bytes)
        content = file.read(header.frame_bytes)
    if len(content) != header.frame_bytes:
        raise RawError(f"{path}: truncated within frame {frame} of {header.frames}; copy it again")
    pixels, cautions = _pixels(content, header)
    return settings.image(
        pixels,
        str(path) if header.frames == 1 else f"{path}[{frame}]",
        cfa=header.cfa,
        white=float(2**header.depth - 1),
        model=header.instrument,
        where={"cfa": "ColorID", "white": "PixelDepthPerPlane"},
        cautions=tuple(f"{path}: {words}" for words in cautions),
    )


def _pixels(content: bytes, header: _Header) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Decode pixels in the byte order that writers use, or in the other if only that fits the depth or is smooth.

    Returns the pixels and cautions.
    """
    if header.depth <= 8:
        return np.frombuffer(content, np.uint8).reshape(header.shape), ()
    # Specification and writers disagree on the flag: files are little-endian where it is 0.
    orders = (">u2", "<u2") if header.big_endian else ("<u2", ">u2")
    first, other = (np.frombuffer(content, order).astype(np.uint16).reshape(header.shape) for order in orders)
    most = 2**header.depth - 1
    fits, other_fits = int(first.max()) <= most, int(other.max()) <= most
    if other_fits and not fits:
        return other, ()
    if not other_order_is_smoother(first):
        return first, ()
    words = f"its pixels were read as {'little' if header.big_endian else 'big'}-endian, against its header"
    return other, (f"{words}: neighbouring pixels then differ far less",)


def _header(path: Path) -> _Header:
    with path.open("rb") as file:
        content = file.read(HEADER.size)
    if len(content) < HEADER.size or not content.startswith(SIGNATURE):
        raise RawError(f"{path}: is no SER file, whatever its name says")
    _, _, colour, endian, width, height, depth, frames, _, instrument, *_ = HEADER.unpack(content)
    if colour not in COLOURS:
        raise RawError(
            f"{path}: its frames have ColorID {colour}, which is not supported; expected monochrome (0) or Bayer "
            "(8 to 11)"
        )
    if not 1 <= depth <= 16 or frames < 1:
        raise RawError(f"{path}: its header claims {depth} bits and {frames} frames; is the file whole?")
    check_size(path, height, width)
    text = instrument.split(b"\0")[0].decode("latin-1").strip()
    header = _Header(COLOURS[colour], endian != 0, (height, width), depth, frames, text)
    if path.stat().st_size < HEADER.size + frames * header.frame_bytes:
        raise RawError(
            f"{path}: truncated: {frames} frames end at byte {HEADER.size + frames * header.frame_bytes:,}, the file "
            f"at {path.stat().st_size:,}; copy it again"
        )
    return header
