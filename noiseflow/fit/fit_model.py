"""Fit a noise model to a patch store by maximum likelihood."""

import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.core.progress import Progress, silent
from noiseflow.fit.batches import (
    PatchBatches,
    conditions_of,
    gather,
    places_of,
    train_and_held_out,
    whole_bands,
)
from noiseflow.fit.contradictions import contradictions, levels_of
from noiseflow.fit.discretised_objective import DiscretisedObjective
from noiseflow.fit.likelihood_objective import LikelihoodObjective
from noiseflow.fit.objective_choice import ObjectiveChoice, away_from_the_clip, choose_objective
from noiseflow.fit.residue import said_of_noise
from noiseflow.fit.residue.beyond_models import beyond_models
from noiseflow.fit.residue.unlike_planes import unlike_planes
from noiseflow.fit.safeguards import (
    Notes,
    best_start,
    check_light,
    check_neighbours,
    check_result,
    check_start,
    weights_sha256,
    without_signal,
)
from noiseflow.fit.start_codes import start_codes, statistics_of_codes
from noiseflow.fit.training.engine import DivergedError, train
from noiseflow.fit.training.objective import TrainingLength
from noiseflow.fit.training.session import TrainingSession, open_session
from noiseflow.fit.training.settings import FitSettings
from noiseflow.fit.training.state import TrainState
from noiseflow.models.closed_form.nlf import LineEstimate, NoiseLevelFunction
from noiseflow.models.io.run_folder import save
from noiseflow.models.model import ModelSpec, NoiseModel, build
from noiseflow.models.noise_statistics import (
    EndsOnCodes,
    NoiseStatistics,
    StartsFromCodes,
    StartsFromPatches,
    components_of,
    is_closed_form,
    refine_start,
    refine_start_on_codes,
    start_from,
)
from noiseflow.patches.store.patches import Patches
from noiseflow.raw.bayer import plane_names

__all__ = ["FitResult", "FitSettings", "fit", "spec_for"]

BASELINES = ("gaussian", "nlf")
"""Closed-form models whose held-out NLL is reported with every fit."""

START_PATCHES = 8192
"""Number of patches that refine a model's start, in whole sensor rows: see `whole_bands`."""

LOOKED_AT = 8_000_000
"""Values in which `beyond_models` looks for noise that no model has: 2,000 patches of 4×32×32."""

START_CHECK = 256
"""Largest number of held-out patches on which a start is compared with `gaussian`."""


@dataclass(frozen=True)
class FitResult:
    """Result of a fit.

    Parameters
    ----------
    folder : Path
        Run folder.
    model : NoiseModel
        The fitted model.
    start_nll, best_nll : float
        Held-out NLL at the start and at the best epoch, nats/dim.
    best_epoch, epochs : int
        Epoch with the lowest held-out NLL (0 is the start), and number of epochs.
    seconds : float
        Duration of the fit.
    objective : ObjectiveChoice
        The objective, and why it was chosen.
    components : tuple of str
        Components of the model that the fit kept.
    estimates : tuple of LineEstimate
        Gain and read noise of each camera and ISO with their errors, of the model ``nlf``.
    continued : tuple of int
        Epochs at which the fit had been finished and was given more epochs.
    """

    folder: Path
    model: NoiseModel
    start_nll: float
    best_nll: float
    best_epoch: int
    epochs: int
    seconds: float
    objective: ObjectiveChoice
    components: tuple[str, ...] = ()
    estimates: tuple[LineEstimate, ...] = ()
    continued: tuple[int, ...] = ()


