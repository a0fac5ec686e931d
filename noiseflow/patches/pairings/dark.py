"""Each dark frame with the fixed pattern that the other darks show."""

from typing import Any

import numpy as np

from noiseflow.patches.defects import find_defects
from noiseflow.patches.pairings.burst import distinct, mean_of_others
from noiseflow.patches.pairings.pairing import Pair, Pairing, Reference
from noiseflow.patches.pairings.sums import sum_frames
from noiseflow.patches.sources.scene import Scene

__all__ = ["DARK"]

LIGHT_PART = 0.02
"""A dark whose mean is further than this part of the range from black is said to be none."""


def prepare(scene: Scene) -> Reference:
    """Sum the frames: dark shading and fixed pattern; find hot, stuck and unsteady pixels.

    There is no test of motion, since there is nothing to move: a pixel that blinks is
    unsteady.
    """
    sums = sum_frames(scene)
    levels = np.array(sums.levels)
    defects = find_defects(
        sums.mean,
        sums.variance,
        sums.count,
        levels=(sums.black, sums.white),
        drift_variance=sums.drift_variance(),
        structured=False,
    )
    facts: dict[str, Any] = {
        "frames": sums.count,
        "frame_means_dn": levels.tolist(),
        "drift_dn": float(levels.mean(1).std(ddof=1)),
        "above_black_dn": (levels.mean(0) - sums.black.ravel()).tolist(),
        "masked_pixels": int(defects.mask.sum()),
        "defects": defects.facts,
    }
    above = float(np.mean(facts["above_black_dn"]))
    cautions: tuple[str, ...] = ()
    if abs(above) > LIGHT_PART * float((sums.white - sums.black).mean()):
        cautions = (
            f"{scene.name}: taken for dark, but its mean is {above:.4g} DN above black: light, or another black level?",
        )
    return Reference({"total": sums.total, "valid": ~defects.mask}, facts, cautions)


def pair(scene: Scene, number: int, reference: Reference) -> Pair:
    """Frame n with the others' mean, moved plane by plane to the frame's own mean.

    The mean is black level, dark current, shading and each pixel's own offset in one.  The
    drift of the black level from frame to frame is taken out, as EMVA 1288 takes it out of
    σ_dark: it is no noise of a pixel, and a patch cannot show it; it is kept as a fact,
    frame by frame.  Row and column noise stay in: the mean over all rows of a plane, the
    part 1/h of the row noise's variance, goes out with the drift.
    """
    noisy = scene.frames[number].read()
    planes, levels = noisy.planes(), np.array(reference.facts["frame_means_dn"])
    clean = mean_of_others(reference.arrays["total"], planes, len(levels))
    rest = np.arange(len(levels)) != number
    clean += (levels[number] - levels[rest].mean(0)).astype(np.float32)[:, None, None]
    return Pair(scene.frames[number], number, noisy, clean, 1 / (len(levels) - 1), reference.arrays["valid"])


DARK = Pairing(
    "two dark frames or more", lambda scene: scene.kind != "flat" and len(scene.frames) >= 2, distinct, prepare, pair
)
