"""Calibration of a camera at all ISOs from a few frames, as the posterior under the prior over cameras."""

import math
from collections.abc import Sequence
from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from noiseflow.calibrate.measurement import Measurement
from noiseflow.calibrate.prior.curve import OBSERVED, CameraCurve, curve_at
from noiseflow.calibrate.prior.frames import Seen, dark_noise, is_dark, pair_noise, picture_noise, same_camera
from noiseflow.calibrate.prior.posterior import CameraPrior, posterior_of
from noiseflow.calibrate.prior.weights import read_prior
from noiseflow.calibrate.profiles.profile import Profile, Setting
from noiseflow.core.errors import DataError
from noiseflow.core.version import __version__
from noiseflow.raw import RawImage, plane_names
from noiseflow.simulate.physics import tukey_lambda_variance

__all__ = ["STANDARD_ISOS", "curve_of_frames", "few_shot", "profile_of_curves", "sample_camera", "shipped_prior"]

Array = NDArray[np.float64]

STANDARD_ISOS = tuple(100.0 * 2.0**stop for stop in range(9))
"""ISOs in full stops from 100 to 25600."""

DRAWS = 4000
"""Draws from the posterior, from which medians and intervals are taken."""

ROUNDING = 1 / 12
"""Variance of rounding to whole codes, DN²."""

LAW_ERROR = 0.03
"""Relative error of a gain that was scaled to another ISO in proportion."""

TAIL_RANGE = (-0.35, 0.3)
"""Range of Tukey-lambda shapes in a profile: the variance is infinite at −½, and 0.14 is close to normal."""


@cache
def shipped_prior() -> CameraPrior:
    """Return the prior that comes with the package; docs/guide/cameras.md lists the cameras it was learnt from."""
    with resources.as_file(resources.files("noiseflow.calibrate.prior") / "cameras.safetensors") as path:
        return read_prior(path)


def curve_of_frames(images: Sequence[RawImage]) -> CameraCurve:
    """Measure a camera at the ISOs of some frames.

    Parameters
    ----------
    images : sequence of RawImage
        One or more illuminated frames of any scene, and darks if there are any.  Two illuminated frames of one ISO,
        exposure time and size are taken as a pair of one static scene.

    Returns
    -------
    CameraCurve
        What was observed at each ISO, with errors.

    Raises
    ------
    DataError
        No frames, frames of two cameras, darks alone, a frame without an ISO, or a frame that cannot be measured.
    """
    if not images:
        raise DataError("no frames were given; expected at least one picture")
    same_camera(images)
    for image in images:
        if not image.iso:
            raise DataError(f"{image.source}: states no ISO; give it with --iso")
    darks = [image for image in images if is_dark(image)]
    lit = [image for image in images if not is_dark(image)]
    if not lit:
        raise DataError(
            f"{images[0].source}: the gain cannot be measured from darks alone; add a picture of any scene at the same "
            "ISO"
        )
    seen = [*_lit(lit), *(dark_noise(image) for image in darks)]
    isos = sorted({each.iso for each in seen})
    span = lit[0].white - float(np.mean(lit[0].black))
    rows = [_row(iso, seen, span) for iso in isos]
    values, errors = (np.array([row[k] for row in rows]) for k in (0, 1))
    return CameraCurve(lit[0].camera, np.array(isos), values, errors, "frames")


def _lit(images: Sequence[RawImage]) -> list[Seen]:
    """Measure illuminated frames: pairs of one setting together, the others one by one."""
    found, left = [], list(images)
    while left:
        first = left.pop(0)
        alike = [
            image
            for image in left
            if (image.iso, image.exposure_s, image.mosaic.shape) == (first.iso, first.exposure_s, first.mosaic.shape)
        ]
        if alike:
            left = [image for image in left if image is not alike[0]]
            found.append(pair_noise(first, alike[0]))
        else:
            found.append(picture_noise(first))
    return found


def _row(iso: float, seen: Sequence[Seen], span: float) -> tuple[list[float], list[float]]:
    """Return `OBSERVED` and its errors at one ISO, each from the frame with the smallest error."""
    nan = float("nan")
    here = [each for each in seen if each.iso == iso]
    gain = _best([each.gain for each in here])
    of_law = gain is None
    if gain is None:
        nearest = min((each for each in seen if each.gain), key=lambda each: abs(math.log(each.iso / iso)))
        assert nearest.gain is not None
        gain = nearest.gain[0] * iso / nearest.iso, math.hypot(nearest.gain[1], LAW_ERROR)
    read = _best([_with_glow(each, gain[0]) for each in here])
    row, tail = (_best([getattr(each, name) for each in here]) for name in ("row", "tail"))
    values = [nan if of_law else math.log(span / gain[0]), nan, nan, nan]
    errors = [nan if of_law else gain[1], nan, nan, nan]
    if read is not None:
        values[1], errors[1] = math.log(read[0] / gain[0]), math.hypot(read[1], gain[1])
        if row is not None and row[0] < read[0]:
            values[2], errors[2] = math.log(row[0] / read[0]), math.hypot(row[1], read[1])
    if tail is not None:
        values[3], errors[3] = tail
    return values, errors


