"""Two noisy frames of one scene, kept as such."""

from collections.abc import Sequence

import numpy as np

from noiseflow.patches.pairings.pairing import Pair, Pairing, Reference, plain_reference
from noiseflow.patches.pairings.stack import same_setting
from noiseflow.patches.sources.scene import Scene

__all__ = ["NOISY_PAIR"]


def firsts(scene: Scene) -> Sequence[int]:
    """Frames 0, 2, 4 …: each frame is in one pair, a last odd one in none."""
    return range(0, len(scene.frames) - 1, 2)


def pair(scene: Scene, number: int, reference: Reference) -> Pair:
    """Frame n, and the codes of frame n + 1 as its `clean`, of the same noise variance.

    Nothing is corrected: drift and flicker between the two stay in, and a scene that moves
    is not found out.  Where the second frame is clipped the pair is not valid; the first is
    looked at as of any pairing.
    """
    noisy, other = (scene.frames[n].read() for n in (number, number + 1))
    same_setting(noisy, other)
    codes = other.planes()
    valid = (codes > 0) & (codes < other.white)
    return Pair(scene.frames[number], number, noisy, codes.astype(np.float32), 1.0, None if valid.all() else valid)


NOISY_PAIR = Pairing("two frames or more", lambda scene: len(scene.frames) >= 2, firsts, plain_reference, pair)
