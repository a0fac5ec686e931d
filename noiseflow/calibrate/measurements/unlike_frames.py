"""Cautions about frames of one setting whose noise differs, as if some were taken with another gain."""

from pathlib import Path

import numpy as np

from noiseflow.calibrate.sources import Group
from noiseflow.raw.inspection import structure_of, unlike_words

__all__ = ["said_of_unlike"]

LIT_DN = 16.0
"""Frames with more light than this above black, DN, are brought to the same light."""

MOST_ZEROS = 0.01
"""Fraction of pixels at code 0 from which frames are not compared: what is cut off depends on the black level."""


def said_of_unlike(group: Group) -> str:
    """Caution about frames of a setting whose noise differs beyond light and chance; empty if there is none.

    Parameters
    ----------
    group : Group
        Frames of one setting.
    """
    if any(stack.at_black > MOST_ZEROS for stack in group.stacks):
        return ""
    values, where, light = [], [], []
    for stack, black in zip(group.stacks, group.black or (0.0,) * len(group.stacks), strict=True):
        clip = stack.highest if stack.clipped else np.inf
        seen = ((stack.sample > 0) & (stack.sample < clip)).all(0)
        above = stack.frame_means - black
        usual = float(np.median(above))
        ratio = above / usual if usual > LIT_DN else np.ones(len(above))
        steps = stack.sample[:, seen] - stack.frame_means[:, None].astype(np.float32)
        values.append(steps / ratio[:, None].astype(np.float32))
        where.append(np.array(np.divmod(stack.sample_index[seen], stack.mean.shape[1])))
        light.append(ratio)
    names = [Path(source).name for source in group.sources]
    r, steps = np.mean(light, 0), np.concatenate(values, 1)
    # Black that drifts is taken for light, and structure is scaled by it.
    wrong = (r - 1) ** 2 * structure_of(steps)
    expected = np.stack([np.minimum(1 / r, 1 / r**2), np.maximum(1 / r, 1 / r**2) + wrong])
    return unlike_words(names, steps, np.concatenate(where, 1), expected)
