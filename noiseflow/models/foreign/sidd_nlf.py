"""SIDD's table of noise level functions, ``cam_iso,beta1,beta2``, as a model of one camera."""

from pathlib import Path

from noiseflow.calibrate.profiles.published import from_sidd_nlf
from noiseflow.core.errors import ModelError
from noiseflow.models.foreign.source import ForeignFormat, ForeignSource
from noiseflow.models.model import NoiseModel
from noiseflow.models.physics.profile_models import from_profile

__all__ = ["SIDD_NLF"]

LEVELS = 0.0, 1023.0
"""Default black and white level in DN, for SIDD's 10-bit phones; the table refers to the normalised signal."""


def _claims(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(64).startswith(b"cam_iso,beta1,beta2")


def _read(source: ForeignSource) -> NoiseModel:
    if source.raw.camera is None:
        raise ModelError(f"{source.path}: contains several cameras: choose one with --camera, such as S6")
    black, white = source.levels(*LEVELS)
    profile = from_sidd_nlf(source.path, source.raw.camera, black, white)
    return from_profile("poisson_gaussian", profile)


SIDD_NLF = ForeignFormat("SIDD's noise level functions: cam_iso,beta1,beta2", _claims, _read)
