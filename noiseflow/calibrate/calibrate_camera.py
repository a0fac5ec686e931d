"""From flats, darks, bursts and tables to a profile."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from noiseflow.calibrate.body.body_file import write_body
from noiseflow.calibrate.body.from_pictures import maps_from_pictures
from noiseflow.calibrate.body.measure_maps import measure_maps
from noiseflow.calibrate.from_frames import calibrate_frames
from noiseflow.calibrate.from_tables import calibrate_tables, read_tables
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
"""Of a calibration from few: they are held in memory together."""


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
    """Calibrate a camera from what there is of it.

    Parameters
    ----------
    sources : sequence of path
        An EMVA 1288 folder; photon-transfer tables (``.csv``); or raw files and folders
        of them: flats and darks, a burst of three frames or more of one scene, or one frame.
    out : path, optional
        Where to write the profile (JSON).
    camera : str, optional
        Name; else what the files say.
    settings : RawSettings, optional
        Overrides of what the raw files say.
    maps : path, optional
        Where to write the maps of this body (HDF5): dark shading, gain, hot and telegraph pixels.
    overwrite : bool
        Whether a profile in `out`, or maps in `maps`, may be replaced.
    progress : Progress
        Called after each frame.

    Returns
    -------
    Calibration

    Raises
    ------
    DataError
        Nothing that a gain or read noise can be had from, frames of two cameras, all
        flats saturated, one exposure only.
    RawError
        A frame that cannot be read.
    """
    paths = [Path(source) for source in sources]
    if not paths:
        raise DataError("no source; expected flats and darks, a table or an EMVA 1288 folder")
    for path in paths:
        if not path.exists():
            raise DataError(f"{path}: no such file or folder")
    # A profile beside its frames is no frame: only files are in the way.
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
    """A whole camera, at all ISOs, from one or two frames: see `noiseflow.calibrate.prior.few_shot.few_shot`.

    Parameters
    ----------
    sources : sequence of path
        Raw files, or folders of them: one picture of anything or more, and darks if there are any.
    out : path, optional
        Where to write the profile (JSON).
    isos : sequence of float
        ISOs of the profile; those of the frames are added.
    settings : RawSettings, optional
        Overrides of what the raw files say.
    maps : path, optional
        Where to write coarse maps of the body (HDF5), from many pictures of different scenes: see
        `noiseflow.calibrate.body.from_pictures.maps_from_pictures`.  The profile is then that of the first picture.
    overwrite : bool
        Whether a profile in `out`, or maps in `maps`, may be replaced.
    progress : Progress
        Called after each frame.

    Raises
    ------
    DataError
        More frames than `MOST_FRAMES`, frames of two cameras, darks alone, or a frame that cannot be measured.
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
            raise DataError(f"{paths[0]}: no raw file; expected one picture or more")
        if maps is None:
            result = _few(paths, files, isos, settings, progress)
        else:
            body = maps_from_pictures([partial(read_frame, file, settings) for file in files], progress)
            profile = few_shot([read_frame(files[0], settings)], isos)
            words = f"the profile is that of {files[0].name}; the other pictures are for the maps alone"
            result = Calibration(replace(profile, cautions=(*profile.cautions, words)), body=body)
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
            f"{paths[0]}: {len(files)} frames; expected at most {MOST_FRAMES}. Calibrate them without --few"
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
        raise DataError(f"{tables[0]}: tables and frames cannot be calibrated together; give one or the other")
    if tables and with_maps:
        raise DataError(f"{tables[0]}: a table has no pixels; body maps need dark frames")
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
