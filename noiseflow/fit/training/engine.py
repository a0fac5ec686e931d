"""The training loop of all models."""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from noiseflow.core.errors import DataError, ModelError
from noiseflow.core.output.listed import write_listed
from noiseflow.core.text import counted
from noiseflow.fit.training.objective import Objective, Prefetcher, StepPosition, TrainingLength
from noiseflow.fit.training.session import TrainingSession, repeatable
from noiseflow.fit.training.settings import TrainSettings, learning_rate
from noiseflow.fit.training.state import (
    TrainState,
    WeightAverage,
    Weights,
    adopt_state,
    copied,
    fill_optimiser,
    holding,
    optimiser_tensors,
    read_state,
    write_state,
)
from noiseflow.models.io.run_folder import STATE
from noiseflow.ops.libraries.build import available, has_prebuilt
from noiseflow.ops.native import compiled
from noiseflow.ops.random.sampling import part_of

__all__ = ["BAD_BATCH", "DivergedError", "train"]

BAD_BATCH = "bad_batch.safetensors"
"""Name of the file with the last batch whose loss was not finite, written when a training stops for that reason."""

MOST_SKIPPED = 5
"""A training stops at this number of steps with a non-finite loss between two validations."""

COMPILED_FROM = 1_700
"""Smallest training, in patches, for which building the kernels (three or four seconds once per machine) pays off."""

CHECK_EVERY = 10
"""Number of steps between two reads of values for which a GPU must be waited for."""


class DivergedError(DataError):
    """The loss was not finite in several steps; the model keeps its best weights so far.

    Parameters
    ----------
    text : str
        The message: where it happened, and what to do.
    state : TrainState
        State of the training.
    """

    def __init__(self, text: str, state: TrainState) -> None:
        super().__init__(text)
        self.state = state


def train(
    model: nn.Module,
    objective: Objective[Any],
    settings: TrainSettings,
    length: TrainingLength,
    session: TrainingSession,
    arguments: Mapping[str, Any],
) -> TrainState:
    """Minimise an objective; the model ends with the weights of the lowest held-out loss.

    A step depends only on the state, the seed and its position, so a killed training resumes to the same weights
    and history, bit for bit on a CPU.  A step with a non-finite loss or gradient changes nothing and is counted.

    Parameters
    ----------
    model : nn.Module
        Model to train, on the session's device.
    objective : Objective
        Batches, loss and held-out loss.
    settings : TrainSettings
        Optimiser, schedule and stopping rules.
    length : TrainingLength
        Steps, and the validation interval.
    session : TrainingSession
        Device, ranks and run folder, which receives ``history.csv`` and ``state/``.  Each rank takes its
        share of every batch; together they step as one process would, up to rounding.
    arguments : mapping
        JSON-able values that must be the same on resume.

    Returns
    -------
    TrainState
        Final state, with the history.

    Raises
    ------
    ModelError
        If there is no state to resume, or one with other arguments.
    DivergedError
        If the loss was not finite in several steps.
    """
    # Depends on the total length only, not on what is left or already built: kernels round differently from
    # PyTorch's operations, and a resumed training must reproduce the same bits.
    pays = settings.compile == "auto" and available()
    pays = pays and (has_prebuilt() or length.steps * length.samples >= COMPILED_FROM)
    compiling = compiled(pays or settings.compile == "on")
    ahead = Prefetcher(objective, length, session.ranks.rank, session.ranks.world)
    with repeatable(session.device), ahead as batch_of, compiling, session.ranks.as_one(model):
        run = _Training(model, objective, settings, length, session)
        if session.resume:
            run.restore(arguments)
        else:
            run.begin(dict(arguments))
        began = saved = time.monotonic()
        earlier = run.state.seconds
        try:
            while run.state.step < length.steps and not run.finished():
                run.step(batch_of(run.state.step))
                now = time.monotonic()
                run.state.seconds = earlier + now - began
                session.progress(run.state.step, length.steps, run.note())
                if run.state.step % length.validate_every == 0 or run.state.step == length.steps:
                    run.validate()
                elif now - saved < settings.state_seconds:
                    continue
                run.save()
                saved = now
        finally:
            model.load_state_dict(run.best)
            model.eval()
    return run.state


