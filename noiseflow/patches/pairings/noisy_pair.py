"""Pairings without a clean signal: two noisy frames as a pair, or each frame alone."""

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
    """Numbers of the first frames of pairs: 0, 2, 4 …; with an odd number of frames the last is not used."""
    return range(0, len(scene.frames) - 1, 2)


def pair_of_noisy(scene: Scene, number: int, reference: Reference) -> FramePair:
    """Pair frame n with the codes of frame n + 1, which has the same noise variance, as `clean`.

    Drift and flicker between the two are not corrected, and motion is not detected.  Pixels that clip in
    the second frame are masked; clipping of the first is handled as in any pairing.

    Parameters
    ----------
    scene : Scene
        The scene.
    number : int
        Number of the first frame.
    reference : Reference
        Not used.

    Raises
    ------
    RawError
        If the frames have different settings or very different light.
    """
    noisy, other = (scene.frames[n].read() for n in (number, number + 1))
    same_setting(noisy, other)
    codes = other.planes()
    _refuse_other_light(noisy, other)
    valid = (codes > 0) & (codes < other.clip_levels())
    clean = codes.astype(np.float32)
    return FramePair(scene.frames[number], number, noisy, clean, 1.0, None if valid.all() else valid)


def _refuse_other_light(noisy: RawImage, other: RawImage) -> None:
    """Refuse a pair in which one frame has far more light, since the scene would appear in their difference."""
    first, second = (float(each.mosaic[::8].mean()) - float(np.mean(each.black)) for each in (noisy, other))
    less, more = sorted((first, second))
    span = noisy.white - float(np.mean(noisy.black))
    if more > MOST_LIGHT * less and more - less > least_light(span):
        raise RawError(
            f"{other.source}: has a mean of {second:.4g} DN above black, but {noisy.source} has {first:.4g} DN: they "
            "are not a pair with one exposure; take one out"
        )


def by_subject(scenes: Sequence[Scene]) -> str:
    """Split by scene if there are several, so that a denoiser is not evaluated on a scene it was trained on."""
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
    """Read a frame, without a clean signal."""
    return FramePair(scene.frames[number], number, scene.frames[number].read(), None, 0.0)


def why_none(scenes: Sequence[Scene]) -> str:
    """Name the scenes without the frames or the clean twin that other pairings need."""
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