def _with_glow(seen: Seen, gain: float) -> tuple[float, float] | None:
    """Return read noise and its error, which includes the photon noise that a dark's glow has if it is light."""
    if seen.read is None:
        return None
    return seen.read[0], math.hypot(seen.read[1], gain * seen.glow / (2 * seen.read[0] ** 2))


def _best(found: Sequence[tuple[float, float] | None]) -> tuple[float, float] | None:
    """Return the pair of value and error with the smallest error, or None without any."""
    return min((each for each in found if each is not None), key=lambda each: each[1], default=None)


def few_shot(
    images: Sequence[RawImage], isos: Sequence[float] = STANDARD_ISOS, prior: CameraPrior | None = None, seed: int = 0
) -> Profile:
    """Estimate a profile at all ISOs from a few frames, with 95 % intervals on every number.

    The camera's curve over ISO has eight parameters (see `noiseflow.calibrate.prior.curve.PARAMETERS`).  Their
    posterior is a mixture over the possible ISOs of a gain switch, whose components are normal about their modes.

    Parameters
    ----------
    images : sequence of RawImage
        Illuminated frames, and darks if there are any; see `curve_of_frames`.
    isos : sequence of float
        ISOs of the profile; those of the frames are added.
    prior : CameraPrior, optional
        Prior over cameras; by default the shipped one.
    seed : int
        Seed of the draws from which the intervals are computed.

    Returns
    -------
    Profile
        Posterior medians and intervals; black and white level as in the first illuminated frame.

    Raises
    ------
    DataError
        Frames of two cameras, darks alone, a frame without an ISO, or a frame that cannot be measured.
    """
    prior = prior if prior is not None else shipped_prior()
    curve = curve_of_frames(images)
    first = next(image for image in images if not is_dark(image))
    generator = np.random.default_rng(seed)
    grid = np.array(sorted({*map(float, isos), *curve.isos.tolist()}))
    draws = draws_at(curve, prior, grid, generator)
    shares = {f"{iso:g}": _share(curve, draws, grid, iso) for iso in curve.isos}
    provenance: dict[str, object] = {
        "tool": f"noiseflow calibrate --few {__version__}",
        "method": "posterior under the prior over cameras",
        "sources": [image.source for image in images],
        "prior_part_of_gain": shares,
    }
    return profile_of_curves(first, draws, grid, curve, provenance)


def draws_at(curve: CameraCurve, prior: CameraPrior, isos: Array, generator: np.random.Generator) -> Array:
    """Draw `OBSERVED` at some ISOs from the posterior of a camera, including its scatter about the curve.

    Parameters
    ----------
    curve : CameraCurve
        What was observed.
    prior : CameraPrior
        Prior over cameras.
    isos : ndarray, shape (N,)
        ISOs.
    generator : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray, shape (`DRAWS`, N, 4)
        The draws.
    """
    posterior = posterior_of(curve, prior)
    draws = posterior.curves(isos, DRAWS, generator)
    for n, iso in enumerate(isos):
        for j in range(len(OBSERVED)):
            scatter, own = prior.scatter[j] ** 2, np.flatnonzero(curve.isos == iso)
            value = curve.values[own[0], j] if len(own) else np.nan
            if np.isfinite(value):
                # An observation at this very ISO also includes its scatter: combine it with the curve accordingly.
                error = curve.errors[own[0], j] ** 2
                mean = (draws[:, n, j] / scatter + value / error) / (1 / scatter + 1 / error)
                draws[:, n, j], scatter = mean, 1 / (1 / scatter + 1 / error)
            draws[:, n, j] += np.sqrt(scatter) * generator.standard_normal(len(draws))
    return draws


def _share(curve: CameraCurve, draws: Array, isos: Array, iso: float) -> float | None:
    """Return the prior's share in the precision of ln K at an ISO: 1 − posterior variance / variance of the frames."""
    error = float(curve.errors[np.flatnonzero(curve.isos == iso)[0], 0])
    if not np.isfinite(error):
        return None
    return round(max(0.0, 1 - float(draws[:, np.flatnonzero(isos == iso)[0], 0].var()) / error**2), 3)


