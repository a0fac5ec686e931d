"""A pairing by the mean of a scene's frames, made of its steps."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from noiseflow.patches.pairings.pairing import Conclusion, Pair, Pairing, Reference, Stacking
from noiseflow.patches.pairings.shift import frame_shifts
from noiseflow.patches.pairings.stack import in_memory
from noiseflow.patches.pairings.sums import Sums, strips, sum_strip
from noiseflow.patches.sources.scene import Scene

__all__ = ["distinct", "mask_moving", "stacked"]


def stacked(needs: str, allows: Callable[[Scene], bool], stacking: Stacking) -> Pairing:
    """The pairing that these steps make: all at once, with the frames in memory.

    Parameters
    ----------
    needs, allows
        As of `Pairing`.
    stacking : Stacking
    """

    def prepare(scene: Scene) -> Reference:
        stack = in_memory(scene)
        found = [sum_strip(stack, blocks, structured=stacking.structured) for blocks in strips(stack.shape)]
        sums = Sums(stack, [each.arrays() for each in found], [each.defects for each in found])
        mean = np.concatenate([each.mean for each in found], 1)
        flows = frame_shifts(stack, mean, range(len(stack.frames))) if stacking.structured else []
        conclusion = stacking.conclude(scene, sums, flows)
        valid = ~np.concatenate([each.defects.mask for each in found], 1)
        mask_moving(valid, sums, conclusion)
        facts = {**conclusion.facts, "masked_pixels": int(valid.size - valid.sum())}
        return Reference({"mean": mean, "valid": valid}, facts, conclusion.cautions)

    def pair(scene: Scene, number: int, reference: Reference) -> Pair:
        noisy = scene.frames[number].read()
        share = stacking.share(reference.facts, number, noisy)
        clean = share.clean(reference.arrays["mean"], noisy.planes())
        return Pair(scene.frames[number], number, noisy, clean, share.clean_variance, reference.arrays["valid"])

    return Pairing(needs, allows, distinct, prepare, pair, stacking)


def mask_moving(valid: NDArray[np.bool_], sums: Sums, conclusion: Conclusion) -> None:
    """Call the pixels of blocks that move not valid, in place.

    Parameters
    ----------
    valid : ndarray, shape (4, h, w)
    sums : Sums
    conclusion : Conclusion
    """
    if conclusion.moving is not None and conclusion.moving.any():
        valid &= ~sums.blocks.spread(conclusion.moving)


def distinct(scene: Scene) -> Sequence[int]:
    """All frames; of two the first, since the second's pair is the first's with its sign turned."""
    return range(len(scene.frames) if len(scene.frames) > 2 else 1)
