"""Profiles from elsewhere: shipped camera facts, DNG NoiseProfile, SIDD tables."""

import csv
from collections.abc import Sequence
from pathlib import Path

from noiseflow.calibrate.measurement import Measurement
from noiseflow.calibrate.profiles.profile import Profile, Setting
from noiseflow.core.errors import DataError
from noiseflow.raw import RawImage, plane_names
from noiseflow.simulate import camera_names, load_camera

__all__ = ["from_noise_profile", "from_sidd_nlf", "shipped_names", "shipped_profile", "told"]

UNKNOWN = (float("-inf"), float("inf"))
"""Interval of a number whose source states no error."""


def told(value: float, unit: str) -> Measurement:
    """A number from a source that states no error: its interval is open."""
    return Measurement(float(value), 0.0, UNKNOWN, unit)


def shipped_names() -> tuple[str, ...]:
    """Names of the profiles that come with the package."""
    return camera_names()


def shipped_profile(name: str) -> Profile:
    """A profile of published numbers; their sources state no error bars, so the intervals are open."""
    camera = load_camera(name)
    settings = []
    for iso, at in camera.isos.items():
        read = (camera.read_sigma_dn(iso) ** 2 + at.row_sigma_dn**2 + 1 / 12) ** 0.5
        estimates = {
            "gain_dn_per_e": told(at.gain_dn_per_e, "DN/e-"),
            "black_dn": told(camera.black_dn, "DN"),
            "read_noise_dn": told(read, "DN"),
            "row_noise_dn": told(at.row_sigma_dn, "DN"),
        }
        if camera.read_shape == "tukey-lambda":
            estimates["tukey_shape"] = told(at.read_lambda, "")
            estimates["tukey_scale_dn"] = told(at.read_scale_dn, "DN")
        settings += [Setting(iso, plane, estimates, kind="published") for plane in plane_names("bayer")]
    return Profile(camera.name, "bayer", camera.white_dn, tuple(settings), {"source": camera.source})


def from_noise_profile(images: Sequence[RawImage]) -> Profile:
    """The DNG NoiseProfile tags of raw files: K = S·(white − black), σ_read = √O·(white − black).

    References
    ----------
    Digital Negative specification 1.6, NoiseProfile.
    """
    settings: dict[tuple[float, str], Setting] = {}
    for image in images:
        if not image.noise_profile or image.iso is None:
            raise DataError(f"{image.source}: has no DNG NoiseProfile tag or no ISO; expected a DNG with tag 51041")
        if image.camera != images[0].camera:
            raise DataError(f"{image.source}: camera {image.camera}, but {images[0].source} is of {images[0].camera}")
        names = plane_names(image.layout)
        # The tag has one pair for all, or one a colour plane: R, G, B.
        pairs = image.noise_profile
        of_plane = {1: (0,) * 4, 3: (0, 1, 1, 2), 4: (0, 1, 2, 3)}.get(len(pairs))
        if of_plane is None:
            raise DataError(f"{image.source}: NoiseProfile of {len(pairs)} pairs; expected 1, 3 or 4")
        black = image.levels()[0].ravel()
        for index, plane in enumerate(names):
            slope, offset = pairs[of_plane[index]]
            settings[(image.iso, plane)] = _line(image.iso, plane, slope, offset, float(black[index]), image.white)
    if not settings:
        raise DataError("no raw files; expected DNGs with a NoiseProfile tag")
    provenance = {"method": "DNG NoiseProfile tag", "sources": [image.source for image in images]}
    return Profile(images[0].camera, images[0].layout, images[0].white, tuple(settings.values()), provenance)


def from_sidd_nlf(path: str | Path, camera: str, black_dn: float, white_dn: float) -> Profile:
    """One camera of the SIDD noise-level tables (``cam_iso,beta1,beta2``), var = β₁·clean + β₂.

    Parameters
    ----------
    camera : str
        As in the table: ``"S6"``.
    black_dn, white_dn : float
        The table is of the normalised signal and does not say them.
    """
    path = Path(path)
    settings = []
    with path.open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file), 2):
            try:
                name, iso = row["cam_iso"].rsplit("_", 1)
                values = float(iso), float(row["beta1"]), float(row["beta2"])
            except (KeyError, ValueError, AttributeError, TypeError) as error:
                raise DataError(f"{path}: line {number}: expected cam_iso,beta1,beta2; got {row}") from error
            if name == camera:
                settings += [
                    _line(values[0], p, values[1], values[2], black_dn, white_dn) for p in plane_names("bayer")
                ]
    if not settings:
        raise DataError(f"{path}: no line of camera {camera!r}")
    return Profile(camera, "bayer", white_dn, tuple(settings), {"method": "SIDD NLF table", "sources": [str(path)]})


def _line(iso: float, plane: str, slope: float, offset: float, black: float, white: float) -> Setting:
    span = white - black
    estimates = {"black_dn": told(black, "DN"), "read_noise_dn": told(max(offset, 0.0) ** 0.5 * span, "DN")}
    if slope > 0:
        estimates["gain_dn_per_e"] = told(slope * span, "DN/e-")
    return Setting(iso, plane, estimates, kind="published")
