"""Sampled frames straight to files, one at a time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from noiseflow.augment.frames.frame import sample_frame
from noiseflow.augment.frames.preview import check_preview, write_preview
from noiseflow.augment.frames.write import check_target, write_frame
from noiseflow.core.errors import DataError
from noiseflow.core.output.checks import check_apart, writing
from noiseflow.core.progress import Progress, silent
from noiseflow.models.model import NoiseModel
from noiseflow.raw.image import RawImage

__all__ = ["burst_paths", "sample_to_files"]


def burst_paths(path: str | Path, frames: int) -> list[Path]:
    """The file of a single frame, or those of a burst, numbered from 000.

    >>> [path.name for path in burst_paths("noisy.dng", 2)]
    ['noisy_000.dng', 'noisy_001.dng']
    """
    path = Path(path)
    if frames < 1:
        raise DataError(f"frames: expected 1 or more; got {frames}")
    return [path] if frames == 1 else [path.with_name(f"{path.stem}_{n:03d}{path.suffix}") for n in range(frames)]


def sample_to_files(
    model: NoiseModel,
    clean: RawImage,
    out: str | Path,
    *,
    frames: int = 1,
    preview: str | Path | None = None,
    overwrite: bool = False,
    inputs: Sequence[str | Path] = (),
    progress: Progress = silent,
    **how: Any,
) -> list[Path]:
    """Draw noise for a clean frame, or a burst of it, and write each frame as soon as it is drawn.

    Every file takes its name only when it is whole; a burst that was cut short keeps the
    frames that were done.

    Parameters
    ----------
    model : NoiseModel
    clean : RawImage
    out : path
        Its suffix says the format; of a burst the names are `burst_paths`.
    frames : int
    preview : path, optional
        A PNG of the first frame.
    overwrite : bool
    inputs : sequence of path
        Files and folders that were read: no output may be, hold or lie in one of them.
    progress : Progress
        Told of pixels.
    **how
        As of `sample_frame`.

    Returns
    -------
    list of path
        The files, in the order of the frames.

    Raises
    ------
    DataError
        Before anything is drawn, if a file exists and may not be replaced, or has no known suffix.
    """
    paths = burst_paths(out, frames)
    # Two bytes a pixel at the least.
    with writing(paths[0], inputs=inputs, goes_on=True, needs=2 * frames * clean.mosaic.size):
        for path in paths:
            check_target(path, overwrite=overwrite, inputs=inputs)
        if preview is not None:
            check_preview(preview, overwrite=overwrite, inputs=inputs)
            check_apart(preview, *paths)
        for number, path in enumerate(paths):
            told = _part(progress, number * clean.mosaic.size, frames * clean.mosaic.size)
            frame = sample_frame(model, clean, frame=number, progress=told, **how)
            write_frame(path, frame, overwrite=overwrite)
            if number == 0 and preview is not None:
                write_preview(preview, frame.image, overwrite=overwrite)
    return paths


def _part(progress: Progress, before: int, whole: int) -> Progress:
    """What tells of one frame as a part of all."""

    def told(done: int, total: int, note: str = "") -> None:
        progress(before + done, whole, note)

    return told
