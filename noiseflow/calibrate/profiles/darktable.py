"""darktable's noise profiles, and the empirical rule that converts their slopes to K."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from noiseflow.calibrate.measurement import Measurement
from noiseflow.calibrate.profiles.profile import Profile, Setting
from noiseflow.calibrate.profiles.published import without_error
from noiseflow.core.errors import DataError
from noiseflow.core.reading.text import read_json
from noiseflow.raw import plane_names

__all__ = ["GREEN_RULE", "SPREAD", "from_darktable", "green_gain", "green_slopes", "in_words"]

GREEN_RULE = 0.083
"""Ratio of darktable's green slope to K/(white − black), the slope in the mosaic.

darktable's profiling measures the noise of one demosaiced picture by the diagonal coefficient (a − b − c + d)/4 of
each 2×2 cell.  For independent pixels, its variance would be a quarter of the pixels'.  In demosaiced green, half
of the pixels are interpolated from the others, so less is left.  With darktable's former interpolation (edge-directed,
PPG) on even grey, 0.093 to 0.096 of the variance are left, and 0.08 by the median of |d|/0.6745, which the profiling
uses (tests/calibrate/test_darktable.py finds both by simulation); a bilinear interpolation would leave 3/64.  The eight
cameras of known K (same test) have ratios of 0.071 to 0.098 by `green_slopes`; this is their geometric mean.
"""

SPREAD = 0.32
"""Half width of the 95 % interval of ln K by the rule.  The logarithms of eight cameras have a standard deviation of
0.126; 0.126·√(1 + 1/8)·2.36 is Student's prediction interval for a ninth, with seven degrees of freedom."""

PROPORTIONAL_FROM = 100
"""Lowest ISO at which slopes are taken as proportional to ISO; lower ones may be other settings with a lower exposure
index."""

STEEP_AT = 0.2
"""Signal, as a fraction of the range, at which a line with a negative offset is evaluated.  Such a line is too steep,
as the variance cannot be negative in the dark, but it is right in the middle of its data."""

CAUTION = (
    "K comes from darktable's slopes by an empirical rule for its demosaicing (0.083 of the mosaic's green slope), and "
    "is accurate to about a third. The slopes of red and blue are not used: they include the noise of green by an "
    "amount that depends on the picture's colours. Above the ISO at which the camera stops amplifying, K still rises"
)


