"""Two noisy frames of one scene, kept as such."""

from collections.abc import Sequence

import numpy as np

from noiseflow.patches.pairings.pairing import Pair, Pairing, Reference, plain_reference
from noiseflow.patches.sources.scene import Scene
from noiseflow.patches.stack import same_setting

__all__ = ["NOISY_PAIR"]


def firsts(scene: Scene) -> Sequence[int]:
    """Frames 0, 2, 4 …: each frame is in one pair, a last odd one in none."""
    return range(0, len(scene.frames) - 1, 2)


def pair(scene: Scene, number: int, reference: Reference) -> Pair:
    """Frame n, and the codes of frame n + 1 as its `clean`, of the same noise variance.

    Nothing is corrected: drift and flicker between the two stay in, and a scene that moves
    is not found out.
    """
    noisy, other = (scene.frames[n].read() for n in (number, number + 1))
    same_setting(noisy, other)
    return Pair(scene.frames[number], number, noisy, other.planes().astype(np.float32), 1.0)


NOISY_PAIR = Pairing("two frames or more", lambda scene: len(scene.frames) >= 2, firsts, plain_reference, pair)
