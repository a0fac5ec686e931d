"""Fit a noise model and a denoiser to pairs of noisy frames, without a clean image (Noise2NoiseFlow)."""

import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import DataError
from noiseflow.core.progress import Progress, silent
from noiseflow.fit.batches import PatchBatches, train_and_held_out
from noiseflow.fit.noisy_pairs.pair_dataset import NOISY_PAIR, NoisyPairs, pair_statistics, smoothest
from noiseflow.fit.noisy_pairs.pair_objective import NoiseAndDenoiser, PairObjective, PairSettings
from noiseflow.fit.training.engine import train
from noiseflow.fit.training.objective import TrainingLength
from noiseflow.fit.training.session import TrainingSession, open_session
from noiseflow.fit.training.settings import FitSettings
from noiseflow.flows.conditions import Resolved
from noiseflow.models.denoiser import Denoiser, DenoiserSpec, save_denoiser
from noiseflow.models.flow.flow_model import ResidualFlow
from noiseflow.models.io.run_folder import save
from noiseflow.models.model import ModelSpec, NoiseModel, build
from noiseflow.models.noise_statistics import is_closed_form, local_mean, refine_start, start_from
from noiseflow.patches.store.patches import Patches

__all__ = ["NOISY_PAIR", "PairResult", "PairSettings", "fit_pairs"]

START_PAIRS, SMOOTHEST = 4096, 0.25
"""Number of pairs read to refine a model's start, and the fraction of them that is used."""


@dataclass(frozen=True)
class PairResult:
    """Result of a fit to noisy pairs; figures are means over held-out pairs.

    Parameters
    ----------
    folder : Path
        Run folder.
    model : NoiseModel
        Fitted noise model.
    denoiser : Denoiser
        Trained denoiser.
    start_nll, best_nll : float
        NLL of the noise in the pairs, at the start and at the best epoch, nats/dim.
    error : float
        Mean squared error of the denoiser relative to the noise variance.
    best_epoch, epochs : int
        Epoch with the lowest held-out loss, and number of epochs.
    seconds : float
        Duration of the session.
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
        """PSNR of the denoised frames minus that of the noisy ones, dB."""
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

    Minimises over both, with noise variance v,

        −log p(n | c) / dims + λ·¼·mean{[(x₁ − D(x₂))² + (x₂ − D(x₁))²] / v},

    where the second term is the Noise2Noise loss.  As published, n = x₁ − D(x₂) and c = D(x₂), and the
    same with x₁ and x₂ exchanged; the noise then contains D's own error, which `residual` divides out of the
    variance.  The default, `difference`, uses n = (x₁ − x₂)/√2 and for c the mean of D(x₁) and D(x₂), so that
    only c contains D's error.  Model and denoiser start from `pair_statistics`, which need no denoiser; a
    closed-form model is not trained further.

    Parameters
    ----------
    store : PatchStore or StoreMix
        Pairs, ingested with the pairing ``noisy-pair``; see `train_and_held_out` for what is held out.
    spec : ModelSpec
        Noise model to fit.
    out : path
        Run folder to write: the noise model for `noiseflow.load`, and the folder ``denoiser`` for
        `noiseflow.load_denoiser`.
    settings : FitSettings, optional
        Settings of the training; by default those of `FitSettings`.
    pair_settings : PairSettings, optional
        Settings of pairs and denoiser; by default those of `PairSettings`.
    resume : bool
        Resume the fit in `out`; the result equals that of an uninterrupted fit.  A finished fit is resumed for more
        epochs, with the schedule of the longer fit; it stays in place until that is complete.
    overwrite : bool
        Replace an existing run in `out`.
    progress : Progress
        Called after each step.

    Raises
    ------
    ModelError
        If there is no run to resume in `out`, or one that is finished with as many epochs or more, or one with
        other data or settings.
    OutputError
        If `out` exists and may not be replaced.
    DataError
        If the store has no noisy pairs, or the loss was not finite in several steps.

    References
    ----------
    Maleky, Kousha, Brown, Brubaker: Noise2NoiseFlow: realistic camera noise modeling without
    clean images, CVPR 2022, section 3; Lehtinen et al.: Noise2Noise, ICML 2018.  The weight 2¹⁸ of their
    code on an error that is not divided by v is ½/v at σ = 0.0014.
    """
    settings, pair_settings = settings or FitSettings(), pair_settings or PairSettings()
    if settings.objective == "discretised":
        raise DataError(
            f"objective {settings.objective!r}: differences of two frames are not integer codes; use 'continuous'"
        )
    # Before the session, which may empty `out`: an invalid spec must not cost an earlier run.
    build(spec)
    inputs = [store.path]
    epochs = settings.epochs
    with open_session(
        out, settings.device, resume=resume, overwrite=overwrite, inputs=inputs, epochs=epochs, progress=progress
    ) as session:
        return _fit_pairs(store, spec, settings, pair_settings, session)