def green_slopes(lines: Iterable[tuple[float, float, float]]) -> dict[float, float]:
    """Extract the slope of the photon noise at each ISO from darktable's lines of green.

    A line with a negative offset is evaluated at a fifth of the range.  At low ISOs, texture and unequal pixel
    response add to the noise of a single picture and raise the slope.  As K is proportional to ISO, a slope from ISO
    100 on is limited to the ISO times the lower quartile of slope/ISO.

    Parameters
    ----------
    lines : iterable of (float, float, float)
        ISO, and the green elements (index 1) of darktable's ``a`` and ``b``.  Lines without a positive variance at a
        fifth of the range are left out; of two lines at one ISO, the lower slope counts.

    Returns
    -------
    dict of float to float
        Slope of the normalised variance over the normalised signal at each ISO, by rising ISO.

    Examples
    --------
    >>> green_slopes([(100, 3e-6, 0.0), (200, 4e-6, 0.0), (400, 8e-6, 1e-8), (800, 1.8e-5, -4e-7)])
    {100: 2e-06, 200: 4e-06, 400: 8e-06, 800: 1.6e-05}
    """
    slopes: dict[float, float] = {}
    for iso, slope, offset in lines:
        read = slope + min(offset, 0.0) / STEEP_AT
        if slope > 0 and read > 0 and math.isfinite(read):
            slopes[iso] = min(read, slopes.get(iso, math.inf))
    rising = sorted(slope / iso for iso, slope in slopes.items() if iso >= PROPORTIONAL_FROM)
    if not rising:
        return dict(sorted(slopes.items()))
    typical = rising[(len(rising) - 1) // 4]
    return {
        iso: min(slope, typical * iso) if iso >= PROPORTIONAL_FROM else slope for iso, slope in sorted(slopes.items())
    }


def green_gain(slope: float, span_dn: float) -> Measurement:
    """Convert darktable's green slope to K, accurate to about a third.

    Parameters
    ----------
    slope : float
        Slope of variance over signal, both normalised, as from `green_slopes`.
    span_dn : float
        White minus black level, DN.

    Returns
    -------
    Measurement
        K, DN/e⁻.

    Examples
    --------
    >>> round(green_gain(1.918e-6, 16383).value, 2)    # Nikon D5100, ISO 100; measured 0.35
    0.38
    """
    value = slope * span_dn / GREEN_RULE
    ends = (value * math.exp(-SPREAD), value * math.exp(SPREAD))
    return Measurement(value, value * SPREAD / 2, ends, "DN/e-")


def from_darktable(
    path: str | Path, maker: str, model: str, *, black_dn: float | None = None, white_dn: float | None = None
) -> Profile:
    """Read the profile of one camera from darktable's ``noiseprofiles.json``.

    Parameters
    ----------
    path : path
        The file; /usr/share/darktable/noiseprofiles.json where darktable is installed.
    maker, model : str
        Names as in the file, in upper or lower case.
    black_dn, white_dn : float, optional
        Black and white level, DN, which the file does not state.  With both, K follows from `GREEN_RULE`.  Without
        them, the settings are *relative*: their gain is darktable's green slope, valid for ratios between ISOs only.

    Returns
    -------
    Profile
        K at each ISO, the same for all planes of a Bayer mosaic.

    Raises
    ------
    DataError
        No such file or camera, another format, only one of the levels, or a white level not above black.
    """
    path = Path(path)
    if (black_dn is None) != (white_dn is None):
        raise DataError(f"darktable: expected both black_dn and white_dn, or neither; got {black_dn} and {white_dn}")
    scaled = black_dn is not None and white_dn is not None
    span = white_dn - black_dn if black_dn is not None and white_dn is not None else 1.0
    if not span > 0:
        raise DataError(f"darktable: expected a white level above the black level; got {white_dn} DN and {black_dn} DN")
    settings = []
    try:
        entries = _profiles(path, maker, model)
        lines = {
            float(entry["iso"]): [[float(value) for value in entry[name]] for name in ("a", "b")] for entry in entries
        }
        if any(len(a) != 3 or len(b) != 3 or not a[1] > 0 for a, b in lines.values()):
            raise ValueError("expected three slopes above 0 and three offsets at each ISO")
        for iso, slope in green_slopes((iso, a[1], b[1]) for iso, (a, b) in lines.items()).items():
            gain = green_gain(slope, span) if scaled else without_error(slope, "DN/e-")
            facts = {"darktable_a": lines[iso][0], "darktable_b": lines[iso][1]}
            kind = "published" if scaled else "relative"
            settings += [
                Setting(iso, plane, {"gain_dn_per_e": gain}, (), facts, kind) for plane in plane_names("bayer")
            ]
        if not settings:
            raise ValueError("no setting has a positive slope and variance")
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DataError(f"{path}: no darktable noise profile of {maker} {model}: {in_words(error)}") from error
    caution = CAUTION if scaled else "darktable's slopes are of a demosaiced signal: use ratios between ISOs only"
    provenance = {"method": "darktable noiseprofiles.json", "sources": [str(path)]}
    return Profile(f"{maker} {model}", "bayer", white_dn or 1.0, tuple(settings), provenance, (caution,))


def in_words(error: Exception) -> str:
    """Return what was wrong with a database, for a message."""
    if isinstance(error, KeyError):
        return f"it has no entry {error}"
    return str(error) if isinstance(error, ValueError) else "its entries have another structure"


def _profiles(path: Path, maker: str, model: str) -> list[dict[str, Any]]:
    data = read_json(path, "darktable's noiseprofiles.json", DataError)
    for one in data["noiseprofiles"]:
        for camera in one["models"] if one["maker"].lower() == maker.lower() else ():
            if camera["model"].lower() == model.lower():
                return [entry for entry in camera["profiles"] if not entry.get("skip")]
    raise DataError(f"{path}: has no camera {maker} {model}; `noiseflow profiles --darktable {path}` lists them")
