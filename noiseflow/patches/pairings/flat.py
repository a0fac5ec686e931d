"""Pair each flat frame with its own level times the photo response of its pixels, found from the other flats."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import RawError
from noiseflow.core.text import counted
from noiseflow.patches.pairings.frames.blocks import Blocks
from noiseflow.patches.pairings.frames.defects import NO_DEFECTS, Defects, find_defects, joined
from noiseflow.patches.pairings.frames.packed_frames import same_setting
from noiseflow.patches.pairings.frames.sums import HALO
from noiseflow.patches.pairings.pairing import (
    FrameByFrame,
    FramePair,
    Pairing,
    Reference,
    distinct_frames,
    without_pixels,
)
from noiseflow.patches.sources.scene import Scene
from noiseflow.raw.image import RawImage
from noiseflow.raw.patterns import offsets

__all__ = ["FLAT"]

Array = NDArray[np.float64]

LEVELS_APART = 1.5
"""Ratio of the highest to the lowest level above which a pixel's offset is separated from its response."""
CLIPPED = 1e-3
"""A frame with more than this fraction of its pixels clipped is not used, since its level is unknown."""
LIT_SIGMAS = 3.0
"""Flats whose level is less than this many σ of a pixel's noise above black are doubted."""


def prepare(scene: Scene) -> Reference:
    """Sum each pixel's departures from the level of its frame, and find dead and hot pixels.

    A pixel departs from the level L_j of frame j by q_j = f + L_j·p + noise, where f is the fixed
    pattern in DN and p the relative response, which includes PRNU and shading of the light.  The
    sums A = Σ w q and B = Σ w L q, with w = 1/(noise variance of the frame), are sufficient for
    weighted least squares, and any frame can be subtracted from them.  Exposures may differ;
    frames with more than 1 ‰ clipped pixels get no weight.

    Parameters
    ----------
    scene : Scene
        The series of flats.

    Returns
    -------
    Reference
        Arrays ``a``, ``b`` (the sums) and ``valid`` (False where a pixel is defective), facts and cautions.

    Raises
    ------
    RawError
        If a frame cannot be read or has another setting.
    """
    levels, variances, clipped, a, b = _summed(scene)
    facts: dict[str, Any] = {
        "frames": len(levels),
        "frame_levels_dn": np.array(levels).tolist(),
        "frame_variances_dn2": np.array(variances).tolist(),
        "clipped": clipped,
        "drift_dn": float(np.mean(levels, 1).std(ddof=1)),
    }
    if sum(not lost for lost in clipped) < 2:
        facts |= {"levels_apart": False, "masked_pixels": int(a.size), "defects": NO_DEFECTS.facts}
        caution = (
            f"{scene.name}: {sum(clipped)} of {len(clipped)} flats have more than 1 ‰ of their pixels at the white "
            "level, so all flats are masked. Take shorter exposures"
        )
        return Reference({"a": a, "b": b, "valid": np.zeros(a.shape, bool)}, facts, (caution,))
    facts["levels_apart"] = _apart(facts)

    light = np.mean([level.mean() for level, lost in zip(levels, clipped, strict=True) if not lost])
    noise = np.sqrt(np.mean(variances, 0)) / np.mean(levels, 0)
    defects, mask, facts["response_sigma"] = _defects(facts, a, b, noise)
    facts |= {"masked_pixels": int(mask.sum()), "defects": defects.facts}
    cautions = []
    if light < LIT_SIGMAS * np.sqrt(np.mean(variances)):
        cautions.append(
            f"{scene.name}: taken for flats, but their level is only {light:.3g} DN above black: are they dark frames?"
        )
    if any(clipped):
        cautions.append(f"{scene.name}: {counted(sum(clipped), 'flat')} with more than 1 ‰ at the white level, masked")
    return Reference({"a": a, "b": b, "valid": np.logical_not(mask, out=mask)}, facts, tuple(cautions))


