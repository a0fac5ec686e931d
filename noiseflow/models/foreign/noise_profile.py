"""The NoiseProfile tags of DNG files, as a model."""

from pathlib import Path

from noiseflow.calibrate.profiles.published import from_noise_profile
from noiseflow.core.errors import DataError
from noiseflow.models.foreign.raw_folder import raw_paths
from noiseflow.models.foreign.source import ForeignFormat, ForeignSource
from noiseflow.models.model import NoiseModel
from noiseflow.models.physics.profile_models import from_profile
from noiseflow.raw.reading import read_raw

__all__ = ["NOISE_PROFILE"]


def _claims(path: Path) -> bool:
    """Claim a single DNG; a folder of DNGs may also be dark frames, so there the format must be named."""
    return path.is_file() and path.suffix.lower() == ".dng"


def _read(source: ForeignSource) -> NoiseModel:
    images = [read_raw(path, source.raw) for path in raw_paths(source.path)]
    by_iso = {image.iso: image for image in images}
    if not by_iso:
        raise DataError(f"{source.path}: contains no raw file; expected DNGs with a NoiseProfile tag")
    return from_profile("poisson_gaussian", from_noise_profile(list(by_iso.values())))


NOISE_PROFILE = ForeignFormat("the NoiseProfile tag of a DNG, or of a folder of them", _claims, _read)
