"""Noisy frames to files, by suffix.

To add a format, write a function ``(path, frame) -> None`` and give it a line in `WRITERS`.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import tifffile

from noiseflow.augment.frames.frame import NoisyFrame
from noiseflow.core.errors import DataError, RawError
from noiseflow.core.units import SIGNAL_UNIT
from noiseflow.raw.bayer import plane_names
from noiseflow.raw.formats.dng import write_dng

__all__ = ["WRITERS", "check_target", "write_frame", "written_whole"]


def write_frame(path: str | Path, frame: NoisyFrame, *, overwrite: bool = False) -> None:
    """Write a frame; the file takes its name only when it is whole.

    ``.dng`` and ``.tiff`` hold the mosaic in whole DN; ``.npy`` and ``.h5`` hold the
    normalised planes in float32, neither rounded nor clipped.

    Raises
    ------
    DataError
        If the suffix is not known, the file exists and may not be replaced, or the disk is full.
    """
    path = Path(path)
    check_target(path, overwrite=overwrite)
    with written_whole(path) as partial:
        WRITERS[path.suffix.lower()](partial, frame)


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A name to write under, which becomes `path` if all goes well, and is removed if not.

    Raises
    ------
    DataError
        If the disk is full, or whatever else the library that writes ran into.
    """
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        yield partial
        os.replace(partial, path)
    except RawError as error:
        raise RawError(str(error).replace(str(partial), str(path))) from error
    except (OSError, RuntimeError) as error:
        raise DataError(f"{path}: cannot be written ({error}); is the disk full?") from error
    finally:
        partial.unlink(missing_ok=True)


def check_target(path: Path, *, overwrite: bool) -> None:
    """Refuse a file that `write_frame` would refuse."""
    if path.suffix.lower() not in WRITERS:
        raise DataError(f"{path}: cannot write {path.suffix or 'a file without suffix'}; expected {', '.join(WRITERS)}")
    if path.exists() and not overwrite:
        raise DataError(f"{path}: exists; pass --overwrite to replace it")
    if not path.parent.is_dir():
        raise DataError(f"{path.parent}: no such folder to write {path.name} into")


def _dng(path: Path, frame: NoisyFrame) -> None:
    write_dng(path, frame.image, overwrite=True)


def _tiff(path: Path, frame: NoisyFrame) -> None:
    tifffile.imwrite(path, frame.image.mosaic, photometric="minisblack")


def _npy(path: Path, frame: NoisyFrame) -> None:
    np.save(path, frame.signal, allow_pickle=False)


def _hdf5(path: Path, frame: NoisyFrame) -> None:
    image = frame.image
    with h5py.File(path, "w") as file:
        data = file.create_dataset("signal", data=frame.signal)
        names = plane_names("mono" if len(frame.signal) == 1 else image.layout)
        data.attrs.update(unit=SIGNAL_UNIT, planes=names, cfa=image.cfa, black=image.black, white=image.white)
        data.attrs.update(iso=image.iso or np.nan, camera=image.camera)


WRITERS: dict[str, Callable[[Path, NoisyFrame], None]] = {
    ".dng": _dng,
    ".tiff": _tiff,
    ".tif": _tiff,
    ".npy": _npy,
    ".h5": _hdf5,
}
"""Suffix → what writes such a file."""
