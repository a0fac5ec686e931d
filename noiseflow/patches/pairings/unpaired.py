"""Each frame alone: its clean signal is not known."""

from noiseflow.patches.pairings.pairing import Pair, Pairing, Reference, all_frames, plain_reference
from noiseflow.patches.sources.scene import Scene

__all__ = ["UNPAIRED"]


def pair(scene: Scene, number: int, reference: Reference) -> Pair:
    """A frame and nothing."""
    return Pair(scene.frames[number], number, scene.frames[number].read(), None, 0.0)


UNPAIRED = Pairing("nothing", lambda scene: True, all_frames, plain_reference, pair)
