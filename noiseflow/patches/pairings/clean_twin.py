"""Each frame with the scene's clean twin."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from noiseflow.core.errors import RawError
from noiseflow.patches.pairings.pairing import FrameByFrame, FramePair, Pairing, Reference, split_by_scene
from noiseflow.patches.sources.scene import Scene, is_long
from noiseflow.raw.image import RawImage

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
        "twin_exposure_s": twin.exposure_s,
        "twin_iso": twin.iso,
        "twin_clips_at_dn": twin.clip_levels().ravel().tolist(),
    }
    return Reference({"twin": twin.planes()}, facts)


def pair(scene: Scene, number: int, reference: Reference) -> FramePair:
    """A frame with the twin brought to the frame's own black and white level.

    A long exposure is also brought to the frame's exposure time and ISO; its clipped pixels are
    not valid.

    Raises
    ------
    RawError
        If their phases or sizes differ, or a long exposure lacks its exposure time or ISO.
    """
    noisy, facts = scene.frames[number].read(), reference.facts
    if (noisy.cfa, list(noisy.mosaic.shape)) != (facts["twin_cfa"], list(facts["twin_shape"])):
        raise RawError(
            f"{noisy.source}: {noisy.cfa} {noisy.mosaic.shape} does not match its clean twin "
            f"{facts['twin']}: {facts['twin_cfa']} {tuple(facts['twin_shape'])}"
        )
    black, white = noisy.levels()
    long = is_long(scene)
    ratio = _exposure_ratio(noisy, facts) if long else 1.0
    twin = reference.arrays["twin"]
    clean = np.empty(twin.shape, np.float32)
    for plane, (level, twin_level) in enumerate(zip(black.ravel(), facts["twin_black_dn"], strict=True)):
        scale = ratio * (white - level) / (facts["twin_white_dn"] - twin_level)
        clean[plane] = (twin[plane] - twin_level) * scale + level
    if (left := noisy.left_by_levelling()) is not None:
        # In the signal of the frame, and so in its clean signal too: none of it is noise.
        clean += left.astype(np.float32)
    valid = twin < np.asarray(facts["twin_clips_at_dn"])[:, None, None] if long else None
    return FramePair(scene.frames[number], number, noisy, clean, 0.0, valid)


def _exposure_ratio(noisy: RawImage, facts: Mapping[str, Any]) -> float:
    """Exposure time × ISO of the frame over that of its long exposure."""
    own = (noisy.exposure_s or 0.0) * (noisy.iso or 0.0)
    twins = (facts["twin_exposure_s"] or 0.0) * (facts["twin_iso"] or 0.0)
    if not own or not twins:
        raise RawError(
            f"{noisy.source}: its clean twin {facts['twin']} is a long exposure, but the exposure time and ISO of "
            "both are not known; give them in their names or side-cars"
        )
    return float(own / twins)


CLEAN_TWIN = Pairing(
    summary="a clean twin",
    needs="a clean twin",
    how=FrameByFrame(pair, prepare),
    found=lambda scenes: "each with a clean twin",
    split_by=split_by_scene,
    twin=True,
)
