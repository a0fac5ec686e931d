"""Each frame with the scene's clean twin."""

import numpy as np

from noiseflow.core.errors import RawError
from noiseflow.patches.pairings.pairing import FrameByFrame, FramePair, Pairing, Reference, split_by_scene
from noiseflow.patches.sources.scene import Scene

__all__ = ["CLEAN_TWIN"]


def prepare(scene: Scene) -> Reference:
    """Read the twin once: its codes, and its levels as facts."""
    if scene.clean is None:
        raise RawError(f"{scene.name}: has no clean twin")
    twin = scene.clean.read()
    black, white = twin.levels()
    facts = {
        "twin": twin.source,
        "twin_cfa": twin.cfa,
        "twin_shape": list(twin.mosaic.shape),
        "twin_black_dn": black.ravel().tolist(),
        "twin_white_dn": white,
    }
    return Reference({"twin": twin.planes()}, facts)


def pair(scene: Scene, number: int, reference: Reference) -> FramePair:
    """A frame with the twin brought to the frame's own black and white level.

    Raises
    ------
    RawError
        If their phases or sizes differ.
    """
    noisy, facts = scene.frames[number].read(), reference.facts
    if (noisy.cfa, list(noisy.mosaic.shape)) != (facts["twin_cfa"], list(facts["twin_shape"])):
        raise RawError(
            f"{noisy.source}: {noisy.cfa} {noisy.mosaic.shape} does not match its clean twin "
            f"{facts['twin']}: {facts['twin_cfa']} {tuple(facts['twin_shape'])}"
        )
    black, white = noisy.levels()
    twin = reference.arrays["twin"]
    clean = np.empty(twin.shape, np.float32)
    for plane, (level, twin_level) in enumerate(zip(black.ravel(), facts["twin_black_dn"], strict=True)):
        scale = (white - level) / (facts["twin_white_dn"] - twin_level)
        clean[plane] = (twin[plane] - twin_level) * scale + level
    return FramePair(scene.frames[number], number, noisy, clean, 0.0)


CLEAN_TWIN = Pairing(
    summary="a clean twin",
    needs="a clean twin",
    how=FrameByFrame(pair, prepare),
    found=lambda scenes: "each with a clean twin",
    split_by=split_by_scene,
    twin=True,
)
