"""Each frame of a static burst with the mean of the others."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.patches.blocks import MIDDLE
from noiseflow.patches.defects import find_defects
from noiseflow.patches.pairings.drift import Drift, fit_drift
from noiseflow.patches.pairings.motion import FALSE_ALARM, Motion, find_motion
from noiseflow.patches.pairings.pairing import Pair, Pairing, Reference
from noiseflow.patches.pairings.sums import FrameSums, sum_frames
from noiseflow.patches.sources.scene import Scene

__all__ = ["BURST", "distinct", "drift_facts", "mean_of_others"]

DARK_PART = 0.005
"""A scene whose mean is within this part of the range from black, and flat, looks dark."""


def prepare(scene: Scene) -> Reference:
    """Sum the frames; find drift, flicker, motion and defects.

    Where the scene moves, in any frame, no pixel is valid in all frames, since each is in
    the others' mean.
    """
    sums = sum_frames(scene)
    signal, pixel_variance = sums.block_signal(), sums.block_variance()
    variance = MIDDLE * np.minimum(pixel_variance, _typical(signal, pixel_variance)) / sums.blocks.pixels
    # A saturated block follows no flicker; its patches are left out as clipped.
    variance[sums.block_saturated()] = np.inf
    drift = fit_drift(np.stack(sums.middles), signal, variance)
    # Flicker moves the quarters of a block apart, so that their median is not that of the block's mean.
    flicker = np.abs(drift.gains - 1).max(0)[:, None, None] * sums.block_contrast()
    motion = find_motion(drift.residuals, variance + flicker**2, sums.flows)
    defects = find_defects(
        sums.mean,
        sums.variance,
        sums.count,
        levels=(sums.black, sums.white),
        drift_variance=sums.drift_variance(),
        structured=True,
    )
    valid = ~defects.mask
    valid &= ~sums.blocks.spread(motion.blocks)
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
        "masked_pixels": int((~valid).sum()),
        "defects": defects.facts,
    }
    return Reference({"total": sums.total, "valid": valid}, facts, _cautions(scene, sums, signal, motion))


def pair(scene: Scene, number: int, reference: Reference) -> Pair:
    """Frame n with the others' mean, at the frame's own offset and gain.

    Of n frames the mean has 1/(n − 1) of the noise variance, times g/ḡ where light flickers.
    It is independent of frame n's noise, but not of its own: pixels sorted by it are sorted
    by its noise too, so that in each bin of `clean` the noise has a mean of −(departure of
    the clean estimate), as large as a part 1/n of what scatters there.  Where the scene's signal
    varies much more than σ/√(n − 1) that is nothing; in a flat patch of two frames it is half
    of all.
    """
    noisy = scene.frames[number].read()
    facts = reference.facts
    drift = Drift(np.array(facts["frame_offsets_dn"]), np.array(facts["frame_gains"]), facts["flicker"], np.empty(0))
    count = facts["frames"]
    clean = mean_of_others(reference.arrays["total"], noisy.planes(), count)
    black, _ = noisy.levels()
    for plane, others in enumerate(clean):
        drift.bring(number, plane, others, float(black[plane, 0, 0]))
    # Photon noise goes with the light: that of the others, brought to this frame, is g/ḡ times its own.
    share = float(np.mean([drift.ratio(number, plane) for plane in range(len(clean))])) / (count - 1)
    return Pair(scene.frames[number], number, noisy, clean, share, reference.arrays["valid"])


def mean_of_others(total: NDArray[Any], frame: NDArray[Any], count: int) -> NDArray[np.float32]:
    """(Σ − frame)/(n − 1), shape (C, h, w); the difference of codes is exact."""
    mean = np.empty(frame.shape, np.float32)
    for plane, out in enumerate(mean):
        np.divide(total[plane] - frame[plane], count - 1, out=out, casting="same_kind")
    return mean


def drift_facts(sums: FrameSums, drift: Drift) -> dict[str, Any]:
    """What frames differ by: means, offsets and gains by frame and plane, and their scatter."""
    levels = np.array(sums.levels)
    return {
        "frame_means_dn": levels.tolist(),
        "drift_dn": float(levels.mean(1).std(ddof=1)),
        "frame_offsets_dn": drift.offsets.tolist(),
        "frame_gains": drift.gains.tolist(),
        "flicker": drift.flicker,
    }


def distinct(scene: Scene) -> Sequence[int]:
    """All frames; of two the first, since the second's pair is the first's with its sign turned."""
    return range(len(scene.frames) if len(scene.frames) > 2 else 1)


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


def _cautions(scene: Scene, sums: FrameSums, signal: NDArray[np.float64], motion: Motion) -> tuple[str, ...]:
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


BURST = Pairing("two frames or more", lambda scene: len(scene.frames) >= 2, distinct, prepare, pair)
