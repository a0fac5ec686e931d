"""Writing of noisy frames to files; the suffix selects the format.

To add a format, write a module with a function ``(path, frame) -> None`` and add a line to `WRITERS`.
"""

import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import tifffile

from noiseflow.augment.frames.frame import NoisyFrame
from noiseflow.core.errors import DataError, RawError
from noiseflow.core.output.checks import check_output, writing
from noiseflow.core.output.ends import END, ENDED, ENDS, write_end
from noiseflow.core.output.marks import MARK
from noiseflow.core.output.whole import whole_file
from noiseflow.core.registry import Registry
from noiseflow.core.units import SIGNAL_UNIT
from noiseflow.raw.bayer import plane_names
from noiseflow.raw.formats.dng import dng_parts
from noiseflow.raw.formats.planes import npy_facts

__all__ = ["CODES_ONLY", "WRITERS", "check_target", "write_frame", "written_whole"]


def write_frame(path: str | Path, frame: NoisyFrame, *, overwrite: bool = False) -> None:
    """Write a frame atomically.

    ``.dng`` and ``.tiff`` contain the mosaic in whole DN; ``.npy`` and ``.h5`` contain the normalised planes in
    float32, neither rounded nor clipped.  `noiseflow.raw.read_raw` reads all of them.

    Parameters
    ----------
    path : path
        File to write.
    frame : NoisyFrame
        Frame to write.
    overwrite : bool
        Whether an existing file may be replaced.

    Raises
    ------
    OutputError
        The file exists and may not be replaced, or was not written by noiseflow.
    DataError
        The suffix is unknown, or the disk is full.
    """
    path = Path(path)
    check_target(path, overwrite=overwrite)
    with writing(path, overwrite=overwrite), written_whole(path, overwrite=overwrite) as partial:
        WRITERS[path.suffix.lower()](partial, frame)


@contextmanager
def written_whole(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary file to write, which is renamed to `path` on success and removed on failure.

    Raises
    ------
    DataError
        The disk is full, or the writing library reports another error.
    """
    try:
        with whole_file(path, replace=overwrite) as partial:
            try:
                yield partial
            except RawError as error:
                raise RawError(str(error).replace(str(partial), str(path))) from error
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"{path}: cannot be written ({error}); check that the disk is not full and no limit is reached"
        ) from error


def check_target(path: Path, *, overwrite: bool, inputs: Iterable[str | Path] = ()) -> None:
    """Refuse a path that `write_frame` would refuse, or that is one of the inputs."""
    if path.suffix.lower() not in WRITERS:
        raise DataError(f"{path}: cannot write {path.suffix or 'a file without suffix'}; expected {', '.join(WRITERS)}")
    check_output(path, overwrite=overwrite, inputs=inputs)


def write_as_dng(path: Path, frame: NoisyFrame) -> None:
    """Write whole codes with the camera's tags as DNG."""
    with path.open("wb") as file:
        file.writelines(dng_parts(path, frame.image, carried=frame.carried))


def write_as_tiff(path: Path, frame: NoisyFrame) -> None:
    """Write whole codes without tags as TIFF."""
    tag, value = ENDS
    ends = [(tag, "B", len(value), value, True)]
    tifffile.imwrite(path, frame.image.mosaic, photometric="minisblack", software=MARK, extratags=ends)
    write_end(path)


def write_as_npy(path: Path, frame: NoisyFrame) -> None:
    """Write normalised planes, float32; the frame's levels and settings follow the array."""
    with path.open("wb") as file:
        np.save(file, frame.signal, allow_pickle=False)
        file.write(npy_facts(frame.image, len(frame.signal)))
    write_end(path)


def write_as_hdf5(path: Path, frame: NoisyFrame) -> None:
    """Write normalised planes, float32, with levels and settings as attributes."""
    image = frame.image
    # Built in memory, because HDF5 does not recover from a full disk and crashes when the process ends.
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file.attrs.update({"made_by": MARK, ENDED: True})
        data = file.create_dataset("signal", data=frame.signal)
        names = plane_names("mono" if len(frame.signal) == 1 else image.layout)
        data.attrs.update(unit=SIGNAL_UNIT, planes=names, cfa=image.cfa, black=image.black, white=image.white)
        times = {} if image.exposure_s is None else {"exposure_s": image.exposure_s}
        data.attrs.update(iso=image.iso or np.nan, camera=image.camera, **times)
    content.seek(0, io.SEEK_END)
    content.write(END)
    path.write_bytes(content.getbuffer())


WRITERS = Registry[Callable[[Path, NoisyFrame], None]](
    {
        ".dng": "noiseflow.augment.frames.write:write_as_dng",
        ".tiff": "noiseflow.augment.frames.write:write_as_tiff",
        ".tif": "noiseflow.augment.frames.write:write_as_tiff",
        ".npy": "noiseflow.augment.frames.write:write_as_npy",
        ".h5": "noiseflow.augment.frames.write:write_as_hdf5",
    }
)
"""Suffix → function that writes such a file."""

CODES_ONLY = (".dng", ".tiff", ".tif")
"""Suffixes of formats that contain only codes, so that a frame need not keep its signal before rounding."""
