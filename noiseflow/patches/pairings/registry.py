"""The registry of pairings, and the choice of one for given scenes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from noiseflow.core.errors import RawError
from noiseflow.core.registry import Registry
from noiseflow.patches.pairings.pairing import Pairing, listed
from noiseflow.patches.sources.scene import Scene

__all__ = ["PAIRINGS", "PairingChoice", "choose_pairing"]

PAIRINGS = Registry[Pairing](
    {
        "gt": "noiseflow.patches.pairings.clean_twin:CLEAN_TWIN",
        "flat": "noiseflow.patches.pairings.flat:FLAT",
        "dark": "noiseflow.patches.pairings.dark:DARK",
        "burst": "noiseflow.patches.pairings.burst:BURST",
        "noisy-pair": "noiseflow.patches.pairings.noisy_pair:NOISY_PAIR",
        "none": "noiseflow.patches.pairings.noisy_pair:UNPAIRED",
    }
)
"""Name → pairing, in the order in which ``auto`` tries them."""


@dataclass(frozen=True)
class PairingChoice:
    """The pairing chosen for some scenes.

    Parameters
    ----------
    pairing : str
        Name in `PAIRINGS`.
    reason : str
        Why it was chosen, for the user.
    scenes : tuple of Scene
        Scenes that are paired.
    left_out : tuple of str
        Names of the other scenes.
    """

    pairing: str
    reason: str
    scenes: tuple[Scene, ...]
    left_out: tuple[str, ...] = ()


def choose_pairing(scenes: Sequence[Scene], wanted: str = "auto") -> PairingChoice:
    """Choose the pairing for scenes, and the scenes that it can pair.

    ``"auto"`` looks only at the files: clean twins, scenes that folders or listings call dark
    or flat, the number of frames.  It never chooses ``"noisy-pair"``, and its reason mentions darks or
    flats among bursts.

    Parameters
    ----------
    scenes : sequence of Scene
        Scenes to pair.
    wanted : str
        ``"auto"`` or a name in `PAIRINGS`.

    Raises
    ------
    RawError
        If there is no scene, the name is unknown, or a scene lacks what the pairing needs.
    """
    if not scenes:
        raise RawError("no scene to pair; expected raw files, folders or data sets")
    if wanted == "auto":
        return _found(scenes)
    if wanted not in PAIRINGS:
        raise RawError(f"pairing {wanted!r} is not known; expected auto, {', '.join(PAIRINGS)}")
    pairing, taken = PAIRINGS[wanted], list(scenes)
    if pairing.kind:
        taken = [scene for scene in scenes if scene.kind == pairing.kind] or taken
    lacking = [scene.name for scene in taken if not pairing.allows(scene)]
    if lacking and pairing.kind:
        # A single dark frame must not make complete series unusable.
        taken = [scene for scene in taken if pairing.allows(scene)]
    if not taken or (lacking and not pairing.kind):
        raise RawError(
            f"pairing {wanted!r} needs {pairing.needs} for every scene; {lacking[0]!r} lacks it"
            + (f" ({len(lacking)} such scenes)" if len(lacking) > 1 else "")
        )
    names = {scene.name for scene in taken}
    left_out = tuple(scene.name for scene in scenes if scene.name not in names)
    reason = f"as requested, for {_count(taken)}"
    if left_out:
        reason += (
            f"; left out {len(left_out)} of {len(scenes)} scenes, of another kind or with a single frame: "
            f"{listed(left_out)}"
        )
    return PairingChoice(wanted, reason, tuple(taken), left_out)


def _found(scenes: Sequence[Scene]) -> PairingChoice:
    """Find the first pairing that all scenes allow."""
    for name, pairing in PAIRINGS.items():
        fits = all(pairing.allows(scene) and pairing.kind in ("", scene.kind) for scene in scenes)
        if pairing.found is not None and fits:
            reason = f"{_count(scenes)}, {pairing.found(scenes)}"
            kinds = {scene.kind for scene in scenes}
            others = [f"--pairing {other}" for other, each in PAIRINGS.items() if each.kind and each.kind in kinds]
            if pairing.stacking is not None and not pairing.kind and others:
                reason += "; to take only some of them: " + " or ".join(others)
            return PairingChoice(name, reason, tuple(scenes))
    raise RawError(f"no pairing fits {_count(scenes)}; choose one of {', '.join(PAIRINGS)}")


def _count(scenes: Sequence[Scene]) -> str:
    """Format the number of scenes and their kinds: ``102 scenes (51 flat, 51 dark)``."""
    kinds = Counter(scene.kind for scene in scenes)
    words = ", ".join(f"{number} {kind or 'of unknown kind'}" for kind, number in kinds.items())
    plural = "s" if len(scenes) > 1 else ""
    return f"{len(scenes)} scene{plural}" + (f" ({words})" if set(kinds) != {""} else "")
