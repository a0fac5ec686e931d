"""Read a sequence from raw files: a folder of frames, or one file with several."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import DataError
from noiseflow.core.progress import Progress, silent
from noiseflow.fit.sequences.standing_still import check_still
from noiseflow.fit.sequences.tiles import Scene, SequenceTiles, tiles_of
from noiseflow.models.model import ModelSpec
from noiseflow.raw import RawImage, RawSettings, frame_count, raw_files, read_clean, read_frame

__all__ = ["frame_places", "read_sequence"]

NUMBER = re.compile(r"(\d+)(?!.*\d)")
"""The last number in a name."""


def frame_places(path: Path) -> list[tuple[Path, int | None]]:
    """List the frames of a folder or a file in time order, as file and index in the file (None if it has one frame).

    Parameters
    ----------
    path : Path
        Folder of raw files, or a raw file.

    Raises
    ------
    DataError
        If there is no raw file, or the numbers in the file names show that frames are missing.
    """
    files = raw_files(path.iterdir())[0] if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path}: contains no raw frames; expected a folder or file with frames of one scene")
    if len(files) == 1:
        count = frame_count(files[0])
        return [(files[0], None if count == 1 else number) for number in range(count)]
    return [(file, None) for file in _in_order(path, files)]


def _in_order(folder: Path, files: Sequence[Path]) -> list[Path]:
    """Sort files by the last number in their names, which must have even steps; by name if a number is missing."""
    found = [NUMBER.search(file.stem) for file in files]
    if not all(found):
        return sorted(files)
    numbers = [int(match[1]) for match in found if match]
    if len(set(numbers)) < len(numbers):
        return sorted(files)
    order = sorted(zip(numbers, files, strict=True))
    steps = np.diff([number for number, _ in order])
    step = int(steps.min())
    if (steps % step).any() or (steps > step).any():
        place = int(np.argmax(steps != step))
        after, before = order[place + 1], order[place]
        raise DataError(
            f"{folder}: frames are missing between {before[1].name} and {after[1].name}; the other numbers "
            f"increase by {step}; give a sequence without gaps"
        )
    return [file for _, file in order]


def read_sequence(
    path: Path,
    spec: ModelSpec,
    *,
    scene: Scene,
    clean: Path | None = None,
    settings: RawSettings | None = None,
    camera: str | None = None,
    progress: Progress = silent,
) -> SequenceTiles:
    """Read the frames of a static scene from a folder or a file, as tiles.

    Parameters
    ----------
    path : Path
        Folder of raw files, or a raw file with several frames.
    spec : ModelSpec
        Spec of the model of single frames; gives the plane layout and the names of cameras.
    scene : str
        What is known about the scene, one of `SCENES`.
    clean : Path, optional
        Clean twin of a known scene.
    settings : RawSettings, optional
        Overrides of the files' levels and metadata.
    camera : str, optional
        Camera, if the model has several; by default that of the frames.
    progress : Progress
        Called after each frame.

    Raises
    ------
    DataError
        If there is a single frame, frames have several ISOs or sizes, frames are missing, or the scene moves.
    """
    if (clean is not None) != (scene == "known"):
        raise DataError(f"{path}: the scene is known exactly if there is a clean twin; give both or neither")
    places = frame_places(path)
    first = _read(places[0], settings)
    iso = first.iso
    if iso is None:
        raise DataError(f"{places[0][0]}: the file does not say its ISO; give it with --iso")
    name = spec.cameras[0] if len(spec.cameras) == 1 and camera is None else camera or first.camera

    def frames() -> Iterator[NDArray[np.float64]]:
        for number, place in enumerate(places):
            image = first if number == 0 else _read(place, settings)
            if image.iso != iso:
                raise DataError(
                    f"{place[0]}: ISO {image.iso:g} in a sequence of ISO {iso:g}; expected one ISO: split it"
                )
            yield image.normalised(spec.layout)
            progress(number + 1, len(places))

    twin = None if clean is None else read_clean(clean, settings).normalised(spec.layout)
    tiles = tiles_of(frames(), iso=iso, camera=name, source=str(path), scene=scene, clean=twin)
    check_still(tiles)
    return tiles


def _read(place: tuple[Path, int | None], settings: RawSettings | None) -> RawImage:
    return read_frame(place[0], settings, place[1])
