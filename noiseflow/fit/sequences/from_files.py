"""Sequences that a user names: folders and files of raw frames, or a patch store."""

from collections.abc import Sequence
from pathlib import Path

from noiseflow.core.errors import DataError
from noiseflow.core.progress import Progress, silent
from noiseflow.fit.sequences.read_sequence import read_sequence
from noiseflow.fit.sequences.tiles import Scene, SequenceTiles
from noiseflow.models.model import ModelSpec
from noiseflow.raw import RawSettings

__all__ = ["read_sequences"]

STORES = (".h5", ".hdf5")


def read_sequences(
    paths: Sequence[Path],
    spec: ModelSpec,
    *,
    scene: str,
    clean: Path | None = None,
    settings: RawSettings | None = None,
    progress: Progress = silent,
) -> list[SequenceTiles]:
    """Tiles of the sequences of some folders, files and stores.

    Parameters
    ----------
    paths : sequence of Path
        Each a folder of raw frames, a file with many, or a patch store.
    spec : ModelSpec
        Spec of the frame's model.
    scene : str
        ``"flat"`` or ``"static"``, what is known of the scenes of raw frames; a store says it itself.
    clean : Path, optional
        Clean twin of a single sequence, which then is known.
    settings : RawSettings, optional
        What raw files do not say.
    progress : Progress
        Called after each frame.

    Raises
    ------
    DataError
        A clean twin for more than one sequence, or what `read_sequence` refuses.
    """
    if clean is not None and len(paths) > 1:
        raise DataError(f"{clean}: a clean twin is of one sequence; got {len(paths)} of them")
    known: Scene = "known" if clean is not None else "flat" if scene == "flat" else "static"
    found: list[SequenceTiles] = []
    for path in paths:
        if path.suffix.lower() in STORES and path.is_file():
            from noiseflow.fit.sequences.from_store import sequences_of_store

            found += sequences_of_store(path, spec)
        else:
            found.append(read_sequence(path, spec, scene=known, clean=clean, settings=settings, progress=progress))
    return found
