"""Noise models by name: a run folder, a camera profile, a shipped camera, or a model on the Hugging Face Hub."""

from pathlib import Path

from noiseflow.calibrate.profiles.profile import Profile, read_profile
from noiseflow.calibrate.profiles.published import shipped_names, shipped_profile
from noiseflow.core.errors import ModelError
from noiseflow.models.io.hub import HUB, load_from_hub
from noiseflow.models.io.run_folder import load as load_run
from noiseflow.models.model import NoiseModel
from noiseflow.models.physics.profile_models import from_profile
from noiseflow.simulate.cameras import camera_named

__all__ = ["list_cameras", "load", "profile_named"]


def list_cameras() -> tuple[str, ...]:
    """Names of the cameras shipped with the package; `load` builds a model of each.

    Examples
    --------
    >>> list_cameras()[0]
    'Sony A7S2'
    """
    return shipped_names()


def profile_named(name: str | Path) -> Profile | None:
    """The profile in a JSON file, or the shipped one of a camera; None if `name` is neither."""
    path = Path(name)
    if path.suffix.lower() == ".json" and path.is_file():
        return read_profile(path)
    camera = None if path.exists() else camera_named(str(name))
    return None if camera is None else shipped_profile(camera)


def load(name: str | Path, kind: str = "eld") -> NoiseModel:
    """Load a noise model by name, in evaluation mode.

    Parameters
    ----------
    name : str or path
        A run folder; a profile (``.json``) of `noiseflow calibrate`; a camera of `list_cameras`, in any case and with
        any punctuation between its words; or ``hf://user/name@revision``, see `load_from_hub`.
    kind : str
        Physics model to build from a profile or camera: ``"eld"`` has the most realistic samples,
        ``"poisson_gaussian"`` has a density.

    Returns
    -------
    NoiseModel
        The model, in evaluation mode.

    Raises
    ------
    ModelError
        The name is none of these, the run is unfinished, or its weights do not match its spec.

    Examples
    --------
    >>> load("sony-a7s2").cameras
    ('Sony A7S2',)
    """
    if HUB.match(str(name)):
        return load_from_hub(name)
    profile = profile_named(name)
    if profile is not None:
        return from_profile(kind, profile)
    if not Path(name).exists():
        raise ModelError(
            f"{name}: no such file, folder or shipped camera; expected a run folder, a profile of "
            f"`noiseflow calibrate`, hf://user/name, or one of {', '.join(shipped_names())}"
        )
    return load_run(name)