def _fit_pairs(
    store: Patches, spec: ModelSpec, settings: FitSettings, pair_settings: PairSettings, session: TrainingSession
) -> PairResult:
    device = session.device
    rows, held_out = train_and_held_out(store, settings.held_out, settings.seed)
    pairs = NoisyPairs(store, np.concatenate([rows, held_out]))
    both = _started(pairs, rows, spec, settings, pair_settings, session.progress).to(device)

    def objective_of(batch: int) -> PairObjective:
        return PairObjective(pairs, PatchBatches(store, rows, batch, settings.seed), held_out, device)

    batch = session.batch_size(settings.batch, both, objective_of, len(rows))
    settings, objective = replace(settings, batch=batch), objective_of(batch)
    start = objective.held_out_values(both)
    length = TrainingLength.of_epochs(settings.epochs, objective.batches.steps, settings.steps_per_epoch, batch)
    fixed = {"data": store.fingerprint, "spec": json.loads(both.model.spec.to_json()), "pairs": asdict(pair_settings)}
    state = train(both, objective, settings, length, session, {**fixed, **settings.binding()})
    found = objective.held_out_values(both.eval())
    both.cpu()
    result = PairResult(
        session.final,
        both.model,
        both.denoiser,
        float(start.nll),
        float(found.nll),
        float(found.error),
        state.best_epoch,
        state.epoch,
        session.seconds,
    )

    def write() -> None:
        save_denoiser(both.denoiser, session.out)
        session.write_history(state.history)
        session.write_record(_record(store, settings, pair_settings, result))
        # The spec comes last, since it marks the run as complete.
        save(both.model, session.out)

    session.ranks.first(write)
    return result


def _started(
    pairs: NoisyPairs,
    rows: NDArray[np.int64],
    spec: ModelSpec,
    settings: FitSettings,
    pair_settings: PairSettings,
    progress: Progress,
) -> NoiseAndDenoiser:
    """Make model and denoiser, and start both from the statistics of the pairs."""
    shape = pair_settings.width, pair_settings.depth, settings.seed
    denoiser = Denoiser(DenoiserSpec(spec.layout, spec.cameras, spec.isos, *shape))
    statistics = pair_statistics(pairs, rows, progress)
    denoiser.level.start_from(statistics)
    model = build(spec)
    start_from(model, statistics)
    some = np.random.default_rng(settings.seed).permutation(rows)[:START_PAIRS]
    first, second, iso, camera = smoothest(pairs, some, denoiser.level, SMOOTHEST)
    clean = local_mean(0.5 * (first + second))
    refine_start(model, (first - second) / math.sqrt(2), Resolved(clean, iso, camera))
    if is_closed_form(model):
        model.requires_grad_(False)
    elif isinstance(model, ResidualFlow):
        # Statistics determine the head better than a likelihood with an estimated clean signal.
        model.shot_read.requires_grad_(False)
    return NoiseAndDenoiser(model, denoiser, pair_settings).eval()


def _record(store: Patches, settings: FitSettings, pairs: PairSettings, result: PairResult) -> dict[str, Any]:
    return {
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