def profile_of_curves(
    image: RawImage, draws: Array, isos: Array, curve: CameraCurve | None, provenance: dict[str, object]
) -> Profile:
    """Summarise draws of a camera's curve as a profile.

    Parameters
    ----------
    image : RawImage
        Frame that gives name, layout, black and white level.
    draws : ndarray, shape (D, N, 4)
        Draws of `OBSERVED` at each ISO.
    isos : ndarray, shape (N,)
        ISOs.
    curve : CameraCurve or None
        What was observed, for the cautions; None for a sampled camera.
    provenance : dict
        Provenance of the profile.

    Returns
    -------
    Profile
        Medians and 95 % intervals of the draws, the same for all planes.
    """
    span, black = image.white - float(np.mean(image.black)), float(np.mean(image.black))
    settings = []
    for n, iso in enumerate(isos):
        full, read, row, tail = draws[:, n].T
        gain = span / np.exp(full)
        noise = np.exp(read) * gain
        rows = np.minimum(np.exp(row), 0.95) * noise
        shape = np.clip(tail, *TAIL_RANGE)
        unit = np.interp(shape, *_unit_scales())
        scale = np.sqrt(noise**2 - rows**2) / unit
        estimates = {
            "gain_dn_per_e": _of_draws(gain, "DN/e-"),
            "black_dn": Measurement(black, 0.0, (black, black), "DN"),
            "read_noise_dn": _of_draws(np.sqrt(noise**2 + ROUNDING), "DN"),
            "read_noise_e": _of_draws(np.exp(read), "e-"),
            "row_noise_dn": _of_draws(rows, "DN"),
            "tukey_shape": _of_draws(shape, ""),
            "tukey_scale_dn": _of_draws(scale, "DN"),
            "saturation_e": _of_draws(np.exp(full), "e-"),
        }
        settings += [Setting(float(iso), plane, estimates, (), {}, "posterior") for plane in plane_names(image.layout)]
    cautions: tuple[str, ...] = ()
    if curve is not None:
        shown = ", ".join(f"{iso:g}" for iso in curve.isos)
        cautions = (f"measured at ISO {shown} only; all other ISOs are predicted by the prior over cameras",)
    return Profile(image.camera, image.layout, image.white, tuple(settings), provenance, cautions)


@cache
def _unit_scales() -> tuple[Array, Array]:
    """Return a grid of Tukey-lambda shapes and the standard deviation of each at scale 1."""
    shapes = np.linspace(*TAIL_RANGE, 131)
    return shapes, np.sqrt([tukey_lambda_variance(float(shape)) for shape in shapes])


def _of_draws(values: Array, unit: str) -> Measurement:
    """Return median and 95 % interval of draws as a measurement."""
    low, middle, high = np.quantile(values, [0.025, 0.5, 0.975])
    return Measurement(float(middle), float((high - low) / 3.92), (float(low), float(high)), unit)


def sample_camera(seed: int, isos: Sequence[float] = STANDARD_ISOS, prior: CameraPrior | None = None) -> Profile:
    """Draw a random camera from the prior over cameras.

    It has a Bayer mosaic, 14 bits, black level 512 DN and white level 16383 DN.  To get a noise model of it, call
    `noiseflow.models.from_profile("eld", profile)`.

    Parameters
    ----------
    seed : int
        Seed; the same seed gives the same camera.
    isos : sequence of float
        ISOs of the profile.
    prior : CameraPrior, optional
        Prior over cameras; by default the shipped one.

    Returns
    -------
    Profile
        Profile of "sampled camera SEED"; its numbers are exact.

    Examples
    --------
    >>> from noiseflow.calibrate import sample_camera
    >>> camera = sample_camera(3)
    >>> camera.camera, len(camera.isos)
    ('sampled camera 3', 9)
    """
    generator = np.random.default_rng(seed)
    prior = prior if prior is not None else shipped_prior()
    parameters, dual = prior.sample(generator)
    grid = np.array(sorted(map(float, isos)))
    curve = curve_at(parameters, grid, dual)
    curve += prior.scatter * generator.standard_normal(curve.shape)
    black = (512.0,) * 4
    image = RawImage(np.zeros((2, 2), np.uint16), "RGGB", black, 16383.0, model=f"sampled camera {seed}")
    note: dict[str, object] = {"method": "drawn from the prior over cameras", "seed": seed, "sources": []}
    return profile_of_curves(image, curve[None], grid, None, note)
