"""Fit a noise model and a denoiser to pairs of noisy frames, without a clean image (Noise2NoiseFlow)."""

import json
import math
import platform
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from noiseflow.core.errors import DataError
from noiseflow.core.output.listed import write_listed
from noiseflow.core.progress import Progress, silent
from noiseflow.core.version import __version__
from noiseflow.fit.batches import PatchBatches
from noiseflow.fit.held_out import train_and_held_out
from noiseflow.fit.noisy_pairs.pair_dataset import NOISY_PAIR, NoisyPairs, pair_statistics, smoothest
from noiseflow.fit.noisy_pairs.pair_objective import NoiseAndDenoiser, PairObjective, PairSettings
from noiseflow.fit.training.history import write_history
from noiseflow.fit.training.objective import Length
from noiseflow.fit.training.session import Sitting, begun
from noiseflow.fit.training.settings import FitSettings
from noiseflow.flows.conditions import Conditions
from noiseflow.models.denoiser import Denoiser, DenoiserSpec, local_mean, save_denoiser
from noiseflow.models.flow.residual_flow import ResidualFlow
from noiseflow.models.io.run_folder import save
from noiseflow.models.model import NoiseModel, build
from noiseflow.models.spec import ModelSpec
from noiseflow.patches.store.mixture import Patches

__all__ = ["NOISY_PAIR", "PairResult", "PairSettings", "fit_pairs"]

START_PAIRS, SMOOTHEST = 4096, 0.25
"""Pairs that are looked at to refine a model's start, and the part of them that are taken."""


@dataclass(frozen=True)
class PairResult:
    """What a fit to pairs came to, on held-out pairs.

    Parameters
    ----------
    folder : Path
    model : NoiseModel
    denoiser : Denoiser
    start_nll, best_nll : float
        Of the noise that the pairs show, nats/dim.
    error : float
        Of the denoiser: its mean squared error over the noise's variance.
    best_epoch, epochs : int
    seconds : float
    """

    folder: Path
    model: NoiseModel
    denoiser: Denoiser
    start_nll: float
    best_nll: float
    error: float
    best_epoch: int
    epochs: int
    seconds: float

    @property
    def gain_db(self) -> float:
        """How much nearer to the clean signal the denoised frames are than the noisy ones, dB."""
        return -10 * math.log10(max(self.error, 1e-6))


def fit_pairs(
    store: Patches,
    spec: ModelSpec,
    out: str | Path,
    settings: FitSettings | None = None,
    pair_settings: PairSettings | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = silent,
) -> PairResult:
    """Fit a noise model and a denoiser D to pairs x₁, x₂ of noisy frames.

    Minimises, over both at once and with v the noise's variance,

        −log p(n | c) / dims + λ·¼·mean{[(x₁ − D(x₂))² + (x₂ − D(x₁))²] / v},

    the second term being noise2noise's.  As published n is x₁ − D(x₂) and c is D(x₂), both
    ways, which adds D's own error to the noise: `residual` divides it out of the variance.
    `difference`, the default, has (x₁ − x₂)/√2 and the mean of D(x₁) and D(x₂) instead, where
    D's error is in c only.  Both start from `pair_statistics`, which need no denoiser; a model
    with a closed form is done then.

    Parameters
    ----------
    store : PatchStore or StoreMix
        Of the pairing ``noisy-pair``; see `train_and_held_out` for what is held out.
    spec : ModelSpec
        Of the noise model.
    out : path
        Run folder: the noise model, which `noiseflow.load` takes, and in ``denoiser`` what
        `noiseflow.load_denoiser` takes.
    settings : FitSettings, optional
    pair_settings : PairSettings, optional
    resume : bool
        Go on with the fit that `out` holds: the result is the one of a fit never stopped.
    overwrite : bool
        Whether a run in `out` may be replaced.
    progress : Progress
        Told of steps done.

    Raises
    ------
    ModelError
        `out` holds a run already, or none to go on with, or one of other data or settings.
    DataError
        The store holds other than noisy pairs, or a loss became infinite or NaN.

    References
    ----------
    Maleky, Kousha, Brown, Brubaker: Noise2NoiseFlow: realistic camera noise modeling without
    clean images, CVPR 2022, section 3; Lehtinen et al.: Noise2Noise, ICML 2018.  The weight 2¹⁸ of their
    code on an error that is not divided by v is ½/v at σ = 0.0014.
    """
    settings, pair_settings = settings or FitSettings(), pair_settings or PairSettings()
    if settings.objective != "continuous":
        raise DataError(f"objective {settings.objective!r}: differences of two frames are no codes; use 'continuous'")
    # What no model can be built from leaves the run alone that `out` may hold.
    build(spec)
    inputs = [store.path]
    with begun(out, settings.device, resume=resume, overwrite=overwrite, inputs=inputs, progress=progress) as sitting:
        return _fit_pairs(store, spec, settings, pair_settings, sitting)


