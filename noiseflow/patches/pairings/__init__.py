"""From a scene's frames to pairs of noisy and clean signal.

To add a pairing, write a module with a `Pairing` and give it a line in `PAIRINGS`.
"""

from collections.abc import Sequence

from noiseflow.patches.pairings.burst import BURST
from noiseflow.patches.pairings.choosing import Choice, choose
from noiseflow.patches.pairings.clean_twin import CLEAN_TWIN
from noiseflow.patches.pairings.dark import DARK
from noiseflow.patches.pairings.flat import FLAT
from noiseflow.patches.pairings.noisy_pair import NOISY_PAIR
from noiseflow.patches.pairings.pairing import Pair, Pairing, Reference
from noiseflow.patches.pairings.unpaired import UNPAIRED
from noiseflow.patches.sources.scene import Scene

__all__ = ["PAIRINGS", "Choice", "Pair", "Pairing", "Reference", "choose_pairing"]

PAIRINGS: dict[str, Pairing] = {
    "gt": CLEAN_TWIN,
    "burst": BURST,
    "flat": FLAT,
    "dark": DARK,
    "noisy-pair": NOISY_PAIR,
    "none": UNPAIRED,
}
"""Ways to pair: a clean twin, a static burst, flats, darks, two noisy frames, or none."""


def choose_pairing(scenes: Sequence[Scene], wanted: str = "auto") -> Choice:
    """The pairing to use for scenes, why, and which of them it takes.

    ``"auto"`` goes by the files alone: clean twins, what folders and listings call dark or
    flat, the number of frames.  It never takes ``"noisy-pair"``, and says when darks or
    flats are among bursts.

    Parameters
    ----------
    scenes : sequence of Scene
    wanted : str
        ``"auto"`` or a name in `PAIRINGS`.

    Raises
    ------
    RawError
        If there is no scene, the name is not known, or a scene lacks what the wanted pairing needs.
    """
    return choose(scenes, wanted, PAIRINGS)
