"""Each frame of a static burst with the mean of the others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from noiseflow.core.errors import RawError
from noiseflow.patches.pairings.frames.blocks import MIDDLE, median
from noiseflow.patches.pairings.frames.motion import FALSE_ALARM, Motion, Shift, find_motion
from noiseflow.patches.pairings.frames.sums import Sums
from noiseflow.patches.pairings.pairing import Conclusion, Pairing, Stacking, distinct_frames
from noiseflow.patches.shared_mean import Share
from noiseflow.patches.sources.scene import Scene
from noiseflow.raw.image import RawImage

__all__ = ["BURST", "MOST_LIGHT", "least_light"]

DARK_PART = 0.005
"""A scene whose mean is within this part of the range from black, and flat, looks dark."""
GROUPS, FEWEST, FALLEN = 16, 4, 0.5
"""Groups of blocks of rising signal; the fewest of them that tell, and of blocks in one; and the part of the largest
variance below which noise has fallen."""
SURE = 1e-3
"""Chance of gains being fitted to frames that have none."""
SHARPEST = 0.02
"""Largest standard error of a gain that is used."""
LEAST_GAIN, UNBIASED = 0.05, 0.02
"""Smallest gain against the other frames that is used, and what shares of the light may miss of 1 together."""
OUTLYING = 4.0
MOST_LIGHT, LEAST_LIGHT_DN, LEAST_LIGHT_PART = 1.8, 16.0, 0.001
"""Ratio of the light of two frames of a burst from which on they are of different exposures, if it differs by more than
the black level may: by so many DN, and by that part of the range, which is large for codes of 12 bits in 16."""

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FrameDrift:
    """How each frame's signal differs from that of the scene's middle frame.

    frame = black + gain·(scene − black) + offset, plane by plane.

    Parameters
    ----------
    offsets : ndarray, shape (n, C)
        DN: drift of the black level, or of the light where the scene has one level only.
    gains : ndarray, shape (n, C)
        Flicker of the light; 1 where it cannot be told from an offset.
    flicker : bool
        Whether gains were fitted.
    residuals : ndarray, shape (n, C, *grid)
        Block means less what offset and gain explain, DN.
    """

    offsets: Array
    gains: Array
    flicker: bool
    residuals: Array


def conclude(scene: Scene, sums: Sums, flows: Sequence[Sequence[Shift]]) -> Conclusion:
    """Find drift, flicker and motion.

    Where the scene moves, in any frame, no pixel is valid in all frames, since each is in
    the others' mean.
    """
    signal = sums.signal
    variance = MIDDLE * np.minimum(sums.variance, _typical(signal, sums.variance)) / sums.blocks.pixels
    # A saturated block follows no flicker; its patches are left out as clipped.
    variance[sums.saturated] = np.inf
    drift = fit_drift(sums.middles, signal, variance, flows)
    span = float((sums.white - sums.black).mean())
    _refuse_other_light(scene, sums.levels - sums.black.ravel(), drift.gains, span)
    # Flicker moves the quarters of a block apart, so that their median is not that of the block's mean.
    flicker = np.abs(drift.gains - 1).max(0)[:, None, None] * sums.contrast
    motion = find_motion(drift.residuals, variance + flicker**2, flows)
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
    return Conclusion(facts, _cautions(scene, sums, signal, motion), motion.blocks)


def least_light(span: float) -> float:
    """Difference of light, DN, that no drift of the black level makes in a range of `span` DN from black to white."""
    return max(LEAST_LIGHT_DN, LEAST_LIGHT_PART * span)


def _refuse_other_light(scene: Scene, light: Array, gains: Array, span: float) -> None:
    """Refuse frames of which one shows the scene far darker or brighter than others, or turned.

    No lamp flickers so: it is another exposure, a frame without light, or another picture, of which gain and offset
    make this one.  Of a sky of 20 DN that grows to 60, too, K comes out a fifth too low.

    Parameters
    ----------
    scene : Scene
        For messages.
    light, gains : ndarray, shape (n, C)
        Mean above black of each frame, DN; and its gain against the middle frame.
    span : float
        Range from black to white, DN.
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
                f"light of {scene.frames[other].path.name}: is it of another exposure or hour, without light, turned, "
                "or a colour plane of a packed frame? Take it out, or give the frames of each exposure a folder of "
                "their own"
            )


def _times(light: float, other: float) -> str:
    """How many times the light of another frame a frame has; its offset from black makes more than 100 no number."""
    if abs(light) < 0.01 * abs(other):
        return "under 0.01 times"
    return f"{light / other:.2g} times" if abs(other) > 0.01 * abs(light) else "over 100 times"


