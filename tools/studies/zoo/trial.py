"""One camera: its store, the default fit, and how far its samples are from the camera."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import noiseflow
from noiseflow.core.errors import FitWarning
from noiseflow.fit import FitResult, FitSettings, fit, spec_for
from tools.studies.zoo.frames import Frames, pairs, store_of
from tools.studies.zoo.measures import FIGURES, Deviation, denoising_cost, deviations, frame_means, worst
from tools.studies.zoo.truth import Behind, Covariance, behind_truth

__all__ = ["NAMED", "Trial", "chosen", "tried"]

NAMED = ("row_flicker", "row_memory", "column_noise", "neighbours", "bend", "telegraph")
"""Options of the spec that stand for a component."""


@dataclass(frozen=True)
class Trial:
    """What a fit found of a camera.

    Parameters
    ----------
    found : str
        Options of the spec that it set.
    result : FitResult
        The fit.
    gain : float
        NLL of `nlf` less that of the fit, held out, nats/dim.
    warned : tuple of str
        Warnings of the fit.
    figures : mapping
        The worst deviation of each figure, over lights, ISOs and cameras, and that of means of frames.
    each : mapping
        All deviations, by camera, ISO and light.
    behind : Behind or None
        NLL behind the truth, where it is known.
    cost : Deviation
        dB that samples cost the best linear denoiser, in the light where they cost most.
    """

    found: str
    result: FitResult
    gain: float
    warned: tuple[str, ...]
    figures: Mapping[str, Deviation]
    each: Mapping[tuple[str, float, float], Mapping[str, Deviation]]
    behind: Behind | None
    cost: Deviation


def chosen(result: FitResult) -> str:
    """Options of the spec that a fit set, in one string."""
    options = result.model.spec.options
    return ", ".join(name for name in NAMED if options.get(name)) or "nothing"


def tried(
    frames: Frames,
    folder: Path,
    settings: FitSettings,
    seed: int,
    *,
    signals: int,
    draws: int,
    covariance: Covariance | None = None,
) -> Trial:
    """Fit the default model to a camera and compare its samples with fresh frames.

    Parameters
    ----------
    frames : Frames
        How the camera is shot.
    folder : Path
        Empty, for its store and runs.
    settings : FitSettings
        Of the fit.
    seed : int
        Of frames and draws.
    signals, draws : int
        See `pairs`.
    covariance : callable, optional
        See `behind_truth`.
    """
    with store_of(folder / "store.h5", frames, seed) as store, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", FitWarning)
        result = fit(store, spec_for(store, "physics_flow"), folder / "run", settings)
        other = fit(store, spec_for(store, "nlf"), folder / "nlf", FitSettings(objective=result.objective.name))
    said = tuple(dict.fromkeys(str(each.message) for each in caught if issubclass(each.category, FitWarning)))
    model = noiseflow.load(result.folder)
    seen = list(pairs(frames, model, seed + 1000, signals=signals, draws=draws))
    each = deviations(seen)
    figures = {name: worst(each.values(), name) for name in FIGURES}
    figures["frame means"] = frame_means(seen)
    behind = None if covariance is None else behind_truth(frames, covariance, model, seed + 2000)
    gain = other.best_nll - result.best_nll
    return Trial(chosen(result), result, gain, said, figures, each, behind, denoising_cost(seen, frames))
