"""A folder of dark frames as a model: crops of the frames themselves, or noise with the spectrum of one frame."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.calibrate.profiles.profile import Profile, Setting
from noiseflow.calibrate.profiles.published import from_noise_profile, without_error
from noiseflow.core.errors import DataError
from noiseflow.models.foreign.raw_folder import raw_paths
from noiseflow.models.foreign.source import ForeignFormat, ForeignSource
from noiseflow.models.io.named import profile_named
from noiseflow.models.model import NoiseModel
from noiseflow.models.physics.dark_frame import dark_frame_model
from noiseflow.raw.bayer import plane_names
from noiseflow.raw.image import RawImage
from noiseflow.raw.reading import read_raw

__all__ = ["DARK_FRAMES", "SPECTRAL"]

LARGEST = 1024
"""Largest height and width, in pixels of a plane, of the central crop that the spectral method keeps of its frame."""


ROUNDING = 12**-0.5
"""σ of rounding to whole DN, uniform over ±½: the smallest noise a frame can have."""


def _claims(path: Path) -> bool:
    return path.is_dir() and bool(raw_paths(path))


def _never(path: Path) -> bool:
    """Never claim a path: this is a method, chosen by name."""
    return False


def _dark_frames(source: ForeignSource) -> NoiseModel:
    return _model(source, "dark_frame")


def _spectral(source: ForeignSource) -> NoiseModel:
    return _model(source, "spectral")


def _model(source: ForeignSource, kind: str) -> NoiseModel:
    images = _by_iso([read_raw(path, source.raw) for path in raw_paths(source.path)], source.path)
    if kind == "spectral":
        images = {iso: of_iso[:1] for iso, of_iso in images.items()}
    profile = _profile(images, source)
    planes = {iso: [each.planes(profile.layout) for each in of_iso] for iso, of_iso in images.items()}
    if kind == "spectral":
        planes = {iso: [_middle(each) for each in of_iso] for iso, of_iso in planes.items()}
    return dark_frame_model(profile, planes, kind=kind)


def _by_iso(images: list[RawImage], path: Path) -> dict[float, list[RawImage]]:
    if not images:
        raise DataError(f"{path}: no raw file; expected dark frames")
    found: dict[float, list[RawImage]] = {}
    for image in images:
        if image.iso is None:
            raise DataError(f"{image.source}: its ISO is not known; give --iso")
        found.setdefault(float(image.iso), []).append(image)
    return dict(sorted(found.items()))


def _profile(images: Mapping[float, list[RawImage]], source: ForeignSource) -> Profile:
    """Profile with gain and levels: the given profile, the given gain, or the NoiseProfile tags of the frames."""
    if source.profile is not None:
        profile = profile_named(source.profile)
        if profile is None:
            raise DataError(
                f"{source.profile}: expected a profile of `noiseflow calibrate` or a shipped camera (list them with "
                "`noiseflow profiles`)"
            )
        return profile
    first = [of_iso[0] for of_iso in images.values()]
    if source.gain_dn_per_e is None:
        if not all(image.noise_profile for image in first):
            raise DataError(
                f"{source.path}: dark frames do not contain the gain of shot noise: give --profile, or --gain in DN/e-"
            )
        return from_noise_profile(first)
    lowest = min(images)
    settings = []
    for iso, of_iso in images.items():
        planes = np.stack([each.planes() for each in of_iso]).astype(np.float64)
        for index, plane in enumerate(plane_names(of_iso[0].layout)):
            values = planes[:, index]
            numbers = {
                "gain_dn_per_e": without_error(source.gain_dn_per_e * iso / lowest, "DN/e-"),
                "black_dn": without_error(float(values.mean()), "DN"),
                "read_noise_dn": without_error(max(_temporal_sigma(values), ROUNDING), "DN"),
            }
            settings.append(Setting(iso, plane, numbers))
    image = first[0]
    provenance = {"sources": [str(source.path)], "gain": "given, in proportion to the ISO"}
    return Profile(image.camera, image.layout, image.white, tuple(settings), provenance)


def _temporal_sigma(frames: NDArray[np.float64]) -> float:
    """Temporal noise σ of the frames of a plane, (n, h, w), DN, from differences of successive frames.

    The frames' means are subtracted, and the fixed pattern cancels.  With a single frame, pattern and noise cannot be
    separated, and both count.
    """
    centred = frames - frames.mean((1, 2), keepdims=True)
    return float(centred.std() if len(frames) == 1 else np.diff(centred, axis=0).std() / 2**0.5)


def _middle(planes: NDArray[Any]) -> NDArray[Any]:
    """Central crop of the planes, (C, h, w), to at most `LARGEST` rows and columns."""
    top, left = (max(side - LARGEST, 0) // 2 for side in planes.shape[1:])
    return planes[:, top : top + LARGEST, left : left + LARGEST]


DARK_FRAMES = ForeignFormat("a folder of dark frames, whose crops are the read noise", _claims, _dark_frames)
SPECTRAL = ForeignFormat("noise with the spectrum and histogram of one dark frame", _never, _spectral)
