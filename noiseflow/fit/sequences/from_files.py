"""Read sequences from folders and files of raw frames, and from patch stores."""

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
"""Suffixes of patch stores."""


def read_sequences(
    paths: Sequence[Path],
    spec: ModelSpec,
    *,
    scene: str,
    clean: Path | None = None,
    settings: RawSettings | None = None,
    progress: Progress = silent,
) -> list[SequenceTiles]:
    """Read the sequences in folders, files and stores, as tiles.

    Parameters
    ----------
    paths : sequence of Path
        Folders of raw frames, raw files with several frames, or patch stores.
    spec : ModelSpec
        Spec of the model of single frames.
    scene : str
        What is known about the scenes of raw frames: ``"flat"`` or ``"static"``.  For a store it follows from the
        pairing.
    clean : Path, optional
        Clean twin, if there is a single sequence; its scene is then known.
    settings : RawSettings, optional
        Overrides of the raw files' levels and metadata.
    progress : Progress
        Called after each frame.

    Raises
    ------
    DataError
        If there is a clean twin and more than one sequence; and as in `read_sequence` and `sequences_of_store`.
    """
    if clean is not None and len(paths) > 1:
        raise DataError(f"{clean}: a clean twin belongs to one sequence; got {len(paths)} sequences")
    known: Scene = "known" if clean is not None else "flat" if scene == "flat" else "static"
    found: list[SequenceTiles] = []
    for path in paths:
        if path.suffix.lower() in STORES and path.is_file():
            from noiseflow.fit.sequences.from_store import sequences_of_store

            found += sequences_of_store(path, spec)
        else:
            found.append(read_sequence(path, spec, scene=known, clean=clean, settings=settings, progress=progress))
    return found
