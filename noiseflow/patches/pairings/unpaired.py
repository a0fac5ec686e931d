"""Each frame alone: its clean signal is not known."""

import numpy as np

from noiseflow.patches.pairings.pairing import Pair, Pairing, Reference, all_frames, plain_reference
from noiseflow.patches.scenes import Scene

__all__ = ["UNPAIRED"]


def pair(scene: Scene, number: int, reference: Reference) -> Pair:
    """A frame and NaN."""
    noisy = scene.frames[number].read()
    return Pair(scene.frames[number], number, noisy, np.full(noisy.planes().shape, np.nan, np.float32), 0.0)


UNPAIRED = Pairing("nothing", lambda scene: True, all_frames, plain_reference, pair)
