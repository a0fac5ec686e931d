"""Pair each dark frame with the mean of the other darks, which contains the fixed pattern."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from noiseflow.core.errors import RawError
from noiseflow.patches.pairings.frames.motion import Shift
from noiseflow.patches.pairings.frames.sums import Sums
from noiseflow.patches.pairings.pairing import Conclusion, Pairing, Stacking, distinct_frames
from noiseflow.patches.shared_mean import Share
from noiseflow.patches.sources.scene import Scene
from noiseflow.raw.image import RawImage

__all__ = ["DARK"]

LIGHT_PART = 0.02
"""Darks whose mean is further from black than this fraction of the range are doubted."""


def conclude(scene: Scene, sums: Sums, flows: Sequence[Sequence[Shift]]) -> Conclusion:
    """Evaluate a series of darks: means, drift and defective pixels.

    Darks show no scene, so there is no test of motion; a blinking pixel is unsteady.

    Parameters
    ----------
    scene : Scene
        The series.
    sums : Sums
        Sums over its frames.
    flows : sequence of sequence of Shift
        Not used.

    Raises
    ------
    RawError
        If light fell on one of the frames.
    """
    levels = sums.levels
    facts: dict[str, Any] = {
        "frames": sums.count,
        "frame_means_dn": levels.tolist(),
        "drift_dn": float(levels.mean(1).std(ddof=1)),
        "above_black_dn": (levels.mean(0) - sums.black.ravel()).tolist(),
        "defects": sums.defects.facts,
    }
    above = float(np.mean(facts["above_black_dn"]))
    means = levels.mean(1)
    far = int(np.abs(means - np.median(means)).argmax())
    if abs(means[far] - np.median(means)) > LIGHT_PART * float((sums.white - sums.black).mean()):
        raise RawError(
            f"{scene.name}: {scene.frames[far].path.name} has a mean of {means[far]:.5g} DN, but the other darks have "
            f"{np.median(means):.5g} DN: light fell on it, or it was taken with another setting; take it out"
        )
    cautions: tuple[str, ...] = ()
    if abs(above) > LIGHT_PART * float((sums.white - sums.black).mean()):
        cautions = (
            f"{scene.name}: taken for dark, but its mean is {above:.4g} DN above black: did light fall on it, or is "
            "the black level wrong?",
        )
    return Conclusion(facts, cautions)


def share(facts: Mapping[str, Any], number: int, setting: RawImage) -> Share:
    """Clean signal of dark frame n: the mean of the others, shifted to the frame's own mean in each plane.

    The mean contains black level, dark current, shading and each pixel's own offset.  Shifting
    removes the drift of the black level from frame to frame, as EMVA 1288 does for σ_dark: drift
    is not noise of a pixel and cannot be seen in a patch.  It is kept in the scene's facts.  Row
    and column noise remain, except for the mean over the h rows of a plane, 1/h of the row-noise
    variance, which is removed with the drift.

    Parameters
    ----------
    facts : mapping
        Facts of the series, from `conclude`.
    number : int
        Number of the frame.
    setting : RawImage
        Not used.
    """
    levels = np.array(facts["frame_means_dn"])
    rest = np.arange(len(levels)) != number
    own = 1 / (len(levels) - 1)
    offset = levels[number] - levels[rest].mean(0)
    return Share(own, (1.0,) * len(offset), tuple(offset.tolist()), own)


DARK = Pairing(
    summary="the mean of the other darks",
    needs="two dark frames or more",
    how=Stacking(False, conclude, share),
    found=lambda scenes: "all dark according to their folder's name or listing",
    usable=distinct_frames,
    frames=2,
    kind="dark",
)
