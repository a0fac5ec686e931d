"""darktable's noise profiles, and the rule between their slopes and K."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from noiseflow.calibrate.measurement import Measurement
from noiseflow.calibrate.profiles.profile import Profile, Setting
from noiseflow.calibrate.profiles.published import told
from noiseflow.core.errors import DataError
from noiseflow.core.reading.text import read_json
from noiseflow.raw import plane_names

__all__ = ["GREEN_RULE", "SPREAD", "from_darktable", "green_gain", "green_slopes"]

GREEN_RULE = 0.083
"""darktable's green slope over K/(white − black).

Its profiling takes one demosaiced picture and the diagonal coefficient (a − b − c + d)/4 of
each 2×2 cell for the noise.  Of independent pixels that has a quarter of the variance; in the
demosaiced green half of the pixels are interpolated from the others, so that less is left: 0.093
to 0.096 of the variance for darktable's interpolation of old (edge-directed, PPG) on even grey, and
0.08 as the median of |d|/0.6745, which its profiling takes (tests/calibrate/test_darktable.py
finds both by simulation); 3/64 for a bilinear one.  The eight cameras whose K is known (the same
test) have 0.071 to 0.098, by `green_slopes`; this is their geometric mean.
"""

SPREAD = 0.32
"""Half of the 95 % interval of the logarithm of K by the rule: the logarithms of eight cameras scatter by 0.126, and
0.126·√(1 + 1/8)·2.36 is Student's interval for a ninth, seven degrees of freedom."""

PROPORTIONAL_FROM = 100
"""ISO below which settings may be others with another exposure index."""

STEEP_AT = 0.2
"""Signal, of the range, at which a line whose offset is negative is read: it is too steep, to a variance below 0 in
the dark, but has the variance of its data in the middle of them."""

CAUTION = (
    "from darktable's slopes by the rule of its demosaicing (0.083 of the mosaic's green slope): K to about a third. "
    "The slopes of red and blue hold the noise of green in a part that depends on the picture's colours, and are not "
    "used; above the ISO at which a camera stops amplifying they go on rising"
)


def green_slopes(lines: Iterable[tuple[float, float, float]]) -> dict[float, float]:
    """Slope of the photon noise at each ISO, of the normalised signal, in darktable's units.

    A line with an offset below 0 is read at a fifth of the range.  At low ISOs texture and unequal pixels
    add to the noise of one picture, which nothing takes away: K is in proportion to the ISO, so that from ISO
    100 on a slope is at most the ISO times the lower quartile of slope over ISO.

    Parameters
    ----------
    lines : iterable of (float, float, float)
        ISO, and the elements 1 of ``a`` and ``b``.  What has no variance above 0 at a fifth of the
        range is left out; of two settings of one ISO the lower slope counts.

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
    """K in DN/e⁻ from darktable's green slope, known to a third.

    Parameters
    ----------
    slope : float
        Variance over signal, both normalised: of `green_slopes`.
    span_dn : float
        White less black level, DN.

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
    """One camera of darktable's ``noiseprofiles.json``.

    Parameters
    ----------
    path : path
        /usr/share/darktable/noiseprofiles.json where darktable is installed.
    maker, model : str
        As in the file, in any case of letters.
    black_dn, white_dn : float, optional
        The file does not say them.  With both, K is by the rule of `GREEN_RULE`; without, the
        settings are *relative* and their gain is darktable's green slope itself, good for
        ratios between ISOs.

    Raises
    ------
    DataError
        No such file or camera, another format, levels that hold no range.
    """
    path = Path(path)
    if (black_dn is None) != (white_dn is None):
        raise DataError("darktable: expected both black_dn and white_dn, or neither")
    scaled = black_dn is not None and white_dn is not None
    span = white_dn - black_dn if black_dn is not None and white_dn is not None else 1.0
    if not span > 0:
        raise DataError(f"darktable: the white level {white_dn} DN is not above black, {black_dn} DN")
    settings = []
    try:
        entries = _profiles(read_json(path, "darktable's noiseprofiles.json", DataError), maker, model)
        lines = {
            float(entry["iso"]): [[float(value) for value in entry[name]] for name in ("a", "b")] for entry in entries
        }
        if any(len(a) != 3 or len(b) != 3 or not a[1] > 0 for a, b in lines.values()):
            raise ValueError("expected three slopes above 0 and three offsets at each ISO")
        for iso, slope in green_slopes((iso, a[1], b[1]) for iso, (a, b) in lines.items()).items():
            gain = green_gain(slope, span) if scaled else told(slope, "DN/e-")
            facts = {"darktable_a": lines[iso][0], "darktable_b": lines[iso][1]}
            kind = "published" if scaled else "relative"
            settings += [
                Setting(iso, plane, {"gain_dn_per_e": gain}, (), facts, kind) for plane in plane_names("bayer")
            ]
        if not settings:
            raise ValueError("only settings that are not physical")
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DataError(f"{path}: no darktable noise profile of {maker} {model} ({error!r})") from error
    caution = CAUTION if scaled else "darktable's slopes are of a demosaiced signal: ratios between ISOs only"
    provenance = {"method": "darktable noiseprofiles.json", "sources": [str(path)]}
    return Profile(f"{maker} {model}", "bayer", white_dn or 1.0, tuple(settings), provenance, (caution,))


def _profiles(data: Any, maker: str, model: str) -> list[dict[str, Any]]:
    makers = {entry["maker"].lower(): entry for entry in data["noiseprofiles"]}
    models = {entry["model"].lower(): entry for entry in makers[maker.lower()]["models"]}
    return [entry for entry in models[model.lower()]["profiles"] if not entry.get("skip")]
