"""Export of a profile to darktable's noise profiles and to the DNG NoiseProfile tag.

Both describe the normalised signal x by var = a·x + b, with a = K/(white − black) and b = σ²/(white − black)².
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from noiseflow.calibrate.profiles.darktable import GREEN_RULE
from noiseflow.calibrate.profiles.profile import Profile
from noiseflow.core.errors import DataError
from noiseflow.core.output.checks import writing
from noiseflow.core.output.ends import sealed_end, without_end
from noiseflow.core.output.marks import CHECKSUM, MARK, checksum_of
from noiseflow.core.output.whole import write_bytes, write_text
from noiseflow.core.text import json_text
from noiseflow.raw import plane_names, read_raw
from noiseflow.raw.formats.dng_stamp import stamped

__all__ = ["UNITS", "darktable_entry", "normalised_lines", "stamp_dng", "write_darktable"]

COLOURS = {"R": ("R",), "G": ("G1", "G2"), "B": ("B",)}

UNITS: Mapping[str, float] = {"mosaic": 1.0, "darktable": GREEN_RULE}
"""Factor applied to the variances for each choice of units: those of the mosaic, or those darktable would measure."""

SAME_WHITE = 1.25
"""Largest ratio of the white levels of a file and a profile on the same scale of codes."""


def normalised_lines(profile: Profile, iso: float, span_dn: float) -> tuple[tuple[float, float], ...]:
    """Return (a, b) of the noise var = a·x + b of the normalised signal x, per colour.

    Parameters
    ----------
    profile : Profile
        A profile with K and read noise in DN.
    iso : float
        An ISO of the profile.
    span_dn : float
        White minus black level, DN.

    Returns
    -------
    tuple of (float, float)
        Pairs for R, G and B, where G is the mean of G1 and G2; one pair for a monochrome camera.

    Raises
    ------
    DataError
        An ISO, gain or read noise that the profile does not contain; a relative profile; a mosaic other than Bayer; or
        a white level that is not above black.
    """
    names = plane_names(profile.layout)
    groups = tuple(COLOURS.values()) if profile.layout == "bayer" else (names,)
    if profile.layout not in ("bayer", "mono", "mono2x2"):
        raise DataError(f"{profile.camera}: layout {profile.layout}; expected a Bayer or a monochrome camera")
    if not span_dn > 0:
        raise DataError(
            f"{profile.camera}: the white level is {-span_dn:g} DN below black; expected a white level above black"
        )
    lines = []
    for group in groups:
        pairs = [_line(profile, iso, plane) for plane in group]
        gain, variance = (sum(values) / len(values) for values in zip(*pairs, strict=True))
        lines.append((gain / span_dn, variance / span_dn**2))
    return tuple(lines)


def _line(profile: Profile, iso: float, plane: str) -> tuple[float, float]:
    """Return K in DN/e⁻ and the read variance in DN² of a plane."""
    setting = profile.at(iso, plane)
    if setting.kind == "relative":
        raise DataError(
            f"{profile.camera}: the profile is relative (valid for ratios between ISOs only); expected one in DN"
        )
    gain, read = setting.value("gain_dn_per_e"), setting.value("read_noise_dn")
    if gain is None or read is None:
        missing = " and ".join(name for name, value in (("gain", gain), ("read noise", read)) if value is None)
        raise DataError(
            f"{profile.camera}: ISO {iso:g}, plane {plane} has no {missing}; calibrate with darks and flats"
        )
    return gain, read**2


def darktable_entry(profile: Profile, *, units: str = "mosaic") -> dict[str, Any]:
    """Convert a profile to the content of a darktable ``noiseprofiles.json`` with one camera.

    Parameters
    ----------
    profile : Profile
        A profile with black level, K and read noise at each ISO.
    units : str
        ``"mosaic"`` for the variance of the raw pixels, which stabilises a raw frame to variance 1;
        ``"darktable"`` for the variance that darktable's own profiling would measure (`GREEN_RULE`).

    Returns
    -------
    dict
        JSON content of the file.

    Raises
    ------
    DataError
        Unknown units, or a black level, gain or read noise that the profile does not contain.
    """
    if units not in UNITS:
        raise DataError(f"unknown units {units!r}; expected one of {', '.join(UNITS)}")
    maker, _, model = profile.camera.partition(" ")
    plane = plane_names(profile.layout)[0]
    entries = []
    for iso in profile.isos:
        black = profile.at(iso, plane).value("black_dn")
        if black is None:
            raise DataError(
                f"{profile.camera}: ISO {iso:g} has no black level, which scales the noise; calibrate with darks"
            )
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
    """Write a profile as a darktable ``noiseprofiles.json``.

    Parameters
    ----------
    profile : Profile
        See `darktable_entry`.
    path : path
        File to write.
    units : str
        See `darktable_entry`.
    overwrite : bool
        Whether to replace an existing file that noiseflow wrote.

    Raises
    ------
    DataError
        See `darktable_entry`.
    OutputError
        The file exists, or cannot be written.
    """
    with writing(path, overwrite=overwrite) as path:
        entry = darktable_entry(profile, units=units)
        write_text(path, json_text({**entry, CHECKSUM: checksum_of(entry)}), replace=overwrite)


def stamp_dng(
    profile: Profile,
    dng: str | Path,
    path: str | Path,
    *,
    overwrite: bool = False,
    caution: Callable[[str], None] = lambda words: None,
) -> tuple[tuple[float, float], ...]:
    """Write a copy of a DNG with a NoiseProfile tag from a profile; all other content stays the same.

    Parameters
    ----------
    profile : Profile
        Profile of the camera.
    dng : path
        The DNG; it is not changed.
    path : path
        The copy to write.
    overwrite : bool
        Whether to replace an existing DNG that noiseflow wrote.
    caution : callable
        Called with a sentence for the user if the camera names of file and profile differ.

    Returns
    -------
    tuple of (float, float)
        (S, O) of the tag: for R, G and B, or one pair for a monochrome camera.

    Raises
    ------
    DataError
        The file states no ISO, the profile does not contain that ISO, or the white levels do not match.
    OutputError
        The copy exists, or cannot be written.

    References
    ----------
    Digital Negative specification 1.6, NoiseProfile.
    """
    dng = Path(dng)
    with writing(path, inputs=[dng], overwrite=overwrite) as path:
        image = read_raw(dng)
        if image.iso is None:
            raise DataError(
                f"{dng}: states no ISO, so no setting of {profile.camera} can be chosen; expected a DNG with an ISO"
            )
        if not 1 / SAME_WHITE < image.white / profile.white_dn < SAME_WHITE:
            raise DataError(
                f"{dng}: its white level is {image.white:g} DN, but that of the profile of {profile.camera} is "
                f"{profile.white_dn:g} DN: their codes are on different scales; calibrate with files of this kind"
            )
        if image.camera.lower() != profile.camera.lower():
            caution(f"{dng}: is from {image.camera}, but the profile is of {profile.camera}; are they the same camera?")
        span = image.white - sum(image.black) / len(image.black)
        pairs = normalised_lines(profile, image.iso, span)
        content = dng.read_bytes()
        before = without_end(content)
        copy = stamped(content if before is None else before, pairs, str(dng))
        # The end of a DNG of ours holds a checksum of its content.
        write_bytes(path, copy if before is None else copy + sealed_end([copy]), replace=overwrite)
    return pairs
