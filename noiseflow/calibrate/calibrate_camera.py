"""Calibration of a camera: from flats, darks, bursts and tables to a profile."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from noiseflow.calibrate.body.body_file import write_body
from noiseflow.calibrate.body.from_pictures import maps_from_pictures
from noiseflow.calibrate.body.measure_maps import measure_maps
from noiseflow.calibrate.from_frames import calibrate_frames
from noiseflow.calibrate.kinds.tables import calibrate_tables, read_tables
from noiseflow.calibrate.measured import Calibration
from noiseflow.calibrate.prior.few_shot import STANDARD_ISOS, few_shot
from noiseflow.calibrate.profiles.profile import write_profile
from noiseflow.calibrate.sources import raw_files_of, read_frames
from noiseflow.core.errors import DataError
from noiseflow.core.output.checks import writing
from noiseflow.core.progress import Progress, silent
from noiseflow.raw import RawSettings, read_frame

__all__ = ["calibrate", "calibrate_few"]

MOST_FRAMES = 8
"""Largest number of frames of `calibrate_few`, which holds them in memory together."""


def calibrate(
    sources: Sequence[str | Path],
    out: str | Path | None = None,
    *,
    camera: str | None = None,
    settings: RawSettings | None = None,
    maps: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Calibration:
    """Calibrate a camera: measure its gain, noise, black level and more, with error bars.

    Parameters
    ----------
    sources : sequence of path
        One EMVA 1288 folder; photon-transfer tables (``.csv``); or raw files and folders of
        raw files: flats and darks, a burst of at least three frames of one static scene, or one picture.
    out : path, optional
        Profile to write (JSON).
    camera : str, optional
        Name of the camera; by default as in the files.
    settings : RawSettings, optional
        Values that replace those in the raw files.
    maps : path, optional
        Maps of this camera body to write (HDF5): dark shading, gain, hot and telegraph pixels.
    overwrite : bool
        Whether to replace an existing profile in `out`, and maps in `maps`.
    progress : Progress
        Called after each frame.

    Returns
    -------
    Calibration
        The profile, the curves and fits behind it, and the maps if requested.

    Raises
    ------
    DataError
        No source, frames of two cameras, only saturated flats, or too few frames or exposures for any gain or
        read noise.
    RawError
        A frame that cannot be read.
    """
    paths = [Path(source) for source in sources]
    if not paths:
        raise DataError("no source was given; expected flats and darks, a table, or an EMVA 1288 folder")
    for path in paths:
        if not path.exists():
            raise DataError(f"{path}: no such file or folder")
    # Only single files are inputs that must not be overwritten: a profile inside a folder of frames is not a frame.
    inputs = [path for path in paths if path.is_file()]
    with ExitStack() as stack:
        for each in (out, maps):
            if each is not None:
                stack.enter_context(writing(each, inputs=inputs, overwrite=overwrite))
        result = _calibrate(paths, camera, settings, progress, with_maps=maps is not None)
        if maps is not None and result.body is not None:
            write_body(result.body, maps, overwrite=overwrite)
        if out is not None:
            write_profile(result.profile, out, overwrite=overwrite)
    return result


def calibrate_few(
    sources: Sequence[str | Path],
    out: str | Path | None = None,
    *,
    isos: Sequence[float] = STANDARD_ISOS,
    settings: RawSettings | None = None,
    maps: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Calibration:
    """Estimate a camera's noise at all ISOs from one or a few frames and the prior over cameras.

    See `noiseflow.calibrate.prior.few_shot.few_shot` for the method.

    Parameters
    ----------
    sources : sequence of path
        Raw files, or folders of raw files: one or more pictures of anything, and darks if there are any.
    out : path, optional
        Profile to write (JSON).
    isos : sequence of float
        ISOs of the profile; those of the frames are added.
    settings : RawSettings, optional
        Values that replace those in the raw files.
    maps : path, optional
        Coarse maps of the body to write (HDF5), from many pictures of different scenes: see
        `noiseflow.calibrate.body.from_pictures.maps_from_pictures`.  The profile then comes from the first picture.
    overwrite : bool
        Whether to replace an existing profile in `out`, and maps in `maps`.
    progress : Progress
        Called after each frame.

    Returns
    -------
    Calibration
        The profile, and the maps if requested.

    Raises
    ------
    DataError
        No raw file, frames of two cameras, darks alone, a frame that cannot be measured, or, without `maps`, more
        than `MOST_FRAMES` frames.
    RawError
        A frame that cannot be read.
    """
    paths = [Path(source) for source in sources]
    inputs = [path for path in paths if path.is_file()]
    with ExitStack() as stack:
        for each in (out, maps):
            if each is not None:
                stack.enter_context(writing(each, inputs=inputs, overwrite=overwrite))
        files = sorted({file for path in paths for file in raw_files_of(path)})
        if not files:
            raise DataError(f"{paths[0]}: contains no raw file; expected at least one picture")
        if maps is None:
            result = _few(paths, files, isos, settings, progress)
        else:
            body = maps_from_pictures([partial(read_frame, file, settings) for file in files], progress)
            profile = few_shot([read_frame(files[0], settings)], isos)
            caution = f"the profile comes from {files[0].name} alone; the other pictures were used for the maps only"
            result = Calibration(replace(profile, cautions=(*profile.cautions, caution)), body=body)
            write_body(body, maps, overwrite=overwrite)
        if out is not None:
            write_profile(result.profile, out, overwrite=overwrite)
    return result


def _few(
    paths: Sequence[Path],
    files: Sequence[Path],
    isos: Sequence[float],
    settings: RawSettings | None,
    progress: Progress,
) -> Calibration:
    if len(files) > MOST_FRAMES:
        raise DataError(
            f"{paths[0]}: expected at most {MOST_FRAMES} frames with --few; got {len(files)}. Calibrate without --few"
        )
    images = []
    for done, file in enumerate(files):
        images.append(read_frame(file, settings))
        progress(done + 1, len(files), file.name)
    return Calibration(few_shot(images, isos))


def _calibrate(
    paths: Sequence[Path],
    camera: str | None,
    settings: RawSettings | None,
    progress: Progress,
    *,
    with_maps: bool,
) -> Calibration:
    tables = [path for path in paths if path.suffix.lower() == ".csv"]
    if tables and len(tables) != len(paths):
        raise DataError(f"{tables[0]}: is a table among raw frames; calibrate tables and frames separately")
    if tables and with_maps:
        raise DataError(f"{tables[0]}: is a table, which has no pixels; body maps need dark frames")
    if tables:
        return calibrate_tables(read_tables(tables), camera)
    frames = read_frames(paths, progress, settings)
    names = [str(path) for path in paths]
    found = calibrate_frames(frames, camera, names)
    if not with_maps:
        return found
    body = measure_maps(frames)
    provenance = {**body.provenance, "sources": "; ".join(names)}
    return replace(found, body=replace(body, camera=camera or body.camera, provenance=provenance))
