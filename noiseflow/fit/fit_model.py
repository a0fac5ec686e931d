"""Fit a noise model to a patch store by maximum likelihood."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from noiseflow.core.progress import Progress, silent
from noiseflow.fit.batches import PatchBatches, bands_of, conditions_of, train_and_held_out, whole_bands
from noiseflow.fit.discretised_objective import DiscretisedObjective, codes_of
from noiseflow.fit.gather_statistics import gather
from noiseflow.fit.likelihood_objective import LikelihoodObjective
from noiseflow.fit.training.engine import train
from noiseflow.fit.training.objective import TrainingLength
from noiseflow.fit.training.session import TrainingSession, open_session
from noiseflow.fit.training.settings import FitSettings
from noiseflow.fit.training.state import TrainState
from noiseflow.models.io.run_folder import save
from noiseflow.models.model import NoiseModel, build
from noiseflow.models.noise_statistics import NoiseStatistics
from noiseflow.models.spec import ModelSpec
from noiseflow.patches.store.patches import Patches

__all__ = ["FitResult", "FitSettings", "fit", "spec_for"]

BASELINES = ("gaussian", "nlf")
"""Closed-form models whose held-out NLL is reported beside that of every fit."""

START_PATCHES = 8192
"""Patches that refine a model's start, in whole sensor rows: see `whole_bands`."""

START_CODES = 2**20
"""Values for the closed-form fit to the integers: they determine σ to 0.1 %."""


@dataclass(frozen=True)
class FitResult:
    """Result of a fit: NLL in nats/dim on held-out patches, at the start and at the best epoch."""

    folder: Path
    model: NoiseModel
    start_nll: float
    best_nll: float
    best_epoch: int
    epochs: int
    seconds: float


def spec_for(store: Patches, model: str, options: dict[str, Any] | None = None) -> ModelSpec:
    """Spec of a model for the planes, cameras and ISOs of a store.

    Parameters
    ----------
    store : PatchStore or StoreMix
        Patches that the model will be fitted to.
    model : str
        Name in the registry, or the published architecture string of a Noise Flow, such as
        ``"sdn5|unc|unc|gain4|unc|unc"``.
    options : dict, optional
        Options of the model.
    """
    options = dict(options or {})
    if "|" in model:
        model, options = "noise_flow", {**options, "architecture": model}
    return ModelSpec(model, store.layout, store.cameras, store.isos, options)


def fit(
    store: Patches,
    spec: ModelSpec,
    out: str | Path,
    settings: FitSettings | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = silent,
) -> FitResult:
    """Fit a model by maximum likelihood and write its run folder.

    The model starts from the training data's statistics, which already is the fit of a closed-form model.
    Others are trained on the NLL of shuffled patches (`noiseflow.fit.training.engine`); the weights with the
    lowest held-out NLL are kept, those of the start included.

    Parameters
    ----------
    store : PatchStore or StoreMix
        Patches with the split ``train``; see `train_and_held_out` for what is held out.
    spec : ModelSpec
        Model to fit, with the store's cameras and ISOs: see `spec_for`.
    out : path
        Run folder to write.
    settings : FitSettings, optional
        Settings of the training; the defaults of `FitSettings` if None.
    resume : bool
        Resume the fit in `out`; the result equals that of an uninterrupted fit.
    overwrite : bool
        Whether a run in `out` may be replaced.
    progress : Progress
        Called after each step.

    Raises
    ------
    ModelError
        `out` already holds a run, none to resume, or one of other data or settings.
    DataError
        The data holds NaN, or the likelihood was not finite in several steps.
    """
    settings = settings or FitSettings()
    # Before the session, which may empty `out`: a spec that cannot be built must not cost a run.
    build(spec)
    inputs = [store.path]
    with open_session(
        out, settings.device, resume=resume, overwrite=overwrite, inputs=inputs, progress=progress
    ) as session:
        return _fit(store, spec, settings, session)


def _fit(store: Patches, spec: ModelSpec, settings: FitSettings, session: TrainingSession) -> FitResult:
    device = session.device
    if settings.objective == "discretised":
        spec = replace(spec, options={**spec.options, "before_rounding": True})
    model = build(spec)
    # Read first: a store without a clean signal should be reported as such, not by what its splits lack.
    store.read(store.indices("train")[:1])
    train_rows, held_out = train_and_held_out(store, settings.held_out, settings.seed)
    statistics = gather(store, train_rows, session.progress)
    _start(model, statistics, store, train_rows, settings)
    baselines = {name: build(ModelSpec(name, spec.layout, spec.cameras, spec.isos)) for name in BASELINES}
    for each in baselines.values():
        _start(each, statistics, store, train_rows, settings)
    for each in (model, *baselines.values()):
        each.to(device).eval()
    proposal = baselines["nlf"].requires_grad_(False)

    def objective_of(batch: int) -> LikelihoodObjective:
        batches = PatchBatches(store, train_rows, batch, settings.seed)
        if settings.objective == "discretised":
            return DiscretisedObjective(batches, held_out, device, proposal=proposal)
        return LikelihoodObjective(batches, held_out, device)

    chosen = len(train_rows) if model.closed_form else settings.batch
    batch = session.batch_size(chosen, model, objective_of, len(train_rows))
    objective = objective_of(batch)
    references = {name: objective.held_out(each) for name, each in baselines.items()}
    objective.references = references
    if model.closed_form:
        nll = objective.held_out(model)
        state = TrainState(best=nll, history=[{"step": 0, "train_nll": math.nan, "held_out_nll": nll, "epoch": 0}])
    else:
        settings = replace(settings, batch=batch)
        length = TrainingLength.of_epochs(settings.epochs, objective.batches.steps, settings.steps_per_epoch, batch)
        fixed = {"data": store.fingerprint, "spec": json.loads(model.spec.to_json()), **settings.binding()}
        state = train(model, objective, settings, length, session, fixed)
    model.cpu()
    start = state.history[0]["held_out_nll"]
    result = FitResult(session.out, model, start, state.best, state.best_epoch, state.epoch, session.seconds)

    def write() -> None:
        save(model, session.out)
        session.write_history(state.history)
        session.write_record(_record(result, store, settings, references))

    session.ranks.first(write)
    return result


def _start(
    model: NoiseModel, statistics: NoiseStatistics, store: Patches, rows: NDArray[np.int64], settings: FitSettings
) -> None:
    """Set a model's parameters from statistics and some patches: its fit in closed form, or its starting point."""
    model.start_from(statistics)
    some = whole_bands(store, rows, START_PATCHES, settings.seed)
    batch = store.read(some)
    model.start_from_patches(batch.noise, conditions_of(batch), torch.from_numpy(bands_of(store, some)))
    if settings.objective == "discretised":
        most = max(1, START_CODES // math.prod(store.patch_shape))
        some = np.random.default_rng(settings.seed).permutation(rows)[:most]
        model.start_from_codes(*codes_of(store.read(some)))


def _record(
    result: FitResult, store: Patches, settings: FitSettings, references: Mapping[str, float]
) -> dict[str, Any]:
    return {
        "store": str(store.path),
        "data": store.fingerprint,
        "settings": asdict(settings),
        "unit": result.model.spec.unit,
        "held_out_nll_start_nats_per_dim": result.start_nll,
        "held_out_nll_nats_per_dim": result.best_nll,
        "held_out_nll_of_baselines_nats_per_dim": dict(references),
        "best_epoch": result.best_epoch,
        "epochs": result.epochs,
        "seconds": round(result.seconds, 1),
    }