def spec_for(store: Patches, model: str, options: dict[str, Any] | None = None) -> ModelSpec:
    """Make the spec of a model for the planes, cameras and ISOs of a store.

    Parameters
    ----------
    store : PatchStore or StoreMix
        Patches to which the model will be fitted.
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
    start: NoiseModel | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = silent,
) -> FitResult:
    """Fit a model by maximum likelihood and write its run folder.

    The model starts from statistics of the training data; for a closed-form model this is already the fit.
    A start that is worse than `gaussian` on held-out patches is replaced by a simpler one, with a `FitWarning`.
    Other models are then trained on the NLL of shuffled patches (`noiseflow.fit.training.engine`).  The weights
    with the lowest held-out NLL are kept, which may be those of the start.

    Parameters
    ----------
    store : PatchStore or StoreMix
        Patches with the split ``train``; see `train_and_held_out` for what is held out.
    spec : ModelSpec
        Model to fit, with the store's cameras and ISOs: see `spec_for`.
    out : path
        Run folder to write.
    settings : FitSettings, optional
        Settings of the training; by default those of `FitSettings`.
    start : NoiseModel, optional
        Fitted model with the same spec, whose weights replace the start from statistics: to train for longer,
        or on other data of the same cameras.  The optimiser and its schedule start anew.
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
        other data or settings; or `start` is fitted in closed
        form, or is for other cameras or planes than the store's.
    OutputError
        If `out` exists and may not be replaced.
    DataError
        If the data have NaN, or no start has a finite likelihood.
    StoreError
        If there are no patches to train on or to hold out.

    Warns
    -----
    FitWarning
        If the data contradict the levels or ISOs of their files, a start was replaced, or the training diverged.
    """
    settings = settings or FitSettings()
    # Before the session, which may empty `out`: an invalid spec must not cost an earlier run.
    build(spec)
    if start is not None:
        check_start(start, spec, store)
    inputs = [store.path]
    epochs = settings.epochs
    with open_session(
        out, settings.device, resume=resume, overwrite=overwrite, inputs=inputs, epochs=epochs, progress=progress
    ) as session:
        return _fit(store, spec, settings, session, start)


def _fit(
    store: Patches, spec: ModelSpec, settings: FitSettings, session: TrainingSession, begin: NoiseModel | None
) -> FitResult:
    device = session.device
    # Read a patch first, so that a missing clean signal is reported before missing splits.
    store.read(store.indices("train")[:1])
    train_rows, held_out = train_and_held_out(store, settings.held_out, settings.seed)
    statistics = gather(store, train_rows, session.progress)
    notes = Notes(aloud=session.ranks.leads)
    levels = levels_of(store)
    some = whole_bands(store, train_rows, max(LOOKED_AT // math.prod(store.patch_shape), 32), settings.seed)
    some_patches, planes = store.read(some), plane_names(store.layout)
    unlike = unlike_planes(some_patches, store.cameras, planes)
    contradicted, bends = contradictions(statistics, levels, unlike)
    of_planes = () if spec.model == "physics_flow" else itertools.chain.from_iterable(unlike.values())
    for text in (*of_planes, *contradicted):
        notes.warn(text)
    table = store.table[train_rows]
    span, clean_error = float((table["white"][:, None] - table["black"]).mean()), float(table["clean_variance"].mean())
    check_light(statistics, clean_error, span, notes)
    looked = beyond_models(some_patches, places_of(store, some)[:, 0], store.cameras, planes)
    for text in looked:
        notes.warn(text)
    check_neighbours(some_patches, store.cameras, notes)
    said = said_of_noise(some_patches, statistics, set(store.cameras) - bends.keys(), tails=spec.model not in BASELINES)
    for name in store.cameras:
        # What is found in the noise bends its variance too.
        for text in said.get(name) or bends.get(name, []):
            notes.warn(text)
    start_spec = None if begin is None else begin.spec
    choice, caution = choose_objective(
        settings.objective, statistics, levels, store, train_rows, seed=settings.seed, start=start_spec
    )
    settings = replace(settings, objective=choice.name)
    if caution:
        notes.warn(caution)
    if choice.name == "discretised":
        spec = replace(spec, options={**spec.options, "before_rounding": True})
    model = build(spec)
    baselines = {name: build(ModelSpec(name, store.layout, store.cameras, store.isos)) for name in BASELINES}

    def objective_of(batch: int, rows: NDArray[np.int64] = held_out) -> LikelihoodObjective:
        batches = PatchBatches(store, train_rows, batch, settings.seed)
        if settings.objective == "discretised":
            return DiscretisedObjective(batches, rows, device, proposal=baselines["nlf"])
        return LikelihoodObjective(batches, rows, device)

    given = None if begin is None else begin.state_dict()
    _start_all([*baselines.values(), model], statistics, store, train_rows, settings, objective_of, notes, given)
    closed_form = is_closed_form(model)
    chosen = len(train_rows) if closed_form else settings.batch
    batch = session.batch_size(chosen, model, objective_of, len(train_rows))
    objective = objective_of(batch)
    references = {name: objective.held_out(each) for name, each in baselines.items()}
    objective.references = references
    if closed_form:
        nll = objective.held_out(model)
        state = TrainState(best=nll, history=[{"step": 0, "train_nll": math.nan, "held_out_nll": nll, "epoch": 0}])
    else:
        settings = replace(settings, batch=batch)
        length = TrainingLength.of_epochs(settings.epochs, objective.batches.steps, settings.steps_per_epoch, batch)
        fixed = {"data": store.fingerprint, "spec": json.loads(model.spec.to_json()), **settings.binding()}
        if given is not None:
            fixed["start"] = weights_sha256(given)
        try:
            state = train(model, objective, settings, length, session, fixed)
        except DivergedError as error:
            state = error.state
            notes.warn(f"{error}. The weights with the lowest held-out NLL, of epoch {state.best_epoch}, are kept")
    check_result(model, state.history, state.best, references["gaussian"], notes)
    model.cpu()
    if settings.objective == "discretised" and not closed_form and isinstance(model, EndsOnCodes):
        model.end_on_codes(*start_codes(store, train_rows, settings.seed)[:3])
    start = state.history[0]["held_out_nll"]
    result = FitResult(session.final, model, start, state.best, state.best_epoch, state.epoch, session.seconds, choice)
    estimates: Sequence[LineEstimate] = ()
    if isinstance(model, NoiseLevelFunction):
        coarse = settings.objective == "discretised"
        known = statistics_of_codes(store, train_rows, settings.seed) if coarse else statistics
        estimates = model.estimates(known, [each.span for each in levels], clean_error)
    parts, continued = components_of(model), tuple(state.continued)
    result = replace(result, components=parts, estimates=tuple(estimates), continued=continued)

    def write() -> None:
        session.write_history(state.history)
        session.write_record({**_record(result, store, settings, references), "notes": notes.said})
        # The spec comes last, since it marks the run as complete.
        save(model, session.out)

    session.ranks.first(write)
    return result


def _start_all(
    models: Sequence[NoiseModel],
    statistics: NoiseStatistics,
    store: Patches,
    rows: NDArray[np.int64],
    settings: FitSettings,
    objective_of: Callable[..., LikelihoodObjective],
    notes: Notes,
    given: Mapping[str, Tensor] | None,
) -> None:
    """Start the models, of which the first is `gaussian` and none may be worse; the last one from `given` weights."""
    objective = objective_of(1)
    few = objective.held_out_rows[:: -(-len(objective.held_out_rows) // START_CHECK)]
    objective = objective_of(1, few)

    def held_out(model: NoiseModel) -> float:
        return objective.held_out(model.to(objective.device).eval())

    gaussian = math.inf
    for model in models:
        starts = {
            "the start from statistics and patches": partial(_start, model, statistics, store, rows, settings),
            "the start from statistics": partial(start_from, model, statistics),
            "the start of one variance": partial(start_from, model, without_signal(statistics)),
        }
        if given is not None and model is models[-1]:
            starts = {"the given weights": partial(_take, model, given)}
        best_start(model, starts, held_out, gaussian, notes)
        if model is models[0]:
            gaussian = held_out(model)
        if model is not models[-1]:
            model.requires_grad_(False)


def _take(model: NoiseModel, weights: Mapping[str, Tensor]) -> None:
    model.load_state_dict(weights)


def _start(
    model: NoiseModel, statistics: NoiseStatistics, store: Patches, rows: NDArray[np.int64], settings: FitSettings
) -> None:
    """Set a model's parameters from statistics and some patches: its closed-form fit, or its starting point."""
    start_from(model, statistics)
    if isinstance(model, StartsFromPatches):
        some = whole_bands(store, rows, START_PATCHES, settings.seed)
        batch = store.read(some)
        cond = conditions_of(batch)
        if settings.objective == "discretised":
            cond = away_from_the_clip(batch, cond)
        refine_start(model, batch.noise, cond, torch.from_numpy(places_of(store, some)))
    if settings.objective == "discretised" and isinstance(model, StartsFromCodes):
        codes, cond, levels, _ = start_codes(store, rows, settings.seed)
        refine_start_on_codes(model, codes, cond, levels)


def _record(
    result: FitResult, store: Patches, settings: FitSettings, references: Mapping[str, float]
) -> dict[str, Any]:
    return {
        "store": str(store.path),
        "data": store.fingerprint,
        "settings": asdict(settings),
        "objective": asdict(result.objective),
        "components": list(result.components),
        "estimates": [each.record() for each in result.estimates],
        "unit": result.model.spec.unit,
        "held_out_nll_start_nats_per_dim": result.start_nll,
        "held_out_nll_nats_per_dim": result.best_nll,
        "held_out_nll_of_baselines_nats_per_dim": dict(references),
        "best_epoch": result.best_epoch,
        "epochs": result.epochs,
        "continued_at_epochs": list(result.continued),
        "seconds": round(result.seconds, 1),
    }
