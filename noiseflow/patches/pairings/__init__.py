"""From a scene's frames to pairs of noisy and clean signal.

To add a pairing, write a module with a `Pairing` and give it a line in `PAIRINGS`.
"""

from noiseflow.patches.pairings.pairing import FramePair, Pairing, Reference
from noiseflow.patches.pairings.registry import PAIRINGS, PairingChoice, choose_pairing

__all__ = ["PAIRINGS", "FramePair", "Pairing", "PairingChoice", "Reference", "choose_pairing"]
