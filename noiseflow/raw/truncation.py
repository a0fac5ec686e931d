"""Truncated files: LibRaw decodes what is there and fills the rest with anything."""

from pathlib import Path

from noiseflow.core.errors import RawError

__all__ = ["refuse_truncated"]


def refuse_truncated(path: Path, data_end: int) -> None:
    """Refuse a file whose pixel data ends after the file does.

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
