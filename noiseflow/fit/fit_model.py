"""Fit a noise model to a patch store by maximum likelihood."""

import json
import math
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from noiseflow.core.output.listed import write_listed
from noiseflow.core.progress import Progress, silent
from noiseflow.core.version import __version__
from noiseflow.fit.batches import PatchBatches, conditions_of
from noiseflow.fit.discretised_objective import DiscretisedObjective, codes_of
from noiseflow.fit.gather_statistics import gather
from noiseflow.fit.held_out import train_and_held_out
from noiseflow.fit.likelihood_objective import LikelihoodObjective
from noiseflow.fit.row_bands import bands_of, whole_bands
from noiseflow.fit.training.history import write_history
from noiseflow.fit.training.objective import Length
from noiseflow.fit.training.session import Sitting, begun
from noiseflow.fit.training.settings import FitSettings
from noiseflow.fit.training.state import TrainState
from noiseflow.models.io.run_folder import save
from noiseflow.models.model import NoiseModel, build
from noiseflow.models.noise_statistics import NoiseStatistics
from noiseflow.models.spec import ModelSpec
from noiseflow.patches.store.mixture import Patches

__all__ = ["FitResult", "FitSettings", "fit", "spec_for"]

BASELINES = ("gaussian", "nlf")
"""Models in closed form, told beside the held-out NLL of every fit."""

START_PATCHES = 8192
"""Patches that refine a model's start, in whole bands of the sensor: see `whole_bands`."""

START_CODES = 2**20
"""Values that a fit by the likelihood of the integers rests on where it needs no steps: σ is known to 0.1 %."""


@dataclass(frozen=True)
class FitResult:
    """What a fit came to: NLL in nats/dim on held-out patches, at the start and at the best."""

    folder: Path
    model: NoiseModel
    start_nll: float
    best_nll: float
    best_epoch: int
    epochs: int
    seconds: float


def spec_for(store: Patches, model: str, options: dict[str, Any] | None = None) -> ModelSpec:
    """The spec of a model for the planes, cameras and ISOs of a store.

    Parameters
    ----------
    store : PatchStore
    model : str
        Name in the registry, or the published architecture string of a Noise Flow, such as
        ``"sdn5|unc|unc|gain4|unc|unc"``.
    options : dict, optional
        Of the model.
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

    The model starts from the training data's statistics (`NoiseModel.start_from`); one that
    has its maximum in closed form is done then.  Others go on by the engine (`noiseflow.fit.training.engine`) on the
    NLL of shuffled patches; the weights with the lowest held-out NLL are kept, the start's too.

    Parameters
    ----------
    store : PatchStore or StoreMix
        With the split ``train``; see `train_and_held_out` for what is held out.
    spec : ModelSpec
        Its cameras and ISOs are the store's: see `spec_for`.
    out : path
        Run folder.
    settings : FitSettings, optional
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
        The data holds NaN, or the likelihood was not finite in several steps.
    """
    settings = settings or FitSettings()
    # What no model can be built from leaves the run alone that `out` may hold.
    build(spec)
    inputs = [store.path]
    with begun(out, settings.device, resume=resume, overwrite=overwrite, inputs=inputs, progress=progress) as sitting:
        return _fit(store, spec, settings, sitting)


def _fit(store: Patches, spec: ModelSpec, settings: FitSettings, sitting: Sitting) -> FitResult:
    device = sitting.device
    if settings.objective == "discretised":
        spec = replace(spec, options={**spec.options, "before_rounding": True})
    model = build(spec)
    # A store without a clean signal is told as such, rather than by what its splits lack.
    store.read(store.indices("train")[:1])
    train_rows, held_out = train_and_held_out(store, settings.held_out, settings.seed)
    statistics = gather(store, train_rows, sitting.progress)
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

    said = len(train_rows) if model.closed_form else settings.batch
    batch = sitting.batch(said, model, objective_of, len(train_rows))
    objective = objective_of(batch)
    references = {name: objective.held_out(each) for name, each in baselines.items()}
    objective.references = references
    if model.closed_form:
        nll = objective.held_out(model)
        state = TrainState(best=nll, history=[{"step": 0, "train_nll": math.nan, "held_out_nll": nll, "epoch": 0}])
    else:
        settings = replace(settings, batch=batch)
        look = min(objective.batches.steps, settings.steps_per_epoch or objective.batches.steps)
        length = Length(settings.epochs * look, look, batch)
        state = sitting.train(model, objective, settings, length, _must_match(store, model.spec, settings))
    model.cpu()
    start = state.history[0]["held_out_nll"]
    result = FitResult(sitting.out, model, start, state.best, state.best_epoch, state.epoch, sitting.seconds)

    def write() -> None:
        save(model, sitting.out)
        write_history(sitting.out, state.history)
        _write_record(result, store, settings, references)

    sitting.ranks.first(write)
    return result


def _start(
    model: NoiseModel, statistics: NoiseStatistics, store: Patches, rows: NDArray[np.int64], settings: FitSettings
) -> None:
    """Bring a model to its maximum likelihood or its start, by statistics and some of the rows."""
    model.start_from(statistics)
    some = whole_bands(store, rows, START_PATCHES, settings.seed)
    batch = store.read(some)
    model.start_from_patches(batch.noise, conditions_of(batch), torch.from_numpy(bands_of(store, some)))
    if settings.objective == "discretised":
        most = max(1, START_CODES // math.prod(store.patch_shape))
        some = np.random.default_rng(settings.seed).permutation(rows)[:most]
        model.start_from_codes(*codes_of(store.read(some)))


def _must_match(store: Patches, spec: ModelSpec, settings: FitSettings) -> dict[str, Any]:
    return {"data": store.fingerprint, "spec": json.loads(spec.to_json()), **settings.binding()}


def _write_record(result: FitResult, store: Patches, settings: FitSettings, references: Mapping[str, float]) -> None:
    record = {
        "tool": f"noiseflow {__version__}",
        "torch": torch.__version__,
        "python": platform.python_version(),
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
    write_listed(result.folder, "fit.json", (json.dumps(record, indent=2) + "\n").encode())