def _fit_pairs(
    store: Patches, spec: ModelSpec, settings: FitSettings, pair_settings: PairSettings, sitting: Sitting
) -> PairResult:
    out, device = sitting.out, sitting.device
    rows, held_out = train_and_held_out(store, settings.held_out, settings.seed)
    pairs = NoisyPairs(store, np.concatenate([rows, held_out]))
    both = _started(pairs, rows, spec, settings, pair_settings, sitting.progress).to(device)

    def objective_of(batch: int) -> PairObjective:
        return PairObjective(pairs, PatchBatches(store, rows, batch, settings.seed), held_out, device)

    batch = sitting.batch(settings.batch, both, objective_of, len(rows))
    settings, objective = replace(settings, batch=batch), objective_of(batch)
    start = objective.judged(both)
    look = min(objective.batches.steps, settings.steps_per_epoch or objective.batches.steps)
    length = Length(settings.epochs * look, look, batch)
    state = sitting.train(
        both, objective, settings, length, _must_match(store, both.model.spec, settings, pair_settings)
    )
    found = objective.judged(both.eval())
    both.cpu()
    result = PairResult(
        out,
        both.model,
        both.denoiser,
        float(start.nll),
        float(found.nll),
        float(found.error),
        state.best_epoch,
        state.epoch,
        sitting.seconds,
    )

    def write() -> None:
        save_denoiser(both.denoiser, out)
        save(both.model, out)
        write_history(out, state.history)
        _write_record(store, settings, pair_settings, result)

    sitting.ranks.first(write)
    return result


def _started(
    pairs: NoisyPairs,
    rows: NDArray[np.int64],
    spec: ModelSpec,
    settings: FitSettings,
    pair_settings: PairSettings,
    progress: Progress,
) -> NoiseAndDenoiser:
    """Both at their start, which knows the noise level function from the pairs' statistics."""
    shape = pair_settings.width, pair_settings.depth, settings.seed
    denoiser = Denoiser(DenoiserSpec(spec.layout, spec.cameras, spec.isos, *shape))
    statistics = pair_statistics(pairs, rows, progress)
    denoiser.level.start_from(statistics)
    model = build(spec)
    model.start_from(statistics)
    some = np.random.default_rng(settings.seed).permutation(rows)[:START_PAIRS]
    first, second, iso, camera = smoothest(pairs, some, denoiser.level, SMOOTHEST)
    clean = local_mean(0.5 * (first + second))
    model.start_from_patches((first - second) / math.sqrt(2), Conditions(clean, iso, camera))
    if model.closed_form:
        model.requires_grad_(False)
    elif isinstance(model, ResidualFlow):
        # Known better by the statistics than by a likelihood given a signal that is itself estimated.
        model.shot_read.requires_grad_(False)
    return NoiseAndDenoiser(model, denoiser, pair_settings).eval()


def _must_match(store: Patches, spec: ModelSpec, settings: FitSettings, pairs: PairSettings) -> dict[str, Any]:
    return {
        "data": store.fingerprint,
        "spec": json.loads(spec.to_json()),
        "pairs": asdict(pairs),
        **settings.binding(),
    }


def _write_record(store: Patches, settings: FitSettings, pairs: PairSettings, result: PairResult) -> None:
    record = {
        "tool": f"noiseflow {__version__}",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "store": str(store.path),
        "data": store.fingerprint,
        "settings": asdict(settings),
        "pairs": asdict(pairs),
        "unit": result.model.spec.unit,
        "held_out_nll_start_nats_per_dim": result.start_nll,
        "held_out_nll_nats_per_dim": result.best_nll,
        "denoiser_error_over_noise_variance": result.error,
        "denoiser_gain_db": result.gain_db,
        "best_epoch": result.best_epoch,
        "epochs": result.epochs,
        "seconds": round(result.seconds, 1),
    }
    write_listed(result.folder, "fit.json", (json.dumps(record, indent=2) + "\n").encode())
