"""Figures of noise mosaics: how far a model's samples are from the camera, and by how much they are known."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from noiseflow.evaluate.metrics.denoising import _best, _features, _scenes, window_of
from tools.studies.zoo.cameras import Array
from tools.studies.zoo.frames import Frames, Pair, packed

__all__ = ["FIGURES", "RATIOS", "Deviation", "denoising_cost", "deviations", "frame_means", "measures", "worst"]

BLOCK = 64
"""Pixels of the shorter means of rows."""

LIT, WINDOWS = 3, 2**14
"""Lights at which a denoiser is trained, and windows of each."""

RATIOS = ("variance", "rows, 64", "rows, full", "columns", "kurtosis")
"""Compared as sampled over real; the others as sampled less real."""

FIGURES = (
    "variance",
    "rows, 64",
    "rows, full",
    "columns",
    "row to row",
    "ρ beside",
    "ρ below",
    "ρ two beside",
    "kurtosis",
)


@dataclass(frozen=True)
class Deviation:
    """A figure of samples against the camera's: their ratio or difference, its standard error, and where.

    Parameters
    ----------
    value, error : float
        Sampled over real for `RATIOS`, else sampled less real.
    floor : float
        The same of a second draw of the camera.
    light : float
        Light, part of full scale.
    """

    value: float
    error: float
    floor: float
    light: float


def _parts(noise: Array) -> dict[str, tuple[float, float]]:
    """Numerator and denominator of each figure, of one mosaic; lines are taken about the mean of their frame."""
    height, width = noise.shape
    square = float((noise**2).mean())
    centred = noise - noise.mean()
    row, column = centred.mean(1), centred.mean(0)
    block = centred[:, : width // BLOCK * BLOCK].reshape(height, -1, BLOCK).mean(2)
    power = float((row**2).mean())
    return {
        "variance": (square, 1.0),
        "rows, 64": (float((block**2).mean()) * BLOCK, square),
        "rows, full": (power * width, square),
        "columns": (float((column**2).mean()) * height, square),
        "row to row": (float((row[1:] * row[:-1]).mean()), power),
        "ρ beside": (float((noise[:, 1:] * noise[:, :-1]).mean()), square),
        "ρ below": (float((noise[1:] * noise[:-1]).mean()), square),
        "ρ two beside": (float((noise[:, 2:] * noise[:, :-2]).mean()), square),
        "kurtosis": (float((noise**4).mean()), square**2),
    }


def measures(stack: Sequence[Array]) -> dict[str, tuple[float, float]]:
    """Each figure over some mosaics of one light, and its standard error from the spread over mosaics.

    Parameters
    ----------
    stack : sequence of ndarray, shape (H, W)
        Noise.
    """
    each = [_parts(noise) for noise in stack]
    found = {}
    for name in FIGURES:
        over, under = np.array([part[name] for part in each]).T
        mean = float(over.mean() / under.mean())
        # Of a ratio of means, to first order.
        error = float(np.std(over - mean * under, ddof=1) / np.sqrt(len(over)) / under.mean())
        found[name] = mean, error
    return found


def deviations(pairs: Sequence[Pair]) -> dict[tuple[str, float, float], dict[str, Deviation]]:
    """Of each camera at each ISO and light."""
    found = {}
    for key in sorted({(pair.camera, pair.iso, pair.light) for pair in pairs}):
        some = [pair for pair in pairs if (pair.camera, pair.iso, pair.light) == key]
        real, again, made = (measures([getattr(pair, side) for pair in some]) for side in ("real", "again", "made"))
        found[key] = {name: _deviation(name, real, again, made, key[2]) for name in FIGURES}
    return found


def _deviation(
    name: str,
    real: Mapping[str, tuple[float, float]],
    again: Mapping[str, tuple[float, float]],
    made: Mapping[str, tuple[float, float]],
    light: float,
) -> Deviation:
    # Both draws of the camera tell of it.
    truth = (real[name][0] + again[name][0]) / 2
    error = float(np.hypot(made[name][1], np.hypot(real[name][1], again[name][1]) / 2))
    value, floor = made[name][0] - truth, again[name][0] - real[name][0]
    if name in RATIOS:
        return Deviation(made[name][0] / truth, error / truth, again[name][0] / real[name][0], light)
    return Deviation(value, error, floor, light)


def frame_means(pairs: Sequence[Pair]) -> Deviation:
    """Variance of the means of frames, in variances of their pixels so that dark ones count too, over all light."""
    real, again, made = (
        np.array([getattr(pair, side).mean() ** 2 / pair.real.var() for pair in pairs])
        for side in ("real", "again", "made")
    )
    truth = (real.mean() + again.mean()) / 2
    parts = [float(each.std(ddof=1) / np.sqrt(len(each)) / each.mean()) for each in (real, again, made)]
    error = float(np.hypot(parts[2], np.hypot(parts[0], parts[1]) / 2))
    return Deviation(
        float(made.mean() / truth), error * float(made.mean() / truth), float(again.mean() / real.mean()), 0.5
    )


def denoising_cost(pairs: Sequence[Pair], frames: Frames) -> Deviation:
    """What the best linear denoiser loses by samples in place of noise, dB, as of `DenoisingMetric`, where it is most.

    Trained on samples, or on the second draw of the camera, and tested on the first; of `LIT` lights, and with the
    standard error over frames.
    """
    found = []
    keys = sorted({(pair.camera, pair.iso, pair.light) for pair in pairs})
    for key in keys[:: max(1, len(keys) // LIT)]:
        some = [pair for pair in pairs if (pair.camera, pair.iso, pair.light) == key]
        sigma = float(np.sqrt(np.mean([pair.real.var() for pair in some])))
        sides = {}
        for side in ("real", "again", "made"):
            cut = [_cut(getattr(pair, side) / sigma, frames) for pair in some]
            most = max(1, WINDOWS // sum(len(each) for each in cut))
            sides[side] = [_features(each, window_of(tuple(each.shape[1:])), most).flatten(0, 1) for each in cut]
        shape = tuple(_cut(some[0].real, frames).shape[1:])
        scenes, target, rest = _scenes(shape, window_of(shape))
        errors = {}
        for side in ("again", "made"):
            rows = torch.cat(sides[side])
            weights = _best(scenes, rows.T @ rows / len(rows), target)
            missed = float((rest - 2 * (weights * target).sum(0) + (weights * (scenes @ weights)).sum(0)).sum())
            errors[side] = np.array([float((each @ weights).square().sum(1).mean()) + missed for each in sides["real"]])
        ratio = errors["made"].mean() / errors["again"].mean()
        spread = float(
            np.std(errors["made"] - ratio * errors["again"], ddof=1) / np.sqrt(len(some)) / errors["again"].mean()
        )
        found.append(Deviation(10 * float(np.log10(ratio)), 10 / np.log(10) * spread / float(ratio), 0.0, key[2]))
    return max(found, key=lambda each: each.value)


def _cut(noise: Array, frames: Frames) -> torch.Tensor:
    planes = torch.from_numpy(packed(noise, frames.cfa)).float()
    side = frames.side
    parts = planes.unfold(1, side, side).unfold(2, side, side)
    return parts.permute(1, 2, 0, 3, 4).flatten(0, 1)


def worst(found: Iterable[Mapping[str, Deviation]], name: str) -> Deviation:
    """The bin in which a figure is farthest from the camera's."""
    nought = 1.0 if name in RATIOS else 0.0
    return max((each[name] for each in found), key=lambda each: abs(each.value - nought))
