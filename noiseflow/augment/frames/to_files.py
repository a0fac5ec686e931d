"""Sampling of frames to files, each written as soon as it is sampled."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from noiseflow.augment.frames.frame import OF_SEQUENCE, models_of_frames, sample_frame
from noiseflow.augment.frames.preview import check_preview, write_preview
from noiseflow.augment.frames.write import CODES_ONLY, check_target, write_frame
from noiseflow.core.errors import DataError
from noiseflow.core.output.checks import check_apart, writing
from noiseflow.core.progress import Progress, silent
from noiseflow.models.model import NoiseModel
from noiseflow.raw.image import RawImage

__all__ = ["burst_paths", "sample_to_files"]

MOST_FRAMES = 1_000_000
"""Largest number of frames in a burst; each is a file in the same folder."""


def burst_paths(path: str | Path, frames: int) -> list[Path]:
    """Path of a single frame, or paths of the frames of a burst, numbered from 000.

    >>> [path.name for path in burst_paths("noisy.dng", 2)]
    ['noisy_000.dng', 'noisy_001.dng']
    """
    path = Path(path)
    if not 1 <= frames <= MOST_FRAMES:
        raise DataError(f"frames: expected 1 to {MOST_FRAMES:,}; got {frames:,}")
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
    """Sample noise for a clean frame, or a burst of it, and write each frame as soon as it is sampled.

    Files are written atomically; an interrupted burst keeps its finished frames.

    Parameters
    ----------
    model : NoiseModel
        Model of the noise.
    clean : RawImage
        Clean frame.
    out : path
        File to write; its suffix selects the format.  For a burst, see `burst_paths`.
    frames : int
        Number of frames of the burst.
    preview : path, optional
        PNG file for a preview of the first frame.
    overwrite : bool
        Whether existing files may be replaced.
    inputs : sequence of path
        Files and folders that were read; no output may be one of them, contain one, or be inside one.
    progress : Progress
        Called after each strip with the number of pixels done.
    **how
        Arguments of `sample_frame`.

    Returns
    -------
    list of path
        The files, in the order of the frames.

    Raises
    ------
    DataError
        A suffix is unknown; checked before sampling.
    OutputError
        A file exists and may not be replaced; checked before sampling.
    """
    paths = burst_paths(out, frames)
    # The files need at least two bytes per pixel.
    with writing(paths[0], inputs=inputs, goes_on=True, needs=2 * frames * clean.mosaic.size):
        for path in paths:
            check_target(path, overwrite=overwrite, inputs=inputs)
        if preview is not None:
            check_preview(preview, overwrite=overwrite, inputs=inputs)
            check_apart(preview, *paths)
        at = models_of_frames(model, clean, **{name: value for name, value in how.items() if name in OF_SEQUENCE})
        for number, path in enumerate(paths):
            own, place = at(number)
            reported = _part(progress, number * clean.mosaic.size, frames * clean.mosaic.size)
            keep = path.suffix.lower() not in CODES_ONLY
            frame = sample_frame(own, clean, frame=place, keep_signal=keep, progress=reported, **how)
            write_frame(path, frame, overwrite=overwrite)
            if number == 0 and preview is not None:
                write_preview(preview, frame.image, overwrite=overwrite)
    return paths


def _part(progress: Progress, before: int, whole: int) -> Progress:
    """Report the progress of one frame as part of the whole burst."""

    def reported(done: int, total: int, note: str = "") -> None:
        progress(before + done, whole, note)

    return reported
