"""How a camera implements its ISOs: switches of the conversion gain, and digital gain."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.calibrate.measurements.gain_law import law_of
from noiseflow.calibrate.profiles.profile import Setting

__all__ = ["ConversionStep", "conversion_steps", "digital_gain", "gain_notes"]

SURE = 3.0
"""Standard errors by which the read noise must fall to count as a step."""

LEAST = 0.9
"""Largest ratio of read noise above a step to that below it; drift between series stays closer to 1."""


@dataclass(frozen=True)
class ConversionStep:
    """A switch of the conversion gain before the amplifier (dual gain).

    Parameters
    ----------
    below, above : float
        Measured ISOs on either side of the switch.
    factor : float
        Read noise in DN at `above` divided by that at `below`; less than 1.
    """

    below: float
    above: float
    factor: float


def conversion_steps(settings: Sequence[Setting]) -> tuple[ConversionStep, ...]:
    """Find the ISOs between which the conversion gain is switched, from the read noise of one plane.

    A single chain of amplifier and converter has σ_DN² = (K σ_before)² + σ_after², which can only
    grow with K.  A read noise in DN that *falls* while the ISO rises therefore means that the pixel's
    capacitance was switched, and less amplification gives the same K.

    Parameters
    ----------
    settings : sequence of Setting
        Settings of one plane, in any order.  Those without a read noise are ignored.

    Returns
    -------
    tuple of ConversionStep
        The switches, by rising ISO.
    """
    known = sorted((s for s in settings if "read_noise_dn" in s.estimates), key=lambda setting: setting.iso)
    steps = []
    for below, above in itertools.pairwise(known):
        a, b = (setting.estimates["read_noise_dn"] for setting in (below, above))
        sure = SURE * float(np.hypot(a.standard_error, b.standard_error))
        if a.value > 0 and b.value < LEAST * a.value and a.value - b.value > sure:
            steps.append(ConversionStep(below.iso, above.iso, b.value / a.value))
    return tuple(steps)


def digital_gain(codes: NDArray[Any]) -> float | None:
    """Estimate the factor by which the codes were multiplied after the converter, from unused codes.

    After multiplication by g > 1 and rounding, only one code in g occurs.  The codes between the 10 and
    90 % quantiles are counted: there, every code of an unmultiplied signal would occur.

    Parameters
    ----------
    codes : ndarray of whole numbers, any shape
        Codes of frames at one level of light, DN.

    Returns
    -------
    float or None
        The factor, 1 if no code is missing; None if there are too few codes or pixels to decide.

    Examples
    --------
    >>> codes = np.random.default_rng(0).normal(500, 10, 100_000).round()
    >>> digital_gain(codes), round(digital_gain((1.6 * codes).round()), 1)
    (1.0, 1.6)
    """
    values = np.asarray(codes).ravel().astype(np.int64)
    low, high = (int(end) for end in np.quantile(values, [0.1, 0.9]))
    width = high - low + 1
    inside = values[(values >= low) & (values <= high)]
    if width < 6 or inside.size < 50 * width:
        return None
    return width / len(np.unique(inside))


def gain_notes(settings: Sequence[Setting]) -> list[str]:
    """Describe how the camera implements its ISOs, as sentences for the user.

    Parameters
    ----------
    settings : sequence of Setting
        Settings of one plane.

    Returns
    -------
    list of str
        One sentence per switch of the conversion gain, and one if K is constant above some ISO.
    """
    notes = [
        f"between ISO {step.below:g} and {step.above:g} the read noise in DN falls to {step.factor:.2f} of its value: "
        "the conversion gain is switched there (dual gain); do not interpolate the read noise in between"
        for step in conversion_steps(settings)
    ]
    measured = [setting for setting in settings if setting.kind == "measured"]
    law = law_of(measured)
    if law is not None and np.isfinite(law.top_iso):
        notes.append(
            f"K is constant from ISO {law.top_iso:g} on: the raw codes are not amplified further, and only the label "
            f"changes (the picture is brightened afterwards). Use ISO {law.top_iso:g} instead of higher ones"
        )
    return notes
