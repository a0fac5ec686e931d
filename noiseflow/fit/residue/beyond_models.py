"""Find noise that no model has: a mean, rows of one plane, frames of several gains."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noiseflow.patches.store.patches import PatchBatch

__all__ = ["beyond_models"]

Array = NDArray[np.float64]

SURE = 5.0
"""A mean or a row offset is reported beyond so many standard errors; by chance 1 in 10⁶."""

OFF = 0.1
"""The black level of a plane is doubted if its noise has a mean of more than this many σ of the darkest frames."""

APART = 0.2
"""The gains of frames are doubted if their variances at the same light spread by more than this fraction."""

RARE = 50.0
"""Squares of noise are limited to this multiple of their median in a patch, 4.8 σ of Gaussian noise."""

CLIPPED = 1e-3
"""Largest fraction of a camera's codes at 0 at which a mean is not that of a clipped tail."""

OWN = 0.01
"""Row offsets that planes do not share are reported above this fraction of a pixel's variance."""

FRAMES, VALUES, PATCHES = 8, 2000, 32
"""Fewest frames of a camera at an ISO that are compared, fewest values of each, and fewest patches for their rows."""


def beyond_models(
    batch: PatchBatch, frames: NDArray[np.int64], cameras: Sequence[str], planes: Sequence[str]
) -> list[str]:
    """Say what is in the noise that a model cannot have: a mean, rows of one plane, frames of several gains.

    Parameters
    ----------
    batch : PatchBatch
        Training patches, best in whole bands of sensor rows.
    frames : ndarray of int, shape (B,)
        Number of each patch's frame.
    cameras, planes : sequence of str
        Names.

    Returns
    -------
    list of str
        One sentence for each.
    """
    found: list[str] = []
    noise, clean = (part.double().numpy() for part in (batch.noise, batch.clean))
    seen = np.ones(noise.shape, bool) if batch.observed is None else batch.observed.numpy()
    black = batch.table["black"].astype(np.float64)
    span = (batch.table["white"].astype(np.float64)[:, None] - black)[..., None, None]
    code = black[..., None, None] + (noise + clean) * span
    for camera, iso in sorted({(int(c), float(i)) for c, i in zip(batch.camera, batch.iso, strict=True)}):
        own = ((batch.camera == camera) & (batch.iso == iso)).numpy()
        number = np.unique(frames[own], return_inverse=True)[1]
        if (
            np.count_nonzero(np.bincount(number) * noise[0].size >= VALUES) < FRAMES
            or (code[own] < 0.5).mean() > CLIPPED
        ):
            continue
        part = _Frames(noise[own] * seen[own], seen[own], clean[own], number, float(span[own].mean()))
        said = [*_means(part, planes), *_gains(part), *(_rows_of_planes(part) if len(planes) == 4 else ())]
        found += [f"camera {cameras[camera]!r}, ISO {iso:g}: {text}" for text in said]
    return found


@dataclass(frozen=True, eq=False)
class _Frames:
    """Patches of one camera at one ISO: noise, 0 where it is not seen, clean signal, frame of each, and DN of 1."""

    noise: Array
    seen: NDArray[np.bool_]
    clean: Array
    frame: NDArray[np.int64]
    span: float

    def sums(self, values: Array) -> Array:
        """Sum over the patches of each frame."""
        return np.stack([values[self.frame == each].sum(0) for each in range(self.frame.max() + 1)])


def _means(part: _Frames, planes: Sequence[str]) -> Iterator[str]:
    count = part.sums(part.seen.sum((2, 3)))
    mean, square = (part.sums(each.sum((2, 3))) / count.clip(1) for each in (part.noise, part.noise**2))
    # Codes are rounded: no variance is below that, and a frame that is masked has none.
    square = np.maximum(square, 1 / 12 / part.span**2)
    weight = (count > 0) / square
    total = weight.sum(0)
    of_planes = zip(square.T, count.T > 0, strict=True)
    sigma = np.sqrt([np.quantile(one[have], 0.25) if have.any() else np.inf for one, have in of_planes])
    centre = (weight * mean).sum(0) / np.where(total > 0, total, np.inf)
    scatter = np.maximum((mean - centre) ** 2, square / count.clip(1))
    error = np.hypot(np.sqrt((weight**2 * scatter).sum(0)) / np.where(total > 0, total, 1), _of_pattern(part))
    for plane in map(int, np.flatnonzero((np.abs(centre) > SURE * error) & (np.abs(centre) > OFF * sigma))):
        yield (
            f"the noise of plane {planes[plane]} has a mean of {part.span * centre[plane]:+.3g} ± "
            f"{part.span * error[plane]:.1g} DN: the black level of the frames or of their clean signal is wrong by "
            "this amount. The noise of a model has no mean: its rows and variance would be wrong; correct the black "
            "level of the plane"
        )


