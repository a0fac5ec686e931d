"""Fit a noise model to a patch store by maximum likelihood."""

import csv
import io
import json
import math
import platform
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow._version import __version__
from noiseflow.errors import DataError, ModelError
from noiseflow.fit.events import Events, events
from noiseflow.fit.held_out import train_and_held_out
from noiseflow.fit.state import FitState, read_state, write_state
from noiseflow.fit.statistics import gather
from noiseflow.flows.conditions import Conditions
from noiseflow.models.files import STATE, claim, save, write_text
from noiseflow.models.model import NoiseModel, build
from noiseflow.models.spec import ModelSpec
from noiseflow.patches.drawing import epoch_order
from noiseflow.patches.mix import Patches
from noiseflow.patches.store import PatchBatch
from noiseflow.progress import Progress, silent

__all__ = ["FitResult", "FitSettings", "conditions_of", "fit", "spec_for"]


START_PATCHES = 2048
"""Patches that refine a model's start: row noise is then known to a few per cent."""


@dataclass(frozen=True)
class FitSettings:
    """How a model is fitted.

    Parameters
    ----------
    epochs : int
        At the most.
    batch : int
        Patches a step.
    learning_rate : float
        Of Adam at the start; it falls to zero along a cosine over the epochs.
    patience : int
        Stop after so many epochs without a lower held-out NLL.
    max_minutes : float or None
        Stop after the epoch in which this is reached.
    steps_per_epoch : int or None
        Most steps between two looks at the held-out NLL; a pass over the data if None.
    held_out : int
        Held-out patches to look at, at the most.
    clip : float
        Largest norm of the gradient.
    seed : int
        Of the order of the patches.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    """

    epochs: int = 20
    batch: int = 128
    learning_rate: float = 2e-3
    patience: int = 4
    max_minutes: float | None = None
    steps_per_epoch: int | None = 100
    held_out: int = 2048
    clip: float = 10.0
    seed: int = 0
    device: str = "auto"


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


