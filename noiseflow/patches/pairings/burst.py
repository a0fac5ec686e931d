"""Pair each frame of a static burst with the mean of the others."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from noiseflow.core.errors import RawError
from noiseflow.patches.pairings.frames.blocks import (
    median,
    part_of_rows,
    robust_line,
    variance_of_means,
    within_variance,
)
from noiseflow.patches.pairings.frames.motion import FALSE_ALARM, Motion, Shift, find_motion, light_by_pixels
from noiseflow.patches.pairings.frames.sums import Sums, noise_follows_light
from noiseflow.patches.pairings.pairing import Conclusion, Pairing, Stacking, distinct_frames
from noiseflow.patches.shared_mean import Share
from noiseflow.patches.sources.scene import Scene
from noiseflow.raw.image import RawImage

__all__ = ["BURST", "MOST_LIGHT", "least_light"]

DARK_PART = 0.005
"""A flat scene whose mean is within this fraction of the range from black looks dark."""
GROUPS, FEWEST, FALLEN, ROUNDING_DN2 = 16, 4, 0.5, 0.25
"""Number of groups of blocks by signal; the fewest groups, and blocks per group, for a verdict; the fraction of the
largest variance below which noise counts as fallen; and the fall in DN² that rounding alone can make."""
SURE = 1e-3
"""Chance of fitting gains to frames that do not flicker."""
SHARPEST = 0.02
"""Largest standard error of a gain for the gains to be used."""
LAMP = 0.35
"""Smallest part of what changes that must follow the light of rows for a lamp to be named."""
LEAST_DRIFT_DN, DARKEST, CONTRAST = 2.0, 0.05, 0.1
"""Black that drifts is reported from so many DN on, beyond the noise at this quantile of blocks; relative contrast."""
UNEQUAL, LEAST_DIFFERENCE_DN = 0.02, 0.5
"""Frames of a scene with one level are tested for light that changes if their means differ by more than the first
value, as a fraction of the light, and the second, in DN."""
MOST_LIGHT, LEAST_LIGHT_DN, LEAST_LIGHT_PART = 1.8, 16.0, 0.001
"""Two frames of a burst are different exposures if the ratio of their light exceeds the first value, and the difference
exceeds what drift of the black level explains: the second value in DN, and the third as a fraction of the range, which
matters for 12-bit codes in 16 bits."""

Array = NDArray[np.float64]
Slopes = tuple[Sequence[float], Sequence[float]]
"""Light of each frame over the median frame's, less 1, and its errors."""


@dataclass(frozen=True, eq=False)
class FrameDrift:
    """Offset and gain of each frame relative to the median frame of the scene.

    frame = black + gain·(scene − black) + offset, for each plane.

    Parameters
    ----------
    offsets : ndarray, shape (n, C)
        Drift in DN of the black level, or of the light if the scene has only one level.
    gains : ndarray, shape (n, C)
        Flicker of the light; 1 if it cannot be distinguished from an offset.
    flicker : bool
        Whether gains were fitted.
    residuals : ndarray, shape (n, C, *grid)
        Block means minus the fit, DN.
    """

    offsets: Array
    gains: Array
    flicker: bool
    residuals: Array


def conclude(scene: Scene, sums: Sums, flows: Sequence[Sequence[Shift]]) -> Conclusion:
    """Find drift, flicker and motion of a burst.

    A block that moves in any frame is masked in all frames, since each frame is in the
    others' mean.

    Parameters
    ----------
    scene : Scene
        The scene.
    sums : Sums
        Sums over its frames.
    flows : sequence of sequence of Shift
        Shift of each frame's planes.

    Raises
    ------
    RawError
        If frames have very different light.
    """
    signal = sums.signal
    variance = variance_of_means(sums.variance, signal, sums.blocks.pixels, sums.saturated)
    light = sums.levels - sums.black.reshape(len(signal), -1).mean(1)
    drift = fit_drift(sums.middles, signal, variance, flows, cache(lambda: _changing(sums)))
    _refuse_other_light(scene, light, drift.gains, float((sums.white - sums.black).mean()))
    # Flicker spreads the quarters of a block, so that their median no longer follows the block's mean.
    flicker = np.abs(drift.gains - 1).max(0)[:, None, None] * sums.contrast
    within = within_variance(sums.variance, drift.residuals)
    still = variance_of_means(within, signal, sums.blocks.pixels, sums.saturated)
    motion = find_motion(drift.residuals, still + flicker**2, flows)
    facts = {
        "frames": sums.count,
        **drift_facts(sums, drift),
        "static_test": {
            "chi2_per_block": motion.chi2,
            "false_alarm": FALSE_ALARM,
            "moving_part": motion.part,
            "moves_as_a_whole": motion.whole,
            "largest_shift_pixels": motion.shift,
            "moving_frames": list(motion.frames),
        },
        "defects": sums.defects.facts,
    }
    border, words = sums.stack.still_border(scene.name)
    lamp = part_of_rows(drift.residuals, signal, variance) if motion.part or motion.whole else 0.0
    said = (*_cautions(scene, sums, signal, motion, lamp), *_drifting(scene, sums, drift), *words)
    return Conclusion(facts, said, motion.blocks | (sums.blocks.means(border.astype(np.float32)) > 0))


