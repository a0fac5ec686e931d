"""What a header may claim, checked before memory is taken for it or a decoder fills in what is not there."""

from pathlib import Path

from noiseflow.core.errors import RawError

__all__ = ["MAX_PIXELS", "check_size", "refuse_truncated"]

MAX_PIXELS = 400_000_000
"""Pixels of the largest mosaic that is read, about four times the largest sensors on sale."""

MAX_PIXELS_PER_BYTE = 1_040
"""Deflate packs 1032 bytes into one at the best; a file with less bytes than this lies."""


def check_size(path: Path, height: int, width: int) -> None:
    """Refuse a header that claims more pixels than we read, or than its file can hold.

    Raises
    ------
    RawError
        No pixels, more than `MAX_PIXELS`, or more than the best compression could pack into the file.
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
    """Refuse a file whose pixel data ends after the file does: LibRaw would fill the rest with anything.

    Parameters
    ----------
    path : Path
        File to check.
    data_end : int
        Byte after the last of its pixel data, by its directories.

    Raises
    ------
    RawError
        A strip or tile lies beyond the end of the file.
    """
    size = path.stat().st_size
    if data_end > size:
        raise RawError(
            f"{path}: truncated: its pixel data ends at byte {data_end:,}, the file at {size:,}; copy it again"
        )