def _of_pattern(part: _Frames) -> float:
    """Error of a plane's mean by a fixed pattern, which is the same in all frames: scatter of patches over places.

    n patches of a frame lie in about √n columns and √n rows, whose fixed offsets they share; planes are pooled.
    """
    each = part.noise.sum((2, 3)) / part.seen.sum((2, 3)).clip(1)
    patches = np.bincount(part.frame)
    of_frame = (part.sums(each) / patches[:, None])[part.frame]
    if patches.max() < 2:
        return float(each.std(0).max())
    variance = float(((each - of_frame) ** 2).sum(0).mean()) / max(int((patches - 1).sum()), 1)
    return math.sqrt(variance / math.sqrt(float(np.median(patches))))


def _gains(part: _Frames) -> Iterator[str]:
    """Whether frames of similar light differ in variance, relative to one line of variance over light."""
    seen = part.seen.sum((1, 2, 3))
    about = part.noise - part.noise.sum(3, keepdims=True) / part.seen.sum(3, keepdims=True).clip(1)
    square = np.where(part.seen, about**2, np.nan).reshape(len(about), -1)
    # A few pixels hit by particles, or that jump, must not count as the noise of their frame.
    typical = np.array([np.nanmedian(one) if have else 0.0 for one, have in zip(square, seen, strict=True)])
    kept = np.nan_to_num(np.minimum(square, RARE * typical[:, None])).sum(1)
    count = part.sums(seen)
    variance = part.sums(kept)[count > 0] / count[count > 0]
    light = (part.sums((part.clean * part.seen).sum((1, 2, 3)))[count > 0]) / count[count > 0]
    if len(light) < FRAMES or not (variance > 0).all():
        return
    design = np.stack([light, np.ones_like(light)], 1)
    # In the dark all light is 0, and the line a constant.
    solution = np.linalg.lstsq(design / variance[:, None], np.ones_like(light), rcond=None)[0]
    line = np.maximum(design @ solution, 0.1 * variance.min())
    order = np.argsort(light)
    pairs = [(a, b) for a, b in itertools.pairwise(order) if abs(light[a] - light[b]) <= 0.1 * abs(light[b]) + 1e-3]
    if len(pairs) < FRAMES // 2:
        return
    ratio = np.array([np.log(variance[b] / line[b] / (variance[a] / line[a])) for a, b in pairs])
    spread = float(np.sqrt((ratio**2).mean() / 2))
    # A few frames that moved are no second gain.
    if spread > APART and float((np.abs(ratio) > APART).mean()) > 0.25:
        yield (
            f"the variance of frames of the same light differs by {100 * spread:.0f} % (standard deviation): they have "
            "several gains under one ISO, their light flickers, or the scene moved. A model has one gain per ISO: give "
            "each gain its own ISO, or use steady light"
        )


def _rows_of_planes(part: _Frames) -> Iterator[str]:
    """Whether the two planes of a row share less than each has: an offset of each, or of one of them."""
    # In the darkest quarter of the frames, where offsets are the largest part.
    square = part.sums((part.noise**2).sum((1, 2, 3))) / part.sums(part.seen.sum((1, 2, 3))).clip(1)
    dark = square[part.frame] <= np.quantile(square, 0.25)
    x = part.noise[dark] - part.noise[dark].mean((2, 3), keepdims=True)
    x = x / np.sqrt((x**2).mean((2, 3), keepdims=True).clip(1e-300))
    width = x.shape[3]
    if len(x) < PATCHES or width <= 8:
        return
    near = sum((x[..., lag:] * x[..., : width - lag]).sum(3) * (2 if lag else 1) for lag in range(3))
    alone = (x.sum(3) ** 2 - near) / (width**2 - width - 2 * (width - 1) - 2 * (width - 2))
    for one, other, names in ((0, 1, "R and G1"), (2, 3, "G2 and B")):
        shared = x[:, one].sum(2) * x[:, other].sum(2) / width**2
        excess = ((alone[:, one] + alone[:, other]) / 2 - shared).mean(1)
        value, error = float(excess.mean()), float(excess.std(ddof=1) / np.sqrt(len(excess)))
        if value > SURE * error and value > OWN:
            yield (
                f"row offsets differ between planes {names}: {100 * value:.1f} ± {100 * error:.1g} % of the variance "
                "of a pixel is a row offset of one plane alone. A model's rows are those of the sensor: its samples "
                "share them between planes"
            )
