"""Guards against damaged files: limits on what a header may claim, and one error for all that decoders raise."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from noiseflow.core.errors import NoiseflowError, RawError

__all__ = ["HOW_PLANES", "MAX_PIXELS", "check_size", "decoding", "refuse_planes_last", "refuse_truncated"]

MAX_PIXELS = 400_000_000
"""Largest number of pixels of a frame, about four times the largest sensors on sale."""

MAX_PIXELS_PER_BYTE = 1_040
"""Most pixels per byte of the file that a header may claim; Deflate reaches 1032 at best."""

MAX_COLOURS = 4
"""A last axis of at most this many values holds colours or planes, not columns."""

HOW_PLANES = (
    "if these are the planes of a packed mosaic, unpack it first: mosaic[0::2, 0::2], [0::2, 1::2], [1::2, 0::2] and "
    "[1::2, 1::2] each get the plane of the pixels at that place of the 2×2 cell, in the order in which it was packed"
)
"""What to do with a packed mosaic: which plane is which, no file says."""

TALKATIVE = ("tifffile", "exifread")
"""Loggers of decoders that are silenced because the error already gives the reason."""

SILENT = logging.NullHandler()


def check_size(path: Path, height: int, width: int) -> None:
    """Refuse a header that claims too many pixels for us to read or for its file to contain.

    Parameters
    ----------
    path : Path
        The file; its size is looked up.
    height, width : int
        Size in pixels according to the header.

    Raises
    ------
    RawError
        If there are no pixels, more than `MAX_PIXELS`, or more than any compression could pack into the file.
    """
    pixels = int(height) * int(width)
    if min(height, width) < 1:
        raise RawError(f"{path}: its header claims {height}×{width} pixels; expected at least one")
    if pixels > MAX_PIXELS:
        raise RawError(f"{path}: its header claims {height}×{width} pixels; expected at most {MAX_PIXELS:,} in all")
    size = path.stat().st_size
    if pixels > MAX_PIXELS_PER_BYTE * size:
        raise RawError(f"{path}: its header claims {height}×{width} pixels, which its {size:,} bytes cannot hold")


def refuse_truncated(path: Path, data_end: int) -> None:
    """Refuse a file that is shorter than its pixel data, which LibRaw would fill up with arbitrary values.

    Parameters
    ----------
    path : Path
        File to check.
    data_end : int
        Offset in bytes just after the last pixel data, according to the directories.

    Raises
    ------
    RawError
        If a strip or tile extends beyond the end of the file.
    """
    size = path.stat().st_size
    if data_end > size:
        raise RawError(
            f"{path}: truncated: its pixel data ends at byte {data_end:,}, the file at {size:,}; copy it again"
        )


def refuse_planes_last(path: Path, shape: Sequence[int]) -> None:
    """Refuse an array (H, W, C) of few colours or planes, which would be taken for H frames of width C.

    Parameters
    ----------
    path : Path
        File of the array.
    shape : sequence of int
        Its shape.

    Raises
    ------
    RawError
        The last of three axes is that short.
    """
    if len(shape) == 3 and shape[-1] <= MAX_COLOURS < min(shape[:2]):
        what = {1: "give it without its last axis", 4: HOW_PLANES}.get(
            shape[-1], "colours that were interpolated are no raw frame"
        )
        raise RawError(
            f"{path}: holds an array of shape {tuple(shape)}, with {shape[-1]} values at each pixel; expected one "
            f"mosaic of shape (H, W), or (frames, H, W); {what}"
        )


@contextmanager
def decoding(path: Path, what: str) -> Iterator[None]:
    """Convert any exception of a decoder on a damaged file to a `RawError`.

    Wrap only the calls of the decoder, so that bugs of noiseflow itself stay visible.

    Parameters
    ----------
    path : Path
        File that is decoded, for messages.
    what : str
        Kind of file, for the message: "cannot be read as …".

    Raises
    ------
    RawError
        With the first line of the decoder's message.
    """
    for name in TALKATIVE:
        logging.getLogger(name).addHandler(SILENT)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except NoiseflowError:
        raise
    except MemoryError as error:
        raise RawError(f"{path}: cannot be read as {what}: it needs more memory than is available") from error
    # Decoders raise anything on a damaged file: struct.error, KeyError, ZeroDivisionError, OverflowError, …
    except Exception as error:
        reason = error.args[0] if error.args else type(error).__name__
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        line = text.strip().splitlines()[0] if text.strip() else type(error).__name__
        if "imagecodecs" in line:
            hint = "install it with: pip install imagecodecs"
            raise RawError(f"{path}: cannot be decoded as {what} ({line}); {hint}") from error
        raise RawError(f"{path}: cannot be read as {what} ({line}); is the file whole?") from error
