"""The one loop that trains every model."""

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
from noiseflow.core.progress import Progress, silent
from noiseflow.fit.training.device import repeatable
from noiseflow.fit.training.events import Events
from noiseflow.fit.training.history import write_history
from noiseflow.fit.training.objective import Length, Objective, Place
from noiseflow.fit.training.prefetch import Ahead
from noiseflow.fit.training.ranks import ALONE, Ranks
from noiseflow.fit.training.schedule import learning_rate
from noiseflow.fit.training.settings import TrainSettings
from noiseflow.fit.training.state import (
    TrainState,
    adopt_state,
    fill_optimiser,
    optimiser_tensors,
    read_state,
    write_state,
)
from noiseflow.fit.training.weight_averaging import Average, Weights, copied, holding
from noiseflow.models.io.run_folder import STATE
from noiseflow.ops.native import can_compile, compiled
from noiseflow.ops.random.sampling import part_of

__all__ = ["BAD_BATCH", "Length", "train"]

BAD_BATCH = "bad_batch.safetensors"
"""Where the batch is saved whose loss made a training stop."""

MOST_SKIPPED = 5
"""Steps with a loss that is not finite, between two looks, after which a training stops."""

COMPILED_FROM = 1_700
"""Patches in a training from which building the kernels, three or four seconds once on a machine, pays back."""

CHECK = 10
"""Steps between two looks at what would make a GPU wait."""


def train(
    model: nn.Module,
    objective: Objective[Any],
    settings: TrainSettings,
    length: Length,
    out: Path,
    *,
    arguments: Mapping[str, Any],
    device: torch.device,
    resume: bool = False,
    log: Events | None = None,
    progress: Progress = silent,
    ranks: Ranks = ALONE,
) -> TrainState:
    """Bring an objective down; the model ends with the weights of the lowest held-out figure.

    A step is a function of the state, the seed and its place alone: a training that was killed
    goes on to the same weights and history, bit for bit on a CPU.  A step whose loss or gradient
    is not finite changes nothing and is counted.

    Parameters
    ----------
    model : nn.Module
        On `device`.
    objective : Objective
    settings : TrainSettings
    length : Length
    out : Path
        Run folder: ``history.csv``, and ``state/`` for going on.
    arguments : mapping
        JSON values that must be the same when it goes on.
    device : torch.device
    resume : bool
        Go on from the state in `out`.
    log : Events, optional
        Told the row of each look, and shown pictures.
    progress : Progress
        Told of steps done.
    ranks : Ranks
        Those that share the training.  Each takes its part of every batch; they step as one
        process would, but for rounding.

    Raises
    ------
    ModelError
        There is no state to go on from, or one with other arguments.
    DataError
        The loss was not finite in several steps.
    """
    # By the whole length alone, not by what is left of it, nor by what is built already: kernels round otherwise
    # than PyTorch's operations, and a training must come to the same bits again.
    pays = settings.compile == "auto" and can_compile() and length.steps * length.samples >= COMPILED_FROM
    compiling = compiled(pays or settings.compile == "on")
    with repeatable(device), Ahead(objective, length, ranks) as batches, compiling, ranks.as_one(model):
        run = _Run(model, objective, settings, length, out, device, ranks)
        if resume:
            run.restore(arguments)
        else:
            run.begin(dict(arguments))
        began = saved = time.monotonic()
        earlier = run.state.seconds
        while run.state.step < length.steps and not run.finished():
            run.step(batches(run.state.step))
            now = time.monotonic()
            run.state.seconds = earlier + now - began
            progress(run.state.step, length.steps, run.note())
            if run.state.step % length.look == 0 or run.state.step == length.steps:
                run.look(log)
            elif now - saved < settings.state_seconds:
                continue
            run.save()
            saved = now
        model.load_state_dict(run.best)
    model.eval()
    return run.state