def share(facts: Mapping[str, Any], number: int, setting: RawImage) -> Share:
    """Frame n's clean signal: the others' mean, at the frame's own offset and gain.

    c = black + o + g/ḡ·(m − black − ō), ḡ and ō being means over the other frames.

    Of n frames the mean has 1/(n − 1) of the noise variance, times g/ḡ where light flickers.
    It is independent of frame n's noise, but not of its own: pixels sorted by it are sorted
    by its noise too, so that in each bin of `clean` the noise has a mean of −(departure of
    the clean estimate), as large as a part 1/n of what scatters there.  Where the scene's signal
    varies much more than σ/√(n − 1) that is nothing; in a flat patch of two frames it is half
    of all.
    """
    offsets, gains = np.array(facts["frame_offsets_dn"]), np.array(facts["frame_gains"])
    rest = np.arange(len(gains)) != number
    ratio = gains[number] / gains[rest].mean(0)
    black = setting.levels()[0].ravel()
    offset = black + offsets[number] - ratio * (black + offsets[rest].mean(0))
    own = 1 / (facts["frames"] - 1)
    # Photon noise goes with the light: that of the others, brought to this frame, is g/ḡ times its own.
    return Share(own, tuple(ratio.tolist()), tuple(offset.tolist()), float(ratio.mean()) * own)


def drift_facts(sums: Sums, drift: FrameDrift) -> dict[str, Any]:
    """What frames differ by: means, offsets and gains by frame and plane, and their scatter."""
    levels = sums.levels
    return {
        "frame_means_dn": levels.tolist(),
        "drift_dn": float(levels.mean(1).std(ddof=1)),
        "frame_offsets_dn": drift.offsets.tolist(),
        "frame_gains": drift.gains.tolist(),
        "flicker": drift.flicker,
    }


