"""Frames without a clean signal: two noisy ones as a pair, or each alone."""

from collections.abc import Sequence

import numpy as np

from noiseflow.core.errors import RawError
from noiseflow.patches.pairings.burst import MOST_LIGHT, least_light
from noiseflow.patches.pairings.frames.packed_frames import same_setting
from noiseflow.patches.pairings.pairing import (
    FrameByFrame,
    FramePair,
    Pairing,
    Reference,
    listed,
    split_by_frame,
    split_by_scene,
)
from noiseflow.patches.sources.scene import Scene
from noiseflow.raw.image import RawImage

__all__ = ["NOISY_PAIR", "UNPAIRED"]


def firsts(scene: Scene) -> Sequence[int]:
    """Frames 0, 2, 4 …: each frame is in one pair, a last odd one in none."""
    return range(0, len(scene.frames) - 1, 2)


def pair_of_noisy(scene: Scene, number: int, reference: Reference) -> FramePair:
    """Frame n, and the codes of frame n + 1 as its `clean`, of the same noise variance.

    Nothing is corrected: drift and flicker between the two stay in, and a scene that moves
    is not noticed.  The pair is not valid where the second frame is clipped; clipping of the first
    is tested as for any pairing.
    """
    noisy, other = (scene.frames[n].read() for n in (number, number + 1))
    same_setting(noisy, other)
    codes = other.planes()
    _refuse_other_light(noisy, other)
    valid = (codes > 0) & (codes < other.clip_levels())
    clean = codes.astype(np.float32)
    return FramePair(scene.frames[number], number, noisy, clean, 1.0, None if valid.all() else valid)


def _refuse_other_light(noisy: RawImage, other: RawImage) -> None:
    """Refuse a pair of which one frame has far more light: they would differ by the scene, which is no noise."""
    first, second = (float(each.mosaic[::8].mean()) - float(np.mean(each.black)) for each in (noisy, other))
    less, more = sorted((first, second))
    span = noisy.white - float(np.mean(noisy.black))
    if more > MOST_LIGHT * less and more - less > least_light(span):
        raise RawError(
            f"{other.source}: has a mean of {second:.4g} DN above black, {noisy.source} of {first:.4g}: they are no "
            "pair of one exposure; take one out"
        )


def by_subject(scenes: Sequence[Scene]) -> str:
    """A denoiser must not be evaluated on a scene that it was trained on, if there are several."""
    several = len({scene.subject or scene.name for scene in scenes}) > 1
    return split_by_scene(scenes) if several else split_by_frame(scenes)


NOISY_PAIR = Pairing(
    summary="the next noisy frame in place of a clean signal",
    needs="two frames or more",
    how=FrameByFrame(pair_of_noisy),
    usable=firsts,
    split_by=by_subject,
    frames=2,
    clean="noisy",
)


def frame_alone(scene: Scene, number: int, reference: Reference) -> FramePair:
    """A frame and no clean signal."""
    return FramePair(scene.frames[number], number, scene.frames[number].read(), None, 0.0)


def why_none(scenes: Sequence[Scene]) -> str:
    """Which scenes lack the frames or the twin that other pairings need."""
    single = [scene.name for scene in scenes if len(scene.frames) < 2]
    twinless = [scene.name for scene in scenes if scene.clean is None]
    reason = f"{len(single)} with one frame only ({listed(single)})"
    if len(twinless) < len(scenes):
        reason += f", {len(twinless)} without a clean twin ({listed(twinless)})"
    return reason


UNPAIRED = Pairing(
    summary="no clean signal",
    needs="nothing",
    how=FrameByFrame(frame_alone),
    found=why_none,
    split_by=split_by_scene,
    clean="none",
)