class _Run:
    """What changes while a model trains."""

    def __init__(
        self,
        model: nn.Module,
        objective: Objective[Any],
        settings: TrainSettings,
        length: Length,
        out: Path,
        device: torch.device,
        ranks: Ranks,
    ) -> None:
        self.model, self.objective, self.settings = model, objective, settings
        self.length, self.out, self.device, self.ranks = length, out, device, ranks
        self.parameters = [each for each in model.parameters() if each.requires_grad]
        kind = torch.optim.AdamW if settings.optimiser == "adamw" else torch.optim.Adam
        # Fused: one kernel for all parameters, which takes no step where it is told of an infinite value.
        self.optimiser = kind(
            self.parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )
        self.state = TrainState()
        self.average = Average(model, settings.ema) if settings.ema else None
        self.best: Weights = copied(model)
        self.sums = {"loss": self._zero(), "steps": self._zero(), "skipped": self._zero(), "last_skipped": self._zero()}
        self.named: Weights = {}
        self.looked = time.monotonic(), 0
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
        state, tensors = self.ranks.first(lambda: read_state(self.out / STATE))
        if state.arguments != arguments:
            changed = sorted(key for key in arguments if state.arguments.get(key) != arguments[key])
            raise ModelError(
                f"{self.out}: the fit to go on with had other {', '.join(changed)}; use the same, or fit anew"
            )
        if self.ranks.leads:
            adopt_state(self.out / STATE)
        self.state, self.best = state, tensors["best"]
        self.model.load_state_dict(tensors["model"])
        if self.average:
            self.average.weights = {name: value.to(self.device) for name, value in tensors["average"].items()}
        fill_optimiser(self.optimiser, tensors.get("optimiser", {}))
        self.sums = {name: value.to(self.device) for name, value in tensors["sums"].items()}
        self.named = {name: value.to(self.device) for name, value in tensors.get("metrics", {}).items()}
        self.looked = time.monotonic(), state.step
        self.model.train()

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
        write_state(self.out / STATE, self.state, tensors)
        write_history(self.out, self.state.history)

    def finished(self) -> bool:
        state, settings = self.state, self.settings
        if settings.patience is not None and state.epoch - state.best_epoch >= settings.patience:
            return True
        if settings.max_minutes is None:
            return False
        most = 60 * settings.max_minutes
        # Clocks differ: one of them decides.
        return self.ranks.first(lambda: state.seconds >= most)

    def step(self, batch: Any) -> None:
        place = self.length.place(self.state.step, self.ranks.rank, self.ranks.world)
        count = self.objective.count(place)
        self._set_rate()
        buffers = [(buffer, buffer.clone()) for buffer in self.model.buffers()]
        draws = _random_numbers(self.settings.seed, place, self.device)
        with draws as generator, part_of(place.share(count), count), self._precision():
            loss, metrics = self.objective.loss(self.model, batch, generator)
            loss = place.weight(count) * loss
            metrics = {name: place.weight(count) * value for name, value in metrics.items()}
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            loss, metrics = self.ranks.add_up(loss, metrics, self.parameters, buffers)
            norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.clip)
            good = loss.isfinite() & norm.isfinite()
            # Decided where the numbers are: reading them would make a GPU wait for the host.
            self.optimiser.found_inf = 1 - good.to(torch.float32)  # type: ignore[attr-defined]
            self.optimiser.step()
            for buffer, before in buffers:
                buffer.copy_(torch.where(good, buffer, before))
            self._count(good, loss, metrics, place.step)
        if self.average:
            self.average.take(self.model, place.step)
        self.state.step += 1
        if self.state.step % CHECK == 0:
            self._check_skipped()

    def look(self, log: Events | None) -> None:
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
            if log is not None:
                log(self.state.epoch, row)
                log.pictures(self.state.epoch, lambda: self.objective.pictures(self.model))
        for total in (*self.sums.values(), *self.named.values()):
            total.zero_()
        now = time.monotonic()
        self.rate = self.length.samples * (self.state.step - self.looked[1]) / max(now - self.looked[0], 1e-9)
        self.looked = now, self.state.step
        self.model.train()

    def note(self) -> str:
        objective = self.objective
        now, done = time.monotonic() - self.looked[0], self.state.step - self.looked[1]
        rate = self.length.samples * done / now if now > 1 or not self.rate else self.rate
        last = self.state.history[-1]
        parts = [f"epoch {self.length.place(self.state.step - 1).epoch + 1}, {rate:.0f} patches/s"]
        if not math.isnan(last[f"train_{objective.name}"]):
            parts.append(f"train {objective.name.upper()} {last[f'train_{objective.name}']:.4f}")
        parts.append(f"held-out {objective.name.upper()} {self.state.best:.4f} {objective.unit}")
        if objective.references:
            parts[-1] += f" ({', '.join(f'{name} {value:.4f}' for name, value in objective.references.items())})"
        return ", ".join(parts)

    def _set_rate(self) -> None:
        looks = [row[f"held_out_{self.objective.name}"] for row in self.state.history]
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.settings, self.state.step, self.length.steps, looks)

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
        place = self.length.place(int(self.sums["last_skipped"]))
        path = self.out / BAD_BATCH
        what = self.ranks.first(lambda: self._save_batch(place, path))
        raise DataError(
            f"{self.out}: the {self.objective.name.upper()} was not finite in {int(self.sums['skipped'])} steps, the "
            f"last at epoch {place.epoch + 1}, step {place.index + 1}; its batch ({what}) is saved as {path}; look at "
            "it, or lower the learning rate"
        )

    def _save_batch(self, place: Place, path: Path) -> str:
        what, tensors = self.objective.record(place)
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
def _random_numbers(seed: int, place: Place, device: torch.device) -> Iterator[torch.Generator]:
    """Random numbers of one step, torch's own generator included, by seed and place alone."""
    # `int` before `>>`: NumPy 1.26 does not shift a uint64 by a Python integer.
    key = int(np.random.SeedSequence((seed, place.step, 0)).generate_state(1, np.uint64)[0]) >> 1
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(key)
        yield torch.Generator(device).manual_seed(key)