def _summed(
    scene: Scene,
) -> tuple[list[Array], list[Array], list[bool], NDArray[np.float32], NDArray[np.float32]]:
    """Read all flats: levels in DN and noise variances in DN² of their planes, which are clipped, and the sums A, B."""
    first: RawImage | None = None
    levels: list[Array] = []
    variances: list[Array] = []
    clipped: list[bool] = []
    a = b = np.empty(0, np.float32)
    for frame in scene.frames:
        image = frame.read()
        if first is None:
            first = without_pixels(image)
            a = np.zeros(image.cube, np.float32)
            b = np.zeros_like(a)
        same_setting(first, image, exposure=False)
        planes, black = image.planes(), image.levels()[0].ravel()
        level = planes.mean((1, 2)) - black
        variance = np.array([_noise_variance(plane) for plane in planes])
        lost = float((planes >= image.clip_levels()).mean()) > CLIPPED
        weight = np.zeros(len(planes)) if lost else 1 / variance
        for index, plane in enumerate(planes):
            q = plane - np.float32(black[index] + level[index])
            q *= np.float32(weight[index])
            a[index] += q
            q *= np.float32(level[index])
            b[index] += q
        levels.append(level)
        variances.append(variance)
        clipped.append(lost)
        del image, planes
    if first is None:
        raise RawError(f"{scene.name}: contains no frame")
    return levels, variances, clipped, a, b


def pair(scene: Scene, number: int, reference: Reference) -> FramePair:
    """Pair flat n with the clean signal c = black + L_n + f + L_n·p, with f and p from the other flats only.

    L_n is the mean of frame n itself, so drift of the light does not matter.  If all flats have
    one level, f and p cannot be separated: p is fitted and f is 0.  If levels differ by a factor of 1.5
    or more, both are fitted.  c is linear in the other frames, c = Σ a_j q_j + …, so its
    variance is Σ a_j² v_j for noise variances v_j: 1/(n − 1) of the noise variance for n frames
    at one level, and less for a low level among high ones.  The pair records the mean over planes.

    Parameters
    ----------
    scene : Scene
        The series of flats.
    number : int
        Number of the frame.
    reference : Reference
        Sums over all flats, from `prepare`.
    """
    noisy = scene.frames[number].read()
    facts = reference.facts
    black = noisy.levels()[0].ravel()
    # Views, to save the memory of a copy.
    (_, height, width), side = noisy.cube, noisy.side
    planes = [noisy.mosaic[y : side * height : side, x : side * width : side] for y, x in offsets(noisy.cfa)]
    clean = np.empty((len(planes), height, width), np.float32)
    valid = reference.arrays["valid"]
    shares = []
    for index, out in enumerate(clean):
        level, variance = facts["frame_levels_dn"][number][index], facts["frame_variances_dn2"][number][index]
        weight = 0.0 if facts["clipped"][number] else 1 / variance
        along, share = _prediction(facts, index, number)
        q = planes[index] - np.float32(black[index] + level)
        np.multiply(reference.arrays["a"][index], np.float32(along[0]), out=out)
        out += reference.arrays["b"][index] * np.float32(along[1])
        q *= np.float32(weight * (along[0] + along[1] * level))
        out -= q
        out += np.float32(black[index] + level)
        shares.append(share)
    if facts["clipped"][number]:
        valid = np.zeros_like(valid)
    return FramePair(scene.frames[number], number, noisy, clean, float(np.mean(shares)), valid)


def _apart(facts: dict[str, Any]) -> bool:
    """Whether the levels of unclipped flats differ enough to separate offset from response."""
    levels = np.mean(facts["frame_levels_dn"], 1)[~np.array(facts["clipped"])]
    return bool(levels.max() > LEVELS_APART * max(levels.min(), 1e-9))