def least_light(span: float) -> float:
    """Smallest difference of light in DN that drift of the black level cannot explain.

    Parameters
    ----------
    span : float
        Range from black to white, DN.
    """
    return max(LEAST_LIGHT_DN, LEAST_LIGHT_PART * span)


def _refuse_other_light(scene: Scene, light: Array, gains: Array, span: float) -> None:
    """Refuse a burst with one frame far darker or brighter than the others, or of another picture.

    Flicker of a lamp does not go so far: the frame is another exposure, a frame without light, or another picture,
    which a fitted gain and offset would hide.  A sky that grows from 20 to 60 DN is refused too: its K would come out
    a fifth too low.

    Parameters
    ----------
    scene : Scene
        The scene, for messages.
    light, gains : ndarray, shape (n, C)
        Mean above black of each frame in DN, and its gain relative to the median frame.
    span : float
        Range from black to white, DN.

    Raises
    ------
    RawError
        If light or gains of two frames differ by more than `MOST_LIGHT`.
    """
    for own, least in ((light.mean(1), least_light(span)), (np.median(gains, 1), 0.0)):
        darkest, brightest = int(own.argmin()), int(own.argmax())
        if own[brightest] > MOST_LIGHT * own[darkest] and np.ptp(own) > least:
            middle = float(np.median(own))
            odd, other = (
                (brightest, darkest) if own[brightest] - middle > middle - own[darkest] else (darkest, brightest)
            )
            raise RawError(
                f"{scene.name}: {scene.frames[odd].path.name} shows the scene with {_times(own[odd], own[other])} the "
                f"light of {scene.frames[other].path.name}: was it taken with another exposure or at another hour, "
                "without light, rotated, or is it one colour plane? Take it out, or put the frames of each exposure "
                "into a folder of their own"
            )


def _times(light: float, other: float) -> str:
    """Format the ratio of two frames' light; beyond a factor of 100 it is only bounded, as black may be off."""
    if abs(light) < 0.01 * abs(other):
        return "under 0.01 times"
    return f"{light / other:.2g} times" if abs(other) > 0.01 * abs(light) else "over 100 times"


def share(facts: Mapping[str, Any], number: int, setting: RawImage) -> Share:
    """Clean signal of frame n: the mean m of the others, brought to the frame's own offset o and gain g.

    c = black + o + g/ḡ·(m − black − ō), where ḡ and ō are means over the other frames.

    The mean of n − 1 frames has 1/(n − 1) of the noise variance, times g/ḡ if the light flickers.
    Its error is independent of frame n's noise, but pixels sorted by c are also sorted by that
    error.  So in a bin of c the measured noise has a mean of minus that error, which is up to
    1/n of the scatter in the bin.  This is negligible if the scene varies by much more than
    σ/√(n − 1); in a flat patch of two frames it is one half.

    Parameters
    ----------
    facts : mapping
        Facts of the scene, from `conclude`.
    number : int
        Number of the frame.
    setting : RawImage
        Levels of the frame.
    """
    offsets, gains = np.array(facts["frame_offsets_dn"]), np.array(facts["frame_gains"])
    rest = np.arange(len(gains)) != number
    ratio = gains[number] / gains[rest].mean(0)
    black = setting.levels()[0].ravel()
    offset = black + offsets[number] - ratio * (black + offsets[rest].mean(0))
    own = 1 / (facts["frames"] - 1)
    # Photon noise is proportional to light: the others' variance, brought to this frame, is g/ḡ times its own.
    return Share(own, tuple(ratio.tolist()), tuple(offset.tolist()), float(ratio.mean()) * own)


def drift_facts(sums: Sums, drift: FrameDrift) -> dict[str, Any]:
    """JSON-able facts about drift: means, offsets and gains by frame and plane, and the scatter of the means."""
    levels = sums.levels
    return {
        "frame_means_dn": levels.tolist(),
        "drift_dn": float(levels.mean(1).std(ddof=1)),
        "frame_offsets_dn": drift.offsets.tolist(),
        "frame_gains": drift.gains.tolist(),
        "flicker": drift.flicker,
    }


