"""darktable's noise profiles, and the rule between their slopes and K."""

import json
import math
from pathlib import Path
from typing import Any

from noiseflow.calibrate.measurement import Measurement
from noiseflow.calibrate.profiles.profile import Profile, Setting
from noiseflow.calibrate.profiles.published import told
from noiseflow.core.errors import DataError
from noiseflow.raw import plane_names

__all__ = ["GREEN_RULE", "from_darktable", "green_gain"]

GREEN_RULE = 0.095
"""darktable's green slope over K/(white − black).

Its profiling takes one demosaiced picture and the diagonal coefficient (a − b − c + d)/4 of
each 2×2 cell for the noise.  Of independent pixels that has a quarter of the variance; in the
demosaiced green half of the pixels are interpolated from the others, so that less is left: 0.093
to 0.096 of the variance for darktable's interpolation of old (edge-directed, PPG) on even grey, and
0.08 as the median of |d|/0.6745, which its profiling takes (tests/calibrate/test_darktable.py
finds both by simulation); 3/64 for a bilinear one.  Cameras whose K is known lie between 0.077
and 0.115.
"""

SPREAD = 0.35
"""Half of the 95 % interval of the logarithm of K by the rule: ln(0.115/0.095) = 0.19 and
ln(0.095/0.077) = 0.21 were seen (Sony A7R, A7R III, Nikon D5100), of few cameras."""

CAUTION = (
    "from darktable's slopes by the rule of its demosaicing (0.095 of the mosaic's green slope): K to about a third. "
    "The slopes of red and blue hold the noise of green in a part that depends on the picture's colours, and are not "
    "used; above the ISO at which a camera stops amplifying they go on rising"
)


def green_gain(slope: float, span_dn: float) -> Measurement:
    """K in DN/e⁻ from darktable's green slope, known to a third.

    Parameters
    ----------
    slope : float
        Element 1 of ``a``: variance over signal, both normalised.
    span_dn : float
        White less black level, DN.

    Examples
    --------
    >>> round(green_gain(2.4537e-6, 16383).value, 2)    # Nikon D5100, ISO 100; measured 0.35
    0.42
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
        for entry in _profiles(json.loads(path.read_text(encoding="utf-8")), maker, model):
            a, b = ([float(value) for value in entry[name]] for name in ("a", "b"))
            if len(a) != 3 or not a[1] > 0:
                raise ValueError(f"a = {a}; expected three slopes above 0")
            gain = green_gain(a[1], span) if scaled else told(a[1], "DN/e-")
            facts = {"darktable_a": a, "darktable_b": b}
            kind = "published" if scaled else "relative"
            settings += [
                Setting(float(entry["iso"]), plane, {"gain_dn_per_e": gain}, (), facts, kind)
                for plane in plane_names("bayer")
            ]
    except (KeyError, IndexError, TypeError, ValueError, OSError) as error:
        raise DataError(f"{path}: no darktable noise profile of {maker} {model} ({error!r})") from error
    caution = CAUTION if scaled else "darktable's slopes are of a demosaiced signal: ratios between ISOs only"
    provenance = {"method": "darktable noiseprofiles.json", "sources": [str(path)]}
    return Profile(f"{maker} {model}", "bayer", white_dn or 1.0, tuple(settings), provenance, (caution,))


def _profiles(data: Any, maker: str, model: str) -> list[dict[str, Any]]:
    makers = {entry["maker"].lower(): entry for entry in data["noiseprofiles"]}
    models = {entry["model"].lower(): entry for entry in makers[maker.lower()]["models"]}
    return [entry for entry in models[model.lower()]["profiles"] if not entry.get("skip")]