def _typical(signal: NDArray[np.float64], variance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Variance of blocks of like signal, plane by plane: what moves raises its own, but not theirs.

    Medians over up to 16 groups of rising signal, interpolated; beyond the brightest group in
    proportion to the signal, which photon noise does not exceed.
    """
    typical = np.empty_like(variance)
    for plane, (s, v) in enumerate(zip(signal, variance, strict=True)):
        groups = np.array_split(np.argsort(s, axis=None), max(1, min(16, s.size // 16)))
        at = np.array([np.median(s.ravel()[group]) for group in groups])
        middle = np.array([np.median(v.ravel()[group]) for group in groups])
        typical[plane] = np.interp(s, at, middle) * np.maximum(s / max(at[-1], 1.0), 1.0)
    return typical


def _cautions(scene: Scene, sums: Sums, signal: NDArray[np.float64], motion: Motion) -> tuple[str, ...]:
    cautions = []
    names = ", ".join(scene.frames[n].path.name for n in motion.frames[:5])
    most = f" (most in {names})" if names else ""
    light = (sums.levels - sums.black.ravel()).mean(1)
    darkest, brightest = int(light.argmin()), int(light.argmax())
    unlike = ""
    if light[brightest] > MOST_LIGHT * light[darkest]:
        unlike = (
            f"; {scene.frames[darkest].path.name} has a mean of {light[darkest]:.3g} DN above black, "
            f"{scene.frames[brightest].path.name} of {light[brightest]:.3g}: if that is light, they are of different "
            "exposures and do not move, give those of each exposure a folder of their own"
        )
    if motion.whole:
        cautions.append(
            f"{scene.name}: no static burst: {100 * motion.part:.0f} % of it moves, whole frames by up to "
            f"{2 * motion.shift:.2g} pixels{most}; all of it is masked{unlike}. "
            "Drop what moved, or shoot again from a tripod"
        )
    elif motion.part:
        cautions.append(f"{scene.name}: {100 * motion.part:.2g} % of it moves{most} and is masked{unlike}")
    span = float((sums.white - sums.black).mean())
    if (fall := _saturating(sums, signal, motion)) is not None:
        cautions.append(
            f"{scene.name}: the noise of what is {fall[0]:.4g} DN above black and brighter has {fall[1]:.2g} of the "
            "variance of darker parts: its pixels are full, each at a code of its own. Gain comes out too small: give "
            "--white a code below them"
        )
    if (
        not scene.kind
        and float(np.abs(signal).mean()) < DARK_PART * span
        and float(signal.std()) < DARK_PART * span / 10
    ):
        cautions.append(
            f"{scene.name}: looks dark ({float(signal.mean()):.3g} DN above black); "
            "if these are dark frames, ingest them with --pairing dark"
        )
    return tuple(cautions)


def _saturating(sums: Sums, signal: NDArray[np.float64], motion: Motion) -> tuple[float, float] | None:
    """Signal in DN from which the noise falls, and the part of the variance that is left; None if it does not fall.

    Photons' noise grows with their number, so that noise which falls is of pixels that are full: at a code each of
    its own, which makes no spike by which a clip is found.  Blocks that move have the variance of moving.
    """
    for plane, (s, v) in enumerate(zip(signal, sums.variance, strict=True)):
        lit = ~sums.saturated[plane] & ~motion.blocks
        order = np.argsort(s[lit])
        groups = np.array_split(order, max(1, min(GROUPS, len(order) // FEWEST)))
        if len(groups) < FEWEST:
            continue
        at, middle = (np.array([np.median(each[lit][group]) for group in groups]) for each in (s, v))
        if middle[-1] < FALLEN * middle[:-1].max():
            first = int(np.argmax(middle < FALLEN * np.maximum.accumulate(middle)))
            return float(at[first]), float(middle[-1] / middle[:-1].max())
    return None


def fit_drift(
    middles: NDArray[np.floating], signal: Array, variance: Array, flows: Sequence[Sequence[Shift]] = ()
) -> FrameDrift:
    """Fit each frame's offset, and gain if there is one, to block means.

    Block by block, frame − middle frame = o + k·s, s being the frames' mean signal above black:
    weighted least squares, blocks off by more than 4σ (where the scene moves) left out.  Over K
    blocks two parameters take 2/K of a block mean's variance from the noise, 2/(pixels of the
    plane) of a pixel's, whatever the scene: negligible.  But a gain that is
    poorly determined would multiply the fixed pattern.  So gains are fitted plane by plane only
    where the scene has enough contrast (their standard errors are below 2 %) and the frames
    need them (χ² of the n gains, one false alarm in a thousand); else offsets alone.
    Offsets alone are right where the black level drifts, and where the scene has one level;
    a gain alone would be right for flicker, but the offset costs nothing.

    Stars, and texture that is finer than a block, are not in its mean: the gains by pixels are taken
    where they are known better.

    Parameters
    ----------
    middles : ndarray, shape (n, C, *grid)
        Block means of n ≥ 2 frames, DN, from any origin.
    signal : ndarray, shape (C, *grid)
        Signal of the scene above black, DN.
    variance : ndarray, shape (C, *grid)
        Variance of a block mean, DN²; infinite for blocks to ignore.
    flows : sequence of sequence of Shift
        Frame by frame, plane by plane, with the gains by pixels; empty if they are not known.
    """
    n, planes = middles.shape[:2]
    steps = (middles - median(np.moveaxis(middles, 0, -1))).reshape(n, planes, -1).astype(np.float64)
    weights = 1 / variance.reshape(planes, -1)
    offsets, slopes = np.zeros((n, planes)), np.zeros((n, planes))
    flicker = False
    for plane in range(planes):
        s, w = signal[plane].ravel(), weights[plane]
        lines = [_line(steps[frame, plane], s, w) for frame in range(n)]
        found = [([slope for _, slope, _ in lines], [error for *_, error in lines])]
        found += _of_pixels([flow[plane] for flow in flows if flow])
        best = min(found, key=lambda each: max(each[1]))
        if _wanted(*best, planes):
            flicker = True
            slopes[:, plane] = best[0]
        left = [steps[frame, plane] - slopes[frame, plane] * s for frame in range(n)]
        offsets[:, plane] = [_line(each, None, w)[0] for each in left]
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


def _of_pixels(shifts: Sequence[Shift]) -> list[tuple[list[float], list[float]]]:
    """Light of each frame less the middle one's, in parts of their mean, and its error; empty if it is not known.

    By the gain g of each frame against the others' mean.
    Of n frames of light a, g = (n − 1)·a/(Σa − a), so that g/(n − 1 + g) = a/Σa, which add up to 1.  Noise that
    neighbours share makes all g too small alike where the scene has little structure: then none is known.
    """
    g = np.array([shift.gain for shift in shifts])
    if not len(g) or not (np.isfinite([shift.gain_error for shift in shifts]).all() and (g > LEAST_GAIN).all()):
        return []
    light = g / (len(g) - 1 + g)
    if abs(float(light.sum()) - 1) > UNBIASED:
        return []
    light *= len(g)
    return [((light - np.median(light)).tolist(), [shift.gain_error for shift in shifts])]


def _line(y: Array, x: Array | None, weights: Array) -> tuple[float, float, float]:
    """Offset, slope and the slope's standard error; the offset alone if x is None or constant."""
    kept = np.ones(len(y), bool)
    offset, slope, error, scale = 0.0, 0.0, np.inf, 1.0
    if not weights.any():
        return offset, slope, error
    root = np.sqrt(weights)
    # Sums, not products of vectors: BLAS's hang on the number of its threads, which cost more than they do here.
    for _ in range(10):
        w = weights * kept
        total = float(w.sum())
        mean_y = float((w * y).sum()) / total
        offset = mean_y
        if x is not None:
            mean_x = float((w * x).sum()) / total
            across = x - mean_x
            power = float((w * across**2).sum())
            # Of equal x the rounding of their mean is left.
            if power > 1e-12 * float((w * x**2).sum()):
                slope = float((w * across * (y - mean_y)).sum()) / power
                error = power**-0.5
                offset = mean_y - slope * mean_x
        rest = np.abs(y - offset - (slope * x if x is not None else 0.0)) * root
        scale = max(1.4826 * float(np.partition(rest, len(rest) // 2)[len(rest) // 2]), 1.0)
        now = rest <= OUTLYING * scale
        # Of blocks without weight, as saturated ones, no line can be drawn.
        if not (weights * now).any() or (now == kept).all():
            break
        kept = now
    # Noise common to many blocks (rows, banding) makes the slope less sure than white noise does.
    return offset, slope, error * scale


BURST = Pairing(
    summary="the mean of the other frames of a static burst",
    needs="two frames or more",
    how=Stacking(True, conclude, share),
    found=lambda scenes: "each of two frames or more and without a clean twin",
    usable=distinct_frames,
    frames=2,
)