def _cautions(scene: Scene, sums: Sums, signal: NDArray[np.float64], motion: Motion, lamp: float) -> tuple[str, ...]:
    cautions = []
    names = ", ".join(scene.frames[n].path.name for n in motion.frames[:5])
    most = f" (most in {names})" if names else ""
    light = (sums.levels - sums.black.ravel()).mean(1)
    darkest, brightest = int(light.argmin()), int(light.argmax())
    unlike = ""
    if light[brightest] > MOST_LIGHT * light[darkest]:
        unlike = (
            f"; {scene.frames[darkest].path.name} has a mean of {light[darkest]:.3g} DN above black, "
            f"{scene.frames[brightest].path.name} of {light[brightest]:.3g}: if the difference is light, the exposures "
            "differ and nothing moves: put each exposure in its own folder"
        )
    if lamp > LAMP:
        unlike += (
            f"; {100 * lamp:.0f} % of what changes is light that differs from row to row: if a lamp flickers under a "
            "rolling shutter, nothing moves: expose for whole periods of the lamp, or use steady light"
        )
    if motion.whole:
        shifted = f", whole frames by up to {2 * motion.shift:.2g} pixels" if motion.shift else ""
        cautions.append(
            f"{scene.name}: not a static burst: {100 * motion.part:.0f} % of it moves{shifted}{most}; "
            f"all of it is masked{unlike}. "
            "Remove the frames that moved, or shoot again from a tripod"
        )
    elif motion.part:
        cautions.append(f"{scene.name}: {100 * motion.part:.2g} % of it moves{most} and is masked{unlike}")
    span = float((sums.white - sums.black).mean())
    if (fall := _saturating(sums, signal, motion)) is not None:
        cautions.append(
            f"{scene.name}: from {fall[0]:.4g} DN above black the noise has only {fall[1]:.2g} times the variance of "
            "darker parts: these pixels are saturated, each at its own code, or the darker parts move. The gain "
            "would come out too small: set --white below these codes, or use a still scene"
        )
    if not scene.kind and max(float(np.abs(signal).mean()), 10 * float(signal.std())) < DARK_PART * span:
        cautions.append(
            f"{scene.name}: looks dark ({float(signal.mean()):.3g} DN above black); "
            "if these are dark frames, ingest them with --pairing dark"
        )
    return tuple(cautions)


def _drifting(scene: Scene, sums: Sums, drift: FrameDrift) -> Iterator[str]:
    """Yield a caution if black drifts by more than the noise, which only a scene with contrast shows."""
    offsets, lit = drift.offsets.mean(1), ~sums.saturated
    if drift.flicker or scene.kind or not lit.any() or sums.signal.std() < CONTRAST * np.abs(sums.signal).mean():
        return
    spread, noise = float(np.ptp(offsets)), float(np.sqrt(np.quantile(sums.variance[lit], DARKEST)))
    if spread > max(LEAST_DRIFT_DN, noise):
        low, high = (scene.frames[int(at)].path.name for at in (offsets.argmin(), offsets.argmax()))
        yield (
            f"{scene.name}: the black level drifts: {high} lies {spread:.3g} DN above {low}, in dark and bright parts. "
            "The clean signal counts it as light, so read noise comes out wrong, as with a wrong black level"
        )