def conditions_of(batch: PatchBatch) -> Conditions:
    """The conditions of a batch whose camera indices are the model's."""
    return Conditions(batch.clean, batch.iso, batch.camera)


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
    has its maximum in closed form is done then.  Others go on with Adam on the NLL of
    shuffled patches; the weights with the lowest held-out NLL are kept, the start's too.

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
        The data holds NaN, or the likelihood became infinite or NaN.
    """
    settings = settings or FitSettings()
    check_settings(settings)
    out = Path(out)
    if not resume:
        claim(out, overwrite=overwrite)
    began = time.monotonic()
    device = chosen_device(settings.device)
    model = build(spec)
    # A store without a clean signal is told as such, rather than by what its splits lack.
    store.read(store.indices("train")[:1])
    train, validation = train_and_held_out(store, settings.held_out, settings.seed)
    model.start_from(gather(store, train, progress))
    _refine_start(model, store, train, settings)
    model.to(device)
    start = _mean_nll(model, store, validation, device)
    if model.closed_form:
        state = FitState(0, 0, start, [{"epoch": 0, "train_nll": math.nan, "held_out_nll": start}])
    else:
        with events(out) as log:
            state = _descend(
                model,
                store,
                train,
                validation,
                out,
                settings,
                start,
                resume=resume,
                device=device,
                progress=progress,
                log=log,
            )
    model.cpu().eval()
    seconds = time.monotonic() - began
    save(model, out)
    _write_record(out, store, spec, settings, state, start, seconds)
    return FitResult(out, model, start, state.best_nll, state.best_epoch, state.epoch, seconds)


def _refine_start(model: NoiseModel, store: Patches, train: NDArray[np.int64], settings: FitSettings) -> None:
    some = np.random.default_rng(settings.seed).permutation(train)[:START_PATCHES]
    noise, cond = _to(store.read(some), torch.device("cpu"))
    model.start_from_patches(noise, cond)


def check_settings(settings: FitSettings) -> None:
    for name in ("epochs", "batch", "patience", "held_out"):
        if getattr(settings, name) < 1:
            raise DataError(f"{name}: expected 1 or more; got {getattr(settings, name)}")
    if not settings.learning_rate > 0:
        raise DataError(f"learning rate: expected a positive number; got {settings.learning_rate}")


def chosen_device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ModelError(f"device {name!r}: this PyTorch sees no GPU; use --device cpu or auto")
    return torch.device(name)


def _to(batch: PatchBatch, device: torch.device) -> tuple[Tensor, Conditions]:
    cond = Conditions(batch.clean.to(device), batch.iso.to(device), batch.camera.to(device))
    return batch.noise.to(device), cond


@torch.no_grad()
def _mean_nll(model: NoiseModel, store: Patches, rows: NDArray[np.int64], device: torch.device) -> float:
    """NLL in nats/dim over the given patches."""
    model.eval()
    total = 0.0
    for start in range(0, len(rows), 256):
        noise, cond = _to(store.read(rows[start : start + 256]), device)
        total -= float(model.log_prob(noise, cond).double().sum())
    return total / (len(rows) * math.prod(store.patch_shape))


def _order(store: Patches, rows: NDArray[np.int64], settings: FitSettings, epoch: int) -> Iterator[NDArray[np.int64]]:
    """Batches of one epoch; their order is a function of seed and epoch alone."""
    shuffled = epoch_order(rows, settings.seed, epoch, store.weights(rows))
    for start in range(0, len(shuffled), settings.batch):
        yield shuffled[start : start + settings.batch]


def _descend(
    model: NoiseModel,
    store: Patches,
    train: NDArray[np.int64],
    validation: NDArray[np.int64],
    out: Path,
    settings: FitSettings,
    start: float,
    *,
    resume: bool,
    device: torch.device,
    progress: Progress,
    log: Events,
) -> FitState:
    began = time.monotonic()
    steps = math.ceil(len(train) / settings.batch)
    steps = min(steps, settings.steps_per_epoch or steps)
    optimiser = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    arguments = _must_match(store, model.spec, settings)
    state = FitState(best_nll=start, arguments=arguments)
    state.history.append({"epoch": 0, "train_nll": math.nan, "held_out_nll": start, "seconds": 0.0})
    best = _copy(model)
    if resume:
        state, weights, best = read_state(out / STATE, optimiser)
        if state.arguments != arguments:
            changed = sorted(key for key in arguments if state.arguments.get(key) != arguments[key])
            raise ModelError(f"{out}: the fit to go on with had other {', '.join(changed)}; use the same, or fit anew")
        model.load_state_dict(weights)
    spent = earlier = state.history[-1]["seconds"]
    while state.epoch < settings.epochs and state.epoch - state.best_epoch < settings.patience:
        if settings.max_minutes is not None and spent >= 60 * settings.max_minutes:
            break
        model.train()
        rate = 0.5 * settings.learning_rate * (1 + math.cos(math.pi * state.epoch / settings.epochs))
        for group in optimiser.param_groups:
            group["lr"] = rate
        total = 0.0
        for step, chosen in enumerate(_order(store, train, settings, state.epoch)):
            if step == steps:
                break
            noise, cond = _to(store.read(chosen), device)
            loss = -model.log_prob(noise, cond).mean() / noise[0].numel()
            if not torch.isfinite(loss):
                raise DataError(
                    f"{store.path}: the NLL became {float(loss)} at epoch {state.epoch + 1}, step {step + 1}; "
                    f"look at patches {chosen[:5].tolist()} or lower the learning rate"
                )
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
            optimiser.step()
            total += float(loss.detach())
            note = f"epoch {state.epoch + 1}, held-out NLL {state.best_nll:.4f} nats/dim"
            progress(state.epoch * steps + step + 1, settings.epochs * steps, note)
        held_out = _mean_nll(model, store, validation, device)
        state.epoch += 1
        spent = earlier + time.monotonic() - began
        row = {"epoch": state.epoch, "train_nll": total / steps, "held_out_nll": held_out, "seconds": round(spent, 1)}
        state.history.append(row)
        log(state.epoch, row)
        if held_out < state.best_nll:
            state.best_nll, state.best_epoch, best = held_out, state.epoch, _copy(model)
        write_state(out / STATE, state, model.state_dict(), best, optimiser)
        write_history(out, state)
    model.load_state_dict(best)
    return state


def _copy(model: NoiseModel) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _must_match(store: Patches, spec: ModelSpec, settings: FitSettings) -> dict[str, Any]:
    kept = {
        name: value for name, value in asdict(settings).items() if name not in ("device", "max_minutes", "patience")
    }
    return {"data": store.fingerprint, "spec": json.loads(spec.to_json()), **kept}


def write_history(out: Path, state: FitState) -> None:
    table = io.StringIO()
    writer = csv.DictWriter(table, list(state.history[0]))
    writer.writeheader()
    writer.writerows(state.history)
    write_text(out / "history.csv", table.getvalue())


def _write_record(
    out: Path, store: Patches, spec: ModelSpec, settings: FitSettings, state: FitState, start: float, seconds: float
) -> None:
    record = {
        "tool": f"noiseflow {__version__}",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "store": str(store.path),
        "data": store.fingerprint,
        "settings": asdict(settings),
        "unit": spec.unit,
        "held_out_nll_start_nats_per_dim": start,
        "held_out_nll_nats_per_dim": state.best_nll,
        "best_epoch": state.best_epoch,
        "epochs": state.epoch,
        "seconds": round(seconds, 1),
    }
    write_history(out, state)
    write_text(out / "fit.json", json.dumps(record, indent=2) + "\n")
