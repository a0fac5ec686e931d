"""Each frame of a static burst with the mean of the others."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.patches.pairings.blocks import MIDDLE
from noiseflow.patches.pairings.drift import Drift, fit_drift
from noiseflow.patches.pairings.motion import FALSE_ALARM, Motion, find_motion
from noiseflow.patches.pairings.pairing import Conclusion, Stacking
from noiseflow.patches.pairings.shift import Shift
from noiseflow.patches.pairings.stacked import stacked
from noiseflow.patches.pairings.sums import Sums
from noiseflow.patches.shared_mean import Share
from noiseflow.patches.sources.scene import Scene
from noiseflow.raw.image import RawImage

__all__ = ["BURST"]

DARK_PART = 0.005
"""A scene whose mean is within this part of the range from black, and flat, looks dark."""


def conclude(scene: Scene, sums: Sums, flows: Sequence[Sequence[Shift]]) -> Conclusion:
    """Find drift, flicker and motion.

    Where the scene moves, in any frame, no pixel is valid in all frames, since each is in
    the others' mean.
    """
    signal = sums.signal
    variance = MIDDLE * np.minimum(sums.variance, _typical(signal, sums.variance)) / sums.blocks.pixels
    # A saturated block follows no flicker; its patches are left out as clipped.
    variance[sums.saturated] = np.inf
    drift = fit_drift(sums.middles, signal, variance)
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


def drift_facts(sums: Sums, drift: Drift) -> dict[str, Any]:
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
    if motion.whole:
        cautions.append(
            f"{scene.name}: no static burst: {100 * motion.part:.0f} % of it moves, whole frames by up to "
            f"{2 * motion.shift:.2g} pixels (most in {names}); all of it is masked. "
            "Drop what moved, or shoot again from a tripod"
        )
    elif motion.part:
        cautions.append(f"{scene.name}: {100 * motion.part:.2g} % of it moves (most in {names}) and is masked")
    span = float((sums.white - sums.black).mean())
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


BURST = stacked("two frames or more", lambda scene: len(scene.frames) >= 2, Stacking(True, conclude, share))