def _saturating(sums: Sums, signal: NDArray[np.float64], motion: Motion) -> tuple[float, float] | None:
    """Signal in DN from which noise falls, and its variance as a fraction of the largest; None if it does not fall.

    Photon noise grows with the signal, so falling noise shows full pixels.  Each saturates at its own code, which
    makes no spike in the histogram.  Moving blocks are ignored, since motion raises their variance.
    """
    for plane, (s, v) in enumerate(zip(signal, sums.variance, strict=True)):
        lit = ~sums.saturated[plane] & ~motion.blocks
        groups = np.array_split(np.argsort(s[lit]), max(1, min(GROUPS, int(lit.sum()) // FEWEST)))
        if len(groups) < FEWEST:
            continue
        at, middle = (np.array([np.median(each[lit][group]) for group in groups]) for each in (s, v))
        most = float(middle[:-1].max())
        if middle[-1] < min(FALLEN * most, most - ROUNDING_DN2):
            first = int(np.argmax(middle < FALLEN * np.maximum.accumulate(middle)))
            return float(at[first]), float(middle[-1] / most)
    return None


def _changing(sums: Sums) -> Array | None:
    """Light of each frame, shape (n, C) in DN, if it differs and the noise differs with it; otherwise None."""
    # Of the middle block, which what moves in a part of the scene does not change.
    light: Array = np.median(sums.signal, (1, 2)) + np.median(sums.middles, (2, 3))
    if light.min() <= 0 or np.ptp(light, 0).mean() < max(UNEQUAL * float(light.mean()), LEAST_DIFFERENCE_DN):
        return None
    return light if noise_follows_light(sums.stack, light) else None


def fit_drift(
    middles: NDArray[np.floating],
    signal: Array,
    variance: Array,
    flows: Sequence[Sequence[Shift]] = (),
    changing: Callable[[], Array | None] = lambda: None,
) -> FrameDrift:
    """Fit the offset, and if there is flicker the gain, of each frame to its block means.

    Weighted least squares of frame − median frame = o + k·s over the blocks, where s is the frames' mean
    signal above black; blocks that depart by more than 4σ, which move, are left out.  The two
    parameters remove 2/K of a block mean's noise variance over K blocks, or 2/(pixels of the
    plane) of a pixel's, which is negligible.  But a poorly determined gain would scale the fixed
    pattern.  So a plane gets gains only if the scene has enough contrast (standard errors below
    2 %) and the frames need them (χ² of the n gains, one false alarm in a thousand).  In a scene with
    one level they are the ratios of the frames' light if the noise shows that it is light.  Otherwise
    only offsets are fitted, which is right if the black level drifts.

    Stars, and texture that is finer than a block, are not in its mean: the gains by pixels are taken
    where they are known better.

    Parameters
    ----------
    middles : ndarray, shape (n, C, *grid)
        Block means of n ≥ 2 frames in DN, relative to any common level.
    signal : ndarray, shape (C, *grid)
        Signal of the scene above black, DN.
    variance : ndarray, shape (C, *grid)
        Variance of a block mean, DN²; infinite for blocks to ignore.
    flows : sequence of sequence of Shift
        Frame by frame, plane by plane, with the gains by pixels; empty if they are not known.
    changing : callable
        Gives the light of each frame above black in DN, shape (n, C), or None if only the black level may have
        drifted; asked where gains are not known well enough.
    """
    n, planes = middles.shape[:2]
    steps = (middles - median(np.moveaxis(middles, 0, -1))).reshape(n, planes, -1).astype(np.float64)
    weights = 1 / variance.reshape(planes, -1)
    offsets, slopes = np.zeros((n, planes)), np.zeros((n, planes))
    flicker, known = False, []
    for plane in range(planes):
        s, w = signal[plane].ravel(), weights[plane]
        lines = [robust_line(steps[frame, plane], s, w) for frame in range(n)]
        found = [([slope for _, slope, _ in lines], [error for *_, error in lines])]
        found += light_by_pixels([flow[plane] for flow in flows if flow])
        known.append(min(found, key=lambda each: max(each[1])))
    for plane, best in enumerate(_pooled(known)):
        s, w = signal[plane].ravel(), weights[plane]
        if _wanted(*best, planes):
            flicker = True
            slopes[:, plane] = best[0]
        elif max(best[1]) >= SHARPEST and (light := changing()) is not None:
            flicker = True
            slopes[:, plane] = (light[:, plane] - np.median(light[:, plane])) / light[:, plane].mean()
        left = [steps[frame, plane] - slopes[frame, plane] * s for frame in range(n)]
        offsets[:, plane] = [robust_line(each, None, w)[0] for each in left]
    explained = offsets[:, :, None] + slopes[:, :, None] * signal.reshape(planes, -1)
    # s is the frames' mean, which the middle frame is not: by the sum over all frames that is (1 − k̄)·s − ō.
    gains = 1 + slopes / (1 - slopes.mean(0))
    return FrameDrift(
        offsets + (gains - 1) * offsets.mean(0), gains, flicker, (steps - explained).reshape(middles.shape)
    )


def _wanted(slopes: Sequence[float], errors: Sequence[float], planes: int) -> bool:
    """Whether the frames need gains, 1 + slopes, and these are known well enough."""
    n = len(slopes)
    chi2 = sum((slope / error) ** 2 for slope, error in zip(slopes, errors, strict=True))
    return max(errors) < SHARPEST and bool(chi2 > scipy.special.chdtri(n, SURE / planes))


def _pooled(of_planes: Sequence[Slopes]) -> Sequence[Slopes]:
    """Slopes of all planes together, if they agree within their errors: light that changes does so for all colours."""
    slopes, errors = (np.array(each) for each in zip(*of_planes, strict=True))
    # Their errors have causes in common, such as coarse codes: together no plane is sharp that is not so alone.
    if not (errors < SHARPEST).all():
        return of_planes
    weight = errors**-2.0
    mean = (weight * slopes).sum(0) / weight.sum(0)
    chi2 = float((weight * (slopes - mean) ** 2).sum())
    if len(slopes) > 1 and chi2 > scipy.special.chdtri(slopes[1:].size, SURE):
        return of_planes
    return [(mean.tolist(), (weight.sum(0) ** -0.5).tolist())] * len(slopes)


BURST = Pairing(
    summary="the mean of the other frames of a static burst",
    needs="two frames or more",
    how=Stacking(True, conclude, share),
    found=lambda scenes: "each with two frames or more and without a clean twin",
    usable=distinct_frames,
    frames=2,
)
