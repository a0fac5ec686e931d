"""From flats, darks, bursts and tables to a profile."""

from collections.abc import Sequence
from pathlib import Path

from noiseflow.calibrate.from_frames import calibrate_frames
from noiseflow.calibrate.from_tables import calibrate_tables
from noiseflow.calibrate.measured import Calibration
from noiseflow.calibrate.profiles.profile import write_profile
from noiseflow.calibrate.sources import read_frames, read_tables
from noiseflow.core.errors import DataError
from noiseflow.core.output.checks import writing
from noiseflow.core.progress import Progress, silent
from noiseflow.raw import RawSettings

__all__ = ["calibrate"]


def calibrate(
    sources: Sequence[str | Path],
    out: str | Path | None = None,
    *,
    camera: str | None = None,
    settings: RawSettings | None = None,
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
    overwrite : bool
        Whether a profile in `out` may be replaced.
    progress : Progress

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
    if out is None:
        return _calibrate(paths, camera, settings, progress)
    # A profile beside its frames is no frame: only files are in the way.
    with writing(out, inputs=[path for path in paths if path.is_file()], overwrite=overwrite) as out:
        result = _calibrate(paths, camera, settings, progress)
        write_profile(result.profile, out, overwrite=overwrite)
    return result


def _calibrate(
    paths: Sequence[Path], camera: str | None, settings: RawSettings | None, progress: Progress
) -> Calibration:
    tables = [path for path in paths if path.suffix.lower() == ".csv"]
    if tables and len(tables) != len(paths):
        raise DataError(f"{tables[0]}: tables and frames cannot be calibrated together; give one or the other")
    if tables:
        return calibrate_tables(read_tables(tables), camera)
    frames = read_frames(paths, progress, settings)
    return calibrate_frames(frames, camera, [str(path) for path in paths])
