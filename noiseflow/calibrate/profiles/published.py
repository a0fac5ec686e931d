"""Profiles from published numbers: shipped cameras, DNG NoiseProfile tags, SIDD tables."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from noiseflow.calibrate.measurement import Measurement
from noiseflow.calibrate.profiles.profile import Profile, Setting
from noiseflow.core.errors import DataError
from noiseflow.core.reading.text import read_text
from noiseflow.raw import RawImage, plane_names
from noiseflow.simulate import camera_names, load_camera

__all__ = ["from_noise_profile", "from_sidd_nlf", "shipped_names", "shipped_profile", "without_error"]

UNKNOWN = (float("-inf"), float("inf"))
"""Interval of a number whose source states no error."""


def without_error(value: float, unit: str) -> Measurement:
    """Return a number whose source states no error, with an infinite interval."""
    return Measurement(float(value), 0.0, UNKNOWN, unit)


def shipped_names() -> tuple[str, ...]:
    """Return the names of the profiles that come with the package."""
    return camera_names()


def shipped_profile(name: str) -> Profile:
    """Return the profile of published numbers that comes with the package.

    Parameters
    ----------
    name : str
        One of `shipped_names`.

    Returns
    -------
    Profile
        The same numbers for all planes.  The sources state no error bars, so the intervals are infinite.

    Raises
    ------
    RawError
        An unknown name.
    """
    camera = load_camera(name)
    settings = []
    for iso, numbers in camera.isos.items():
        read = (camera.read_sigma_dn(iso) ** 2 + numbers.row_sigma_dn**2 + 1 / 12) ** 0.5
        estimates = {
            "gain_dn_per_e": without_error(numbers.gain_dn_per_e, "DN/e-"),
            "black_dn": without_error(camera.black_dn, "DN"),
            "read_noise_dn": without_error(read, "DN"),
            "row_noise_dn": without_error(numbers.row_sigma_dn, "DN"),
        }
        if camera.read_shape == "tukey-lambda":
            estimates["tukey_shape"] = without_error(numbers.read_lambda, "")
            estimates["tukey_scale_dn"] = without_error(numbers.read_scale_dn, "DN")
        settings += [Setting(iso, plane, estimates, kind="published") for plane in plane_names("bayer")]
    return Profile(camera.name, "bayer", camera.white_dn, tuple(settings), {"source": camera.source})


def from_noise_profile(images: Sequence[RawImage]) -> Profile:
    """Convert the DNG NoiseProfile tags of raw files: K = S·(white − black), σ_read = √O·(white − black).

    Parameters
    ----------
    images : sequence of RawImage
        Files of one camera with a NoiseProfile tag and an ISO; of two files of one ISO, the last counts.

    Returns
    -------
    Profile
        Published settings at the ISOs of the files; the intervals are infinite.

    Raises
    ------
    DataError
        No file, a file without a NoiseProfile or ISO, another number of pairs than 1, 3 or 4, or files of two cameras.

    References
    ----------
    Digital Negative specification 1.6, NoiseProfile.
    """
    settings: dict[tuple[float, str], Setting] = {}
    for image in images:
        if not image.noise_profile or image.iso is None:
            raise DataError(
                f"{image.source}: has no DNG NoiseProfile tag or no ISO; expected a DNG with tag 51041 and an ISO"
            )
        if image.camera != images[0].camera:
            raise DataError(
                f"{image.source}: is from {image.camera}, but {images[0].source} is from {images[0].camera}; give "
                "files of one camera"
            )
        names = plane_names(image.layout)
        # The tag has one pair for all planes, one per colour (R, G, B), or one per plane.
        pairs = image.noise_profile
        of_plane = {1: (0,) * 4, 3: (0, 1, 1, 2), 4: (0, 1, 2, 3)}.get(len(pairs))
        if of_plane is None:
            raise DataError(f"{image.source}: its NoiseProfile has {len(pairs)} pairs; expected 1, 3 or 4")
        black = image.levels()[0].ravel()
        for index, plane in enumerate(names):
            slope, offset = pairs[of_plane[index]]
            settings[(image.iso, plane)] = _line(image.iso, plane, slope, offset, float(black[index]), image.white)
    if not settings:
        raise DataError("no raw files; expected DNGs with a NoiseProfile tag")
    provenance = {"method": "DNG NoiseProfile tag", "sources": [image.source for image in images]}
    return Profile(images[0].camera, images[0].layout, images[0].white, tuple(settings.values()), provenance)


def from_sidd_nlf(path: str | Path, camera: str, black_dn: float, white_dn: float) -> Profile:
    """Read one camera from a SIDD noise-level table, with var = β₁·clean + β₂ of the normalised signal.

    Parameters
    ----------
    path : path
        CSV file with the columns ``cam_iso,beta1,beta2``.
    camera : str
        Name as in the table, such as ``"S6"``.
    black_dn, white_dn : float
        Black and white level, DN, which the table does not state.

    Returns
    -------
    Profile
        Published settings, the same for all planes; the intervals are infinite.

    Raises
    ------
    DataError
        No such file, a line of another form, or no line of that camera.
    """
    path = Path(path)
    settings = []
    text = read_text(path, "a SIDD noise-level table", DataError)
    for number, row in enumerate(csv.DictReader(io.StringIO(text, newline="")), 2):
        try:
            name, iso_text = row["cam_iso"].rsplit("_", 1)
            iso, slope, offset = float(iso_text), float(row["beta1"]), float(row["beta2"])
        except (KeyError, ValueError, AttributeError, TypeError) as error:
            raise DataError(f"{path}: line {number}: expected cam_iso,beta1,beta2; got {row}") from error
        if name == camera:
            settings += [_line(iso, plane, slope, offset, black_dn, white_dn) for plane in plane_names("bayer")]
    if not settings:
        raise DataError(f"{path}: has no line of camera {camera!r}; expected cam_iso such as {camera}_100")
    return Profile(camera, "bayer", white_dn, tuple(settings), {"method": "SIDD NLF table", "sources": [str(path)]})


def _line(iso: float, plane: str, slope: float, offset: float, black: float, white: float) -> Setting:
    """Convert normalised slope and offset of a plane to a published setting in DN."""
    span = white - black
    read = max(offset, 0.0) ** 0.5 * span
    estimates = {"black_dn": without_error(black, "DN"), "read_noise_dn": without_error(read, "DN")}
    if slope > 0:
        estimates["gain_dn_per_e"] = without_error(slope * span, "DN/e-")
    return Setting(iso, plane, estimates, kind="published")
