"""What is scored: models of any kind, or samples that were drawn before."""

from pathlib import Path

from noiseflow.evaluate.samples.task import SAMPLES
from noiseflow.models import NoiseModel, load
from noiseflow.patches.store.store import PatchStore

__all__ = ["to_score"]


def to_score(path: Path, store: PatchStore, split: str) -> NoiseModel:
    """What `noiseflow evaluate` is given: samples that were drawn for the store, or whatever `load` takes."""
    if (path / SAMPLES).is_file():
        from noiseflow.evaluate.samples.drawn import read_samples

        return read_samples(path, store, split)
    return load(path, "poisson_gaussian")