def _prediction(facts: Any, plane: int, number: int | None) -> tuple[Array, float]:
    """Coefficients of A and B that predict a pixel's departure at the level of frame n, without that frame.

    Parameters
    ----------
    facts : mapping
        Facts of the reference.
    plane : int
        Index of the colour plane.
    number : int or None
        Number of frame n.  If None, all frames are used, and the response p is predicted.

    Returns
    -------
    along : ndarray, shape (2,)
        Coefficients of A and B.
    share : float
        Variance of the prediction divided by that of the frame's noise.
    """
    levels = np.array(facts["frame_levels_dn"])[:, plane]
    variances = np.array(facts["frame_variances_dn2"])[:, plane]
    weights = np.where(facts["clipped"], 0.0, 1 / variances)
    apart = facts["levels_apart"]
    if number is not None:
        weights[number] = 0.0
    x = np.array([0.0, 1.0] if number is None else [1.0, levels[number]])
    moments = [float(weights @ levels**power) for power in range(3)]
    # Without frame n the others may all have the same level.
    if apart and moments[2] * moments[0] > (1 + (LEVELS_APART - 1) ** 2 / len(levels)) * moments[1] ** 2:
        along: Array = np.linalg.solve([moments[:2], moments[1:]], x)
    elif not moments[2]:
        along = np.zeros(2)
    else:
        along = np.array([0.0, x[1] / moments[2]])
    # Frames at one level have the same variance; measured values differ only by chance.
    noise = variances if apart else np.ones_like(variances)
    share = float((weights * (along[0] + along[1] * levels)) ** 2 @ noise)
    return along, share / float(noise[number or 0])


def _response(facts: Any, plane: int, a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Relative response p of each pixel from all frames; 0 for the plane's mean."""
    along, _ = _prediction(facts, plane, None)
    return np.asarray(a * np.float32(along[0]) + b * np.float32(along[1]), np.float32)


def _defects(
    facts: Any, a: NDArray[np.float32], b: NDArray[np.float32], noise: Array
) -> tuple[Defects, NDArray[np.bool_], list[float]]:
    """Find dead and hot pixels; return them, their mask, and the standard deviation of the response in each plane.

    Parameters
    ----------
    facts : mapping
        Facts of the series of flats.
    a, b : ndarray, shape (C, h, w)
        The sums A and B of each pixel.
    noise : ndarray, shape (C,)
        Noise σ of a pixel in one frame, as a fraction of the level.
    """
    planes, height, width = a.shape
    mask = np.empty(a.shape, bool)
    found, tops, moments = [], [], np.zeros((2, planes))
    for blocks in Blocks((height, width)).strips():
        rows = blocks.rows
        around = slice(max(rows.start - HALO, 0), min(rows.stop + HALO, height))
        inner = slice(rows.start - around.start, rows.stop - around.start)
        response = np.stack([_response(facts, plane, a[plane, around], b[plane, around]) for plane in range(planes)])
        own = response[:, inner].astype(np.float64)
        moments += own.sum((1, 2)), (own**2).sum((1, 2))
        response /= noise[:, None, None].astype(np.float32)
        found.append(
            find_defects(
                response,
                None,
                sum(not lost for lost in facts["clipped"]),
                levels=(np.zeros((4, 1, 1)), np.inf),
                structured=False,
                signal=np.zeros((planes, *blocks.grid)),
                blocks=blocks,
                inner=inner,
            )
        )
        mask[:, rows] = found[-1].mask
        tops.append(rows.start)
    mean, square = moments / (height * width)
    return joined(found, tops), mask, np.sqrt(np.maximum(square - mean**2, 0)).tolist()


def _noise_variance(plane: NDArray[Any]) -> float:
    """Noise variance in DN² from differences of neighbours, with outliers clipped; accurate enough for a weight."""
    step = np.diff(plane[::4].astype(np.float32), axis=1)
    bound = 5 * max(1.4826 * float(np.median(np.abs(step))), 1.0)
    return max(float(np.mean(np.clip(step, -bound, bound) ** 2, dtype=np.float64)) / 2, 1 / 12)


FLAT = Pairing(
    summary="the level and the photo response of the other flats",
    needs="two illuminated frames or more",
    how=FrameByFrame(pair, prepare),
    found=lambda scenes: "all flat according to their folder's name or listing",
    usable=distinct_frames,
    frames=2,
    kind="flat",
)
