"""Folders of the EMVA 1288 reference data sets, with one scene per series."""

from functools import partial
from pathlib import Path

from noiseflow.patches.sources.scene import Collection, Frame, Scene
from noiseflow.raw.formats.emva import is_emva, read_emva, read_frame
from noiseflow.raw.settings import RawSettings

__all__ = ["gather", "recognises"]

recognises = is_emva


def gather(path: Path, settings: RawSettings) -> Collection:
    """Make a scene of each series in the listing.

    Raises
    ------
    RawError
        If the listing cannot be read or is inconsistent.
    """
    folder = read_emva(path)
    scenes = [
        Scene(
            name=f"{series.name}_{number:03d}",
            frames=tuple(Frame(file, partial(read_frame, folder, series, file, settings)) for file in series.files),
            subject=f"{series.name}_{number:03d}",
            kind={"b": "flat", "d": "dark"}[series.kind],
            facts={"kind": series.kind, "exposure_s": series.exposure_ns * 1e-9, "photons": series.photons},
        )
        for number, series in enumerate(folder.series)
        if series.files
    ]
    empty = len(folder.series) - len(scenes)
    report = (f"{path}: {empty} series without frames left out",) if empty else ()
    return Collection(tuple(scenes), report=(*report, *folder.cautions))
