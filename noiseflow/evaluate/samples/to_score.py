"""Loading of what is to be scored: a model, or a folder of samples."""

import warnings
from dataclasses import replace
from pathlib import Path

from noiseflow.evaluate.samples.task import SAMPLES
from noiseflow.models import NoiseModel, from_profile, load
from noiseflow.models.io.named import profile_named
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
        The model; a profile of a camera that the store does not have stands for its only camera.

    Raises
    ------
    ModelError
        Neither a model nor samples for this split.

    Warns
    -----
    UserWarning
        A profile is scored on the noise of a camera of another name.
    """
    if (path / SAMPLES).is_file():
        from noiseflow.evaluate.samples.drawn import read_samples

        return read_samples(path, store, split)
    profile = profile_named(path)
    if profile is None:
        return load(path, DENSITY)
    if profile.camera not in store.cameras and len(store.cameras) == 1:
        # As for `noiseflow sample`: a simulated camera, or one that another program names differently.
        (camera,) = store.cameras
        warnings.warn(
            f"{store.path}: is from {camera}, but the profile's camera is {profile.camera}; "
            "if these are different cameras, the scores do not say whether the profile is right",
            stacklevel=2,
        )
        profile = replace(profile, camera=camera)
    return from_profile(DENSITY, profile)


DENSITY = "poisson_gaussian"
"""Physics model of a profile that is scored: one with a density."""
