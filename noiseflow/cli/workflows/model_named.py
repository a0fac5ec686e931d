"""The noise model that a user names: a run folder, a camera profile, or a camera whose profile ships with us."""

from pathlib import Path
from typing import TYPE_CHECKING

from noiseflow.calibrate.profiles.profile import Profile, read_profile
from noiseflow.calibrate.profiles.published import shipped_names, shipped_profile
from noiseflow.core.errors import ModelError

if TYPE_CHECKING:
    from noiseflow.models import NoiseModel

__all__ = ["model_named", "profile_named"]


def profile_named(name: str | Path) -> Profile | None:
    """The profile in a JSON file, or the shipped one of a camera; None if `name` is neither."""
    path = Path(name)
    if path.suffix.lower() == ".json" and path.is_file():
        return read_profile(path)
    if not path.exists() and str(name) in shipped_names():
        return shipped_profile(str(name))
    return None


def model_named(name: str | Path, kind: str = "eld") -> "NoiseModel":
    """Load the model in a run folder, or build one from a camera's profile.

    Parameters
    ----------
    name : path
        Run folder, profile of `noiseflow calibrate`, or name of a camera in `noiseflow profiles`.
    kind : str
        Physics model to build from a profile: ``"eld"`` samples best, ``"poisson_gaussian"`` has a density.

    Raises
    ------
    ModelError
        If it is none of the three.
    """
    from noiseflow.models import from_profile, load

    profile = profile_named(name)
    if profile is not None:
        return from_profile(kind, profile)
    if not Path(name).exists():
        raise ModelError(
            f"{name}: no such file or folder, nor a shipped camera; expected a run folder, a profile of "
            f"`noiseflow calibrate`, or one of {', '.join(shipped_names())}"
        )
    return load(name)
