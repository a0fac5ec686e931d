"""How a camera makes its ISOs: steps of the conversion gain, and gain that is only multiplication."""

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
"""Standard errors by which the read noise must fall to be called a step."""

LEAST = 0.9
"""Read noise above a step over that below it, at the most: drift between series makes less."""


@dataclass(frozen=True)
class ConversionStep:
    """A switch of the conversion gain before the amplifier (dual gain).

    Parameters
    ----------
    below, above : float
        Measured ISOs between which it lies.
    factor : float
        Read noise in DN above the step over that below it.
    """

    below: float
    above: float
    factor: float


def conversion_steps(settings: Sequence[Setting]) -> tuple[ConversionStep, ...]:
    """Where the conversion gain is switched, from the read noise of one plane over ISO.

    One chain of amplifier and converter has σ_DN² = (K σ_before)² + σ_after², which only
    grows with K.  A read noise in DN that *falls* while the ISO rises means that the
    capacitance of the pixel was switched, so that less amplification makes the same K.

    Parameters
    ----------
    settings : sequence of Setting
        Settings of one plane.
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
    """Factor by which the codes were multiplied after the converter, from the gaps that it leaves.

    Multiplied by g > 1 and rounded, only one code in g occurs.  Codes between the 10 and
    90 % quantiles are looked at, where every code of an unmultiplied signal is sure to
    occur.

    Parameters
    ----------
    codes : ndarray of whole numbers
        Codes of frames of one level.

    Returns
    -------
    float or None
        1 where no code is missing; None where there are too few codes or pixels to say.

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
    """What one plane's settings over ISO say of how the camera makes them, in words."""
    notes = [
        f"the read noise falls to {step.factor:.2f} of itself between ISO {step.below:g} and {step.above:g}: the "
        "conversion gain is switched there (dual gain); no read noise in between is to be interpolated"
        for step in conversion_steps(settings)
    ]
    measured = [setting for setting in settings if setting.kind == "measured"]
    law = law_of(measured)
    if law is not None and np.isfinite(law.top_iso):
        notes.append(
            f"K is the same at every ISO from {law.top_iso:g} on: the raw codes are not amplified further, only "
            "the label changes (the picture is brightened afterwards). Expose there at the lower ISO"
        )
    return notes