class _Training:
    """State of a running training, and the operations on it."""

    def __init__(
        self,
        model: nn.Module,
        objective: Objective[Any],
        settings: TrainSettings,
        length: TrainingLength,
        session: TrainingSession,
    ) -> None:
        self.model, self.objective, self.settings, self.length = model, objective, settings, length
        self.session, self.device, self.ranks = session, session.device, session.ranks
        self.parameters = [each for each in model.parameters() if each.requires_grad]
        kind = torch.optim.AdamW if settings.optimiser == "adamw" else torch.optim.Adam
        # Fused: one kernel for all parameters, which skips the step if `found_inf` is set.
        self.optimiser = kind(
            self.parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )
        self.state = TrainState()
        self.average = WeightAverage(model, settings.ema) if settings.ema else None
        self.best: Weights = copied(model)
        self.sums = {"loss": self._zero(), "steps": self._zero(), "skipped": self._zero(), "last_skipped": self._zero()}
        self.named: Weights = {}
        self.validated = time.monotonic(), 0
        self.rate = 0.0

    def _zero(self) -> Tensor:
        return torch.zeros((), dtype=torch.float64, device=self.device)

    def begin(self, arguments: dict[str, Any]) -> None:
        self.state.arguments = arguments
        self.state.best = self.ranks.first(self._held_out)
        self.state.history.append(self._row(math.nan, self.state.best))
        self.model.train()
        self.save()

    def restore(self, arguments: Mapping[str, Any]) -> None:
        source, finished = self.session.resumed_from, self.session.finished is not None
        state, tensors = self.ranks.first(lambda: read_state(source / STATE))
        # A finished training may be given more epochs, which the session has checked.
        free = {"epochs"} if finished else set()
        names = {*arguments, *state.arguments} - free
        changed = sorted(key for key in names if state.arguments.get(key) != arguments.get(key))
        if changed:
            raise ModelError(
                f"{source}: the fit to resume had other {', '.join(changed)}; use the same, or start a new "
                f"fit from its weights: --from {source} --out NEW"
            )
        if self.session.ranks.leads:
            adopt_state(source / STATE)
        self.state, self.best = state, tensors["best"]
        self.model.load_state_dict(tensors["model"])
        if self.average:
            self.average.weights = {name: value.to(self.device) for name, value in tensors["average"].items()}
        fill_optimiser(self.optimiser, tensors.get("optimiser", {}))
        self.sums = {name: value.to(self.device) for name, value in tensors["sums"].items()}
        self.named = {name: value.to(self.device) for name, value in tensors.get("metrics", {}).items()}
        self.validated = time.monotonic(), state.step
        self.model.train()
        if finished:
            self._continue(dict(arguments))

    def _continue(self, arguments: dict[str, Any]) -> None:
        """Give a finished training more epochs; the schedule goes on as that of the longer training."""
        state = self.state
        if arguments != state.arguments:
            # Epochs without improvement are counted anew, or a training that stopped early would stop at once.
            state.arguments, state.continued = arguments, [*state.continued, state.epoch]
        if self.finished():
            raise ModelError(
                f"{self.session.final}: the fit stopped early, after {counted(state.epoch, 'epoch')}, and its limits "
                "would stop it again; pass a larger --patience or --max-minutes, or more --epochs"
            )
        self.save()

    def save(self) -> None:
        if not self.ranks.leads:
            return
        tensors = {
            "model": self.model.state_dict(),
            "best": self.best,
            "optimiser": optimiser_tensors(self.optimiser),
            "sums": self.sums,
            "metrics": self.named,
        }
        if self.average:
            tensors["average"] = self.average.weights
        write_state(self.session.out / STATE, self.state, tensors)
        self.session.write_history(self.state.history)

    def finished(self) -> bool:
        state, settings = self.state, self.settings
        since = max([state.best_epoch, *state.continued])
        if settings.patience is not None and state.epoch - since >= settings.patience:
            return True
        if settings.max_minutes is None:
            return False
        most = 60 * settings.max_minutes
        # Clocks differ between ranks, so the first one decides.
        return self.ranks.first(lambda: state.seconds >= most)

    def step(self, batch: Any) -> None:
        position = self.length.position(self.state.step, self.ranks.rank, self.ranks.world)
        count = self.objective.count(position)
        self._set_rate()
        buffers = [(buffer, buffer.clone()) for buffer in self.model.buffers()]
        draws = _random_numbers(self.settings.seed, position, self.device)
        with draws as generator, part_of(position.share(count), count), self._precision():
            loss, metrics = self.objective.loss(self.model, batch, generator)
            loss = position.weight(count) * loss
            metrics = {name: position.weight(count) * value for name, value in metrics.items()}
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            loss, metrics = self.ranks.add_up(loss, metrics, self.parameters, buffers)
            norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.clip)
            good = loss.isfinite() & norm.isfinite()
            # Decided on the device, so that a GPU need not wait for the host.
            self.optimiser.found_inf = 1 - good.to(torch.float32)  # type: ignore[attr-defined]
            self.optimiser.step()
            for buffer, before in buffers:
                buffer.copy_(torch.where(good, buffer, before))
            self._count(good, loss, metrics, position.step)
        if self.average:
            self.average.update(self.model, position.step)
        self.state.step += 1
        if self.state.step % CHECK_EVERY == 0:
            self._check_skipped()

    def validate(self) -> None:
        self._check_skipped()
        with holding(self.model, self.average.weights if self.average else None):
            held_out = self.ranks.first(self._held_out)
            self.state.epoch += 1
            if held_out < self.state.best:
                self.state.best, self.state.best_epoch, self.best = held_out, self.state.epoch, copied(self.model)
            steps = float(self.sums["steps"])
            row = self._row(float(self.sums["loss"]) / steps if steps else math.nan, held_out)
            row |= {name: float(total) / steps if steps else math.nan for name, total in self.named.items()}
            self.state.history.append(row)
            if self.session.log is not None:
                self.session.log.write(self.state.epoch, row, lambda: self.objective.pictures(self.model))
        for total in (*self.sums.values(), *self.named.values()):
            total.zero_()
        now = time.monotonic()
        self.rate = self.length.samples * (self.state.step - self.validated[1]) / max(now - self.validated[0], 1e-9)
        self.validated = now, self.state.step
        self.model.train()

    def note(self) -> str:
        objective = self.objective
        now, done = time.monotonic() - self.validated[0], self.state.step - self.validated[1]
        rate = self.length.samples * done / now if now > 1 or not self.rate else self.rate
        last = self.state.history[-1]
        parts = [f"epoch {self.length.position(self.state.step - 1).epoch + 1}, {rate:.0f} patches/s"]
        if not math.isnan(last[f"train_{objective.name}"]):
            parts.append(f"train {objective.name.upper()} {last[f'train_{objective.name}']:.4f}")
        parts.append(f"held-out {objective.name.upper()} {self.state.best:.4f} {objective.unit}")
        if objective.references:
            parts[-1] += f" ({', '.join(f'{name} {value:.4f}' for name, value in objective.references.items())})"
        return ", ".join(parts)

    def _set_rate(self) -> None:
        held_out = [row[f"held_out_{self.objective.name}"] for row in self.state.history]
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.settings, self.state.step, self.length.steps, held_out)

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bf16")

    def _count(self, good: Tensor, loss: Tensor, metrics: Mapping[str, Tensor], step: int) -> None:
        self.sums["loss"] += torch.where(good, loss, 0).double()
        self.sums["steps"] += good
        self.sums["skipped"] += ~good
        self.sums["last_skipped"] = torch.where(good, self.sums["last_skipped"], step)
        for name, value in metrics.items():
            total = self.named.setdefault(name, self._zero())
            total += torch.where(good, value.detach(), 0).double()

    def _check_skipped(self) -> None:
        if float(self.sums["skipped"]) < MOST_SKIPPED:
            return
        position = self.length.position(int(self.sums["last_skipped"]))
        path = self.session.out / BAD_BATCH
        what = self.ranks.first(lambda: self._save_batch(position, path))
        raise DivergedError(
            f"{self.session.out}: the {self.objective.name.upper()} was not finite in {int(self.sums['skipped'])} "
            f"steps, the last at epoch {position.epoch + 1}, step {position.index + 1}; its batch ({what}) is saved "
            f"in the run folder as {path.name}; inspect it, or lower the learning rate",
            self.state,
        )

    def _save_batch(self, position: StepPosition, path: Path) -> str:
        what, tensors = self.objective.record(position)
        content = save({name: value.detach().cpu().contiguous() for name, value in tensors.items()})
        write_listed(path.parent, path.name, content)
        return what

    @torch.no_grad()
    def _held_out(self) -> float:
        self.model.eval()
        return self.objective.held_out(self.model)

    def _row(self, train: float, held_out: float) -> dict[str, float]:
        name, skipped = self.objective.name, self.sums["skipped"]
        return {
            "step": self.state.step,
            f"train_{name}": train,
            f"held_out_{name}": held_out,
            "epoch": self.state.epoch,
            "learning_rate": self.optimiser.param_groups[0]["lr"],
            "skipped": int(skipped),
            "seconds": round(self.state.seconds, 1),
        }


@contextmanager
def _random_numbers(seed: int, position: StepPosition, device: torch.device) -> Iterator[torch.Generator]:
    """Seed torch's global generator and yield another one, both as a function of seed and step only."""
    # `int` before `>>`: NumPy 1.26 does not shift a uint64 by a Python integer.
    key = int(np.random.SeedSequence((seed, position.step, 0)).generate_state(1, np.uint64)[0]) >> 1
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(key)
        yield torch.Generator(device).manual_seed(key)
