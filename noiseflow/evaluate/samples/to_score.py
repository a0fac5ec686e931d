"""Loading of what is to be scored: a model, or a folder of samples."""

from pathlib import Path

from noiseflow.evaluate.samples.task import SAMPLES
from noiseflow.models import NoiseModel, load
from noiseflow.patches.store.store import PatchStore

__all__ = ["to_score"]


def to_score(path: Path, store: PatchStore, split: str) -> NoiseModel:
    """Load a model or a folder of samples.

    Parameters
    ----------
    path : Path
        Folder of samples for the store, or anything that `noiseflow.models.load` accepts.
    store : PatchStore
        Store to score on.
    split : str
        Split to score.

    Returns
    -------
    NoiseModel
        The model.

    Raises
    ------
    ModelError
        Neither a model nor samples for this split.
    """
    if (path / SAMPLES).is_file():
        from noiseflow.evaluate.samples.drawn import read_samples

        return read_samples(path, store, split)
    return load(path, "poisson_gaussian")
