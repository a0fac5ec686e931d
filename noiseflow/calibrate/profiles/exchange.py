"""A profile in the forms of others: darktable's noise profiles and the DNG NoiseProfile.

Both are var = a·x + b of the normalised signal, a = K/(white − black) and b = σ²/(white − black)².
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from noiseflow.calibrate.profiles.darktable import GREEN_RULE
from noiseflow.calibrate.profiles.profile import Profile
from noiseflow.core.errors import DataError
from noiseflow.core.output.checks import writing
from noiseflow.core.output.marks import MARK
from noiseflow.core.output.whole import write_bytes, write_text
from noiseflow.core.text import json_text
from noiseflow.raw import plane_names, read_raw
from noiseflow.raw.formats.dng_stamp import stamped

__all__ = ["UNITS", "darktable_entry", "normalised_lines", "stamp_dng", "write_darktable"]

COLOURS = {"R": ("R",), "G": ("G1", "G2"), "B": ("B",)}

UNITS: Mapping[str, float] = {"mosaic": 1.0, "darktable": GREEN_RULE}
"""What variances are multiplied by: of the mosaic as they are, or what darktable's profiling leaves of them."""

SAME_WHITE = 1.25
"""Largest ratio of the white levels of a file and of a profile of the same codes."""


def normalised_lines(profile: Profile, iso: float, span_dn: float) -> tuple[tuple[float, float], ...]:
    """(a, b) of R, G and B, or one pair of a monochrome camera: var = a·x + b of the signal in [0, 1].

    Parameters
    ----------
    profile : Profile
        With K and read noise in DN.
    iso : float
        One that the profile has.
    span_dn : float
        White less black level, DN.

    Raises
    ------
    DataError
        An ISO or numbers that the profile has not; a relative profile; planes of a larger cell than Bayer's.
    """
    names = plane_names(profile.layout)
    groups = tuple(COLOURS.values()) if profile.layout == "bayer" else (names,)
    if profile.layout not in ("bayer", "mono", "mono2x2"):
        raise DataError(f"{profile.camera}: planes of layout {profile.layout}; expected a Bayer or a monochrome camera")
    if not span_dn > 0:
        raise DataError(f"{profile.camera}: the white level is {-span_dn:g} DN below black; expected a range")
    lines = []
    for group in groups:
        pairs = [_line(profile, iso, plane) for plane in group]
        gain, variance = (sum(values) / len(values) for values in zip(*pairs, strict=True))
        lines.append((gain / span_dn, variance / span_dn**2))
    return tuple(lines)


def _line(profile: Profile, iso: float, plane: str) -> tuple[float, float]:
    """K in DN/e⁻ and read variance in DN² of a plane."""
    setting = profile.at(iso, plane)
    if setting.kind == "relative":
        raise DataError(f"{profile.camera}: the profile is relative, good for ratios only; expected one in DN")
    gain, read = setting.value("gain_dn_per_e"), setting.value("read_noise_dn")
    if gain is None or read is None:
        lacking = " and ".join(name for name, value in (("gain", gain), ("read noise", read)) if value is None)
        raise DataError(
            f"{profile.camera}: ISO {iso:g}, plane {plane} has no {lacking}; calibrate with darks and flats"
        )
    return gain, read**2


def darktable_entry(profile: Profile, *, units: str = "mosaic") -> dict[str, Any]:
    """The profile as darktable's ``noiseprofiles.json`` has a camera.

    Parameters
    ----------
    profile : Profile
        With a black level, K and read noise at each ISO.
    units : str
        ``"mosaic"``, the variance of the raw pixels, with which a stabilised raw frame has variance 1;
        or ``"darktable"``, what its own profiling would have found (`GREEN_RULE`).

    Raises
    ------
    DataError
        Units that are not known, or numbers that are not there.
    """
    if units not in UNITS:
        raise DataError(f"units {units!r} are not known; expected one of {', '.join(UNITS)}")
    maker, _, model = profile.camera.partition(" ")
    plane = plane_names(profile.layout)[0]
    entries = []
    for iso in profile.isos:
        black = profile.at(iso, plane).value("black_dn")
        if black is None:
            raise DataError(f"{profile.camera}: ISO {iso:g} has no black level; its range is not known")
        lines = normalised_lines(profile, iso, profile.white_dn - black)
        lines = lines if len(lines) == len(COLOURS) else lines * len(COLOURS)
        a, b = ([UNITS[units] * value for value in values] for values in zip(*lines, strict=True))
        entries.append({"name": f"{profile.camera} iso {iso:g}", "iso": round(iso), "a": a, "b": b})
    comment = f"by noiseflow, in the units of {'the mosaic' if units == 'mosaic' else 'darktable'}"
    return {
        "version": 0,
        "made_by": MARK,
        "noiseprofiles": [
            {"maker": maker, "models": [{"comment": comment, "model": model or maker, "profiles": entries}]}
        ],
    }


def write_darktable(profile: Profile, path: str | Path, *, units: str = "mosaic", overwrite: bool = False) -> None:
    """Write `darktable_entry` to a file."""
    with writing(path, overwrite=overwrite) as path:
        write_text(path, json_text(darktable_entry(profile, units=units)), replace=overwrite)


def stamp_dng(
    profile: Profile,
    dng: str | Path,
    path: str | Path,
    *,
    overwrite: bool = False,
    caution: Callable[[str], None] = lambda words: None,
) -> tuple[tuple[float, float], ...]:
    """Write a copy of a DNG with the profile's noise at its ISO as NoiseProfile; its other bytes stay.

    Parameters
    ----------
    profile : Profile
        Profile of the camera.
    dng : path
        The DNG; it is not changed.
    path : path
        The copy.
    overwrite : bool
        Whether a DNG of ours may be replaced.
    caution : callable
        Takes a line for the user where the camera's names differ.

    Returns
    -------
    tuple of (float, float)
        (S, O) of R, G, B, or of all.

    Raises
    ------
    DataError
        The file does not say its ISO, the profile has not got it, or is of other codes.
    """
    dng = Path(dng)
    with writing(path, inputs=[dng], overwrite=overwrite) as path:
        image = read_raw(dng)
        if image.iso is None:
            raise DataError(f"{dng}: does not say its ISO, so no setting of {profile.camera} can be chosen")
        if not 1 / SAME_WHITE < image.white / profile.white_dn < SAME_WHITE:
            raise DataError(
                f"{dng}: its white level is {image.white:g} DN, that of {profile.camera} {profile.white_dn:g} DN: they "
                "count in other codes; calibrate with files of this kind"
            )
        if image.camera.lower() != profile.camera.lower():
            caution(f"{dng}: is of {image.camera}, the profile of {profile.camera}; is it the same camera?")
        span = image.white - sum(image.black) / len(image.black)
        pairs = normalised_lines(profile, image.iso, span)
        write_bytes(path, stamped(dng.read_bytes(), pairs, str(dng)), replace=overwrite)
    return pairs
