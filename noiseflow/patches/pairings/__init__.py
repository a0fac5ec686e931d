"""Pair the frames of a scene with their clean signals.

To add a pairing, write a module that defines a `Pairing`, and add a line to `PAIRINGS`.
"""

from noiseflow.patches.pairings.pairing import FramePair, Pairing, Reference
from noiseflow.patches.pairings.registry import PAIRINGS, PairingChoice, choose_pairing

__all__ = ["PAIRINGS", "FramePair", "Pairing", "PairingChoice", "Reference", "choose_pairing"]
