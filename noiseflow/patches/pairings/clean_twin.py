"""Pair each frame with the clean twin of its scene."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import RawError
from noiseflow.patches.pairings.pairing import FrameByFrame, FramePair, Pairing, Reference, split_by_scene
from noiseflow.patches.sources.scene import Scene, is_long
from noiseflow.raw.image import RawImage

__all__ = ["CLEAN_TWIN"]


def prepare(scene: Scene) -> Reference:
    """Read the clean twin of a scene once: its codes as an array, its levels as facts.

    Parameters
    ----------
    scene : Scene
        The scene.

    Raises
    ------
    RawError
        If the scene has no clean twin, or it cannot be read.
    """
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


ROWS, FEWEST_ROWS, PIXELS, FEWEST = 32, 8, 1 << 16, 4000
"""Largest and smallest number of rows of each plane in which a clean signal is checked, the number of pixels in them
that is enough (`SHARED` of the noise is then 8 standard errors), and the fewest pixels needed."""

DARKEST, BRIGHTEST = 0.1, 0.8
"""Signals are checked above the first fraction of the range, where noise does not reach code 0, and below the second
fraction of the clip level, where it does not clip."""

OFF, SHARED, SURE = 0.03, 0.03, 6.0
"""A caution is given if the light differs by more than the first fraction, or the clean signal explains more than the
second fraction of the noise variance, and either by more than the third value in standard errors."""

SMOOTH = 0.5
"""A caution is given if neighbours in a row share more than this fraction of the noise variance, apart from row means;
no sensor's noise does."""


def pair(scene: Scene, number: int, reference: Reference) -> FramePair:
    """Pair a frame with the clean twin, scaled to the frame's own black and white level.

    A long exposure is also scaled to the frame's exposure time and ISO, and its clipped pixels are
    masked.

    Parameters
    ----------
    scene : Scene
        The scene.
    number : int
        Number of the frame.
    reference : Reference
        The twin, from `prepare`.

    Raises
    ------
    RawError
        If phases or sizes differ, or the exposure time or ISO of a long exposure or its frame is unknown.
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
        # This remainder is in the frame's signal, so it belongs to the clean signal too.
        clean += left.astype(np.float32)
    valid = twin < np.asarray(facts["twin_clips_at_dn"])[:, None, None] if long else None
    words = [f"{noisy.source}: {each}" for each in doubts(noisy, clean, valid)]
    noisy = replace(noisy, cautions=(*noisy.cautions, *words)) if words else noisy
    return FramePair(scene.frames[number], number, noisy, clean, 0.0, valid)


def doubts(noisy: RawImage, clean: NDArray[np.float32], valid: NDArray[np.bool_] | None) -> Iterator[str]:
    """Yield doubts about a clean signal, found in a sample of its rows.

    If the clean signal is the expectation of the frame, the noise has mean 0, and differences of neighbouring
    pixels are uncorrelated between noise and signal.  Noise e in the clean signal makes
    −cov(Δclean, Δnoise) = var Δe; a shift or a wrong exposure also makes them correlate.

    Parameters
    ----------
    noisy : RawImage
        The frame.
    clean : ndarray, shape (C, h, w)
        Its clean signal, DN.
    valid : ndarray of bool, shape (C, h, w), optional
        False where the clean signal is unknown.
    """
    black, white = noisy.levels()
    planes, height, width = clean.shape
    count = min(ROWS, max(FEWEST_ROWS, PIXELS // (planes * width)), height)
    # numpy.unique would import masked arrays, which takes a tenth of a small ingest.
    rows = np.linspace(0, height - 1, count).astype(int)
    # Pack only these rows; packing the whole frame would cost as much as cutting it.
    stored = (rows[:, None] * noisy.side + np.arange(noisy.side)).ravel()
    codes = replace(noisy, mosaic=noisy.mosaic[stored]).planes().astype(np.float64)
    signal = clean[:, rows].astype(np.float64)
    # Select by the signal, not by the codes: excluding clipped codes would bias the noise.
    floor = DARKEST * (white - black) if (codes <= 0).any() else -np.inf
    good = (signal - black > floor) & (signal < BRIGHTEST * noisy.clip_levels())
    if valid is not None:
        good &= valid[:, rows]
    if good.sum() < FEWEST:
        return
    noise, light = codes - signal, (signal - black)[good]
    error = float(noise[good].std()) / np.sqrt(good.sum())
    off, level = float(noise[good].mean()), float(light.mean())
    if level > 0 and abs(off) > max(OFF * level, SURE * error):
        yield (
            f"is {100 * (1 + off / level):.1f} % as bright as its clean signal; is the exposure or the black level of "
            "one of them wrong? The noise contains the difference"
        )
    pairs = good[..., 1:] & good[..., :-1]
    steps = np.diff(noise)[pairs], np.diff(signal)[pairs]
    power = float((steps[0] ** 2).mean())
    if len(steps[0]) < FEWEST or not power > 0:
        return
    products = steps[0] * steps[1]
    share, doubt = -float(products.mean()) / power, float(products.std()) / np.sqrt(len(products)) / power
    if abs(share) > max(SHARED, SURE * doubt):
        yield (
            f"{100 * share:.0f} % of the noise variance is explained by the clean signal: is it noisy itself (its "
            "exposure only slightly longer than the frame's) or not aligned? Gain and noise are off by about this much"
        )
    within = np.where(good, noise, 0.0)
    within -= (within.sum(-1) / np.maximum(good.sum(-1), 1))[..., None]
    smooth = 1 - power / 2 / float((within[good] ** 2).mean())
    if smooth > SMOOTH:
        yield (
            f"{100 * smooth:.0f} % of the difference from the clean signal is common to neighbouring pixels: is the "
            "clean signal not aligned, or taken in other light? The difference counts as noise"
        )


def _exposure_ratio(noisy: RawImage, facts: Mapping[str, Any]) -> float:
    """Exposure time × ISO of the frame divided by that of its long exposure."""
    own = (noisy.exposure_s or 0.0) * (noisy.iso or 0.0)
    twins = (facts["twin_exposure_s"] or 0.0) * (facts["twin_iso"] or 0.0)
    if not own or not twins:
        raise RawError(
            f"{noisy.source}: its clean twin {facts['twin']} is a long exposure, but exposure time and ISO are not "
            "known for both; give them in the file names or in side-cars"
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
