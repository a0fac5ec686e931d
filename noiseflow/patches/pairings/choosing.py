"""Which pairing, by what the files are."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from noiseflow.core.errors import RawError
from noiseflow.patches.pairings.pairing import Pairing
from noiseflow.patches.sources.scene import Scene

__all__ = ["Choice", "choose"]

SELECTIVE = ("flat", "dark")
"""Pairings that take scenes of their own kind, where files say what they are, and leave out the others."""


@dataclass(frozen=True)
class Choice:
    """A pairing, and why.

    Parameters
    ----------
    pairing : str
        Name in `PAIRINGS`.
    reason : str
        What was found, in words, to say aloud.
    scenes : tuple of Scene
        Those that it takes.
    left_out : tuple of str
        Names of the others.
    """

    pairing: str
    reason: str
    scenes: tuple[Scene, ...]
    left_out: tuple[str, ...] = ()


def choose(scenes: Sequence[Scene], wanted: str, pairings: Mapping[str, Pairing]) -> Choice:
    """The pairing to use for scenes: the one wanted, if they allow it, or the best they allow.

    Raises
    ------
    RawError
        If there is no scene, the name is not known, or a scene lacks what the wanted pairing needs.
    """
    if not scenes:
        raise RawError("no scene to pair; expected raw files, folders or data sets")
    if wanted == "auto":
        return _found(scenes, pairings)
    if wanted not in pairings:
        raise RawError(f"pairing {wanted!r} is not known; expected auto, {', '.join(pairings)}")
    taken = list(scenes)
    if wanted in SELECTIVE:
        taken = [scene for scene in scenes if scene.kind == wanted] or taken
    pairing = pairings[wanted]
    lacking = [scene.name for scene in taken if not pairing.allows(scene)]
    if lacking and wanted in SELECTIVE:
        # A single dark beside whole series is no reason to refuse the series.
        taken = [scene for scene in taken if pairing.allows(scene)]
    if not taken or (lacking and wanted not in SELECTIVE):
        raise RawError(
            f"pairing {wanted!r} needs {pairing.needs} for every scene; {lacking[0]!r} has none"
            + (f" ({len(lacking)} such scenes)" if len(lacking) > 1 else "")
        )
    names = {scene.name for scene in taken}
    left_out = tuple(scene.name for scene in scenes if scene.name not in names)
    reason = f"as asked, for {_count(taken)}"
    if left_out:
        reason += (
            f"; left out {len(left_out)} of {len(scenes)} scenes, not {wanted} or single frames: {_listed(left_out)}"
        )
    return Choice(wanted, reason, tuple(taken), left_out)


def _found(scenes: Sequence[Scene], pairings: Mapping[str, Pairing]) -> Choice:
    """The first of gt, dark or flat (if all are), burst that every scene allows; none otherwise."""
    every = tuple(scenes)
    if all(pairings["gt"].allows(scene) for scene in every):
        return Choice("gt", f"{_count(every)}, each with a clean twin", every)
    for kind in SELECTIVE:
        if all(scene.kind == kind and pairings[kind].allows(scene) for scene in every):
            return Choice(kind, f"{_count(every)}, all {kind} by their folder's name or listing", every)
    if all(pairings["burst"].allows(scene) for scene in every):
        reason = f"{_count(every)}, each of two frames or more and without a clean twin"
        marked = [kind for kind in SELECTIVE if any(scene.kind == kind for scene in every)]
        if marked:
            reason += "; to take only some of them: " + " or ".join(f"--pairing {kind}" for kind in marked)
        return Choice("burst", reason, every)
    single = [scene.name for scene in every if len(scene.frames) < 2]
    twinless = [scene.name for scene in every if scene.clean is None]
    reason = f"{len(single)} of {_count(every)} have one frame only ({_listed(single)})"
    if len(twinless) < len(every):
        reason += f", {len(twinless)} no clean twin ({_listed(twinless)})"
    return Choice("none", reason, every)


def _count(scenes: Sequence[Scene]) -> str:
    """How many scenes, and of which kinds: ``102 scenes (51 flat, 51 dark)``."""
    kinds = Counter(scene.kind for scene in scenes)
    words = ", ".join(f"{number} {kind or 'of unknown kind'}" for kind, number in kinds.items())
    plural = "s" if len(scenes) > 1 else ""
    return f"{len(scenes)} scene{plural}" + (f" ({words})" if set(kinds) != {""} else "")


def _listed(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
