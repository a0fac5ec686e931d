"""Each dark frame with the fixed pattern that the other darks show."""

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
"""A dark whose mean is further than this part of the range from black is said to be none."""


def conclude(scene: Scene, sums: Sums, flows: Sequence[Sequence[Shift]]) -> Conclusion:
    """Dark shading and fixed pattern in one mean; hot, stuck and unsteady pixels.

    There is no test of motion, since there is nothing to move: a pixel that blinks is
    unsteady.
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
            f"{scene.name}: {scene.frames[far].path.name} has a mean of {means[far]:.5g} DN, the other darks of "
            f"{np.median(means):.5g}: light fell on it, or it is of another setting; take it out"
        )
    cautions: tuple[str, ...] = ()
    if abs(above) > LIGHT_PART * float((sums.white - sums.black).mean()):
        cautions = (
            f"{scene.name}: taken for dark, but its mean is {above:.4g} DN above black: light, or another black level?",
        )
    return Conclusion(facts, cautions)


def share(facts: Mapping[str, Any], number: int, setting: RawImage) -> Share:
    """Frame n's clean signal: the others' mean, moved plane by plane to the frame's own mean.

    The mean is black level, dark current, shading and each pixel's own offset in one.  The
    drift of the black level from frame to frame is taken out, as EMVA 1288 takes it out of
    σ_dark: it is no noise of a pixel, and a patch cannot show it; it is kept as a fact,
    frame by frame.  Row and column noise stay in: the mean over all rows of a plane, the
    part 1/h of the row noise's variance, goes out with the drift.
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
    found=lambda scenes: "all dark by their folder's name or listing",
    usable=distinct_frames,
    frames=2,
    kind="dark",
)
