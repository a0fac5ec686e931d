"""Distil a slow sampler into one that samples in one pass (probability density distillation)."""

import csv
import io
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from noiseflow._version import __version__
from noiseflow.errors import DataError, ModelError
from noiseflow.fit.clean import CleanSource
from noiseflow.flows.conditions import Conditions
from noiseflow.flows.shot_read import ShotReadScale
from noiseflow.models.files import claim, save, write_text
from noiseflow.models.model import NoiseModel, build
from noiseflow.models.residual_flow import ResidualFlow
from noiseflow.models.spec import ModelSpec
from noiseflow.progress import Progress, silent

__all__ = ["DistillResult", "DistillSettings", "distill", "divergence", "sampling_seconds"]


@dataclass(frozen=True)
class DistillSettings:
    """How a student is distilled.

    Parameters
    ----------
    steps : int
    batch : int
        Clean patches a step.
    learning_rate : float
        Of Adam at the start; it falls to zero along a cosine over the steps.
    blocks, width, above, beside : int
        Of the student, an ``iaf``.  The width must be a multiple of the planes.
    held_out : int
        Held-out patches on which the KL that is left is estimated.
    clip : float
        Largest norm of the gradient.
    seed : int
        Of the student's weights, the order of the patches and the random numbers.
    """

    steps: int = 1500
    batch: int = 16
    learning_rate: float = 4e-3
    blocks: int = 1
    width: int = 16
    above: int = 2
    beside: int = 3
    held_out: int = 256
    clip: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class DistillResult:
    """What a distillation came to.

    Parameters
    ----------
    folder : Path
    model : NoiseModel
        The student.
    kl, kl_error : float
        KL(student‖teacher) on held-out patches and its standard error, nats/dim.
    start_kl : float
        That of the student as it started, nats/dim.
    teacher_seconds, student_seconds : float
        To sample one patch of 128×128 pixels of each plane, on this machine.
    seconds : float
        Of the distillation.
    """

    folder: Path
    model: NoiseModel
    kl: float
    kl_error: float
    start_kl: float
    teacher_seconds: float
    student_seconds: float
    seconds: float

    @property
    def speed_up(self) -> float:
        """Time of the teacher over time of the student."""
        return self.teacher_seconds / self.student_seconds


def distill(
    teacher: NoiseModel,
    train: CleanSource,
    out: str | Path,
    settings: DistillSettings | None = None,
    *,
    held_out: CleanSource | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> DistillResult:
    """Train a one-pass sampler on a model's density alone and write its run folder.

    Minimises KL(student‖teacher) = E[log q(x) − log p(x)] over clean signals and random z, with
    x and log q(x) from one sampling pass of the student, an ``iaf``, and p the teacher.  No noise
    data is needed.  The student starts with the teacher's shot-and-read head.

    Parameters
    ----------
    teacher : NoiseModel
        With a density in one pass and a shot-and-read head: ``maf``, or another flow behind one.
    train : CleanSource
        Clean signals, ISOs and cameras: see `noiseflow.fit.clean`.
    out : path
        Run folder, which `noiseflow.load` takes.
    settings : DistillSettings, optional
    held_out : CleanSource, optional
        Clean signals for the KL that is left; other draws of `train` without it.
    overwrite : bool
        Whether a run in `out` may be replaced.
    progress : Progress
        Told of steps done.

    Raises
    ------
    ModelError
        `out` holds a run already, or the teacher has no shot-and-read head.
    DataError
        The KL became infinite or NaN.

    References
    ----------
    van den Oord et al.: Parallel WaveNet: fast high-fidelity speech synthesis, ICML 2018, section 3.
    """
    settings = settings or DistillSettings()
    _check(settings)
    out = Path(out)
    head = _head_of(teacher)
    claim(out, overwrite=overwrite)
    began = time.monotonic()
    student = _student_of(teacher, head, settings)
    teacher = teacher.eval()
    kept = [parameter.requires_grad for parameter in teacher.parameters()]
    teacher.requires_grad_(False)
    try:
        history = _descend(student, teacher, train, held_out or train, settings, progress)
        result = _result(student, teacher, held_out or train, out, settings, history, time.monotonic() - began)
    finally:
        for parameter, needed in zip(teacher.parameters(), kept, strict=True):
            parameter.requires_grad_(needed)
    save(student, out)
    _write_record(out, teacher.spec, settings, result, history)
    return result


@torch.no_grad()
def divergence(
    student: ResidualFlow, teacher: NoiseModel, clean: CleanSource, count: int, seed: int = 0, batch: int = 16
) -> tuple[float, float]:
    """KL(student‖teacher) in nats/dim and its standard error, over `count` clean patches."""
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    values = []
    for start in range(0, count, batch):
        values.append(_log_ratio(student, teacher, clean(rng, min(batch, count - start)), generator).double())
    each = torch.cat(values)
    return float(each.mean()), float(each.std()) / math.sqrt(len(each))


@torch.no_grad()
def sampling_seconds(model: NoiseModel, height: int = 128, width: int = 128, repeats: int = 5) -> float:
    """Least time in seconds to sample one patch of height×width pixels of each plane."""
    clean = torch.full((1, model.planes, height, width), 0.1, device=next(model.parameters()).device)
    cond = Conditions(clean, model.spec.isos[0], 0)
    model.sample(cond)
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        model.sample(cond)
        times.append(time.perf_counter() - began)
    return min(times)


def _log_ratio(student: ResidualFlow, teacher: NoiseModel, cond: Conditions, generator: torch.Generator) -> Tensor:
    """Log q(x) − log p(x) in nats/dim for a sample x of the student, shape (B,)."""
    cond = student.checked(cond)
    z = student.flow.base.sample(cond.clean, generator)
    x, log_det = student.flow.inverse_and_log_det(z, cond)
    return (student.flow.base.log_prob(z) - log_det - teacher.log_prob(x, cond)) / z[0].numel()


def _check(settings: DistillSettings) -> None:
    for name in ("steps", "batch", "held_out", "blocks", "width"):
        if getattr(settings, name) < 1:
            raise DataError(f"{name}: expected 1 or more; got {getattr(settings, name)}")
    if settings.held_out < 2:
        raise DataError("held_out: expected 2 or more, or there is no standard error; got 1")
    if not settings.learning_rate > 0:
        raise DataError(f"learning rate: expected a positive number; got {settings.learning_rate}")


def _head_of(teacher: NoiseModel) -> ShotReadScale:
    head = getattr(teacher, "shot_read", None)
    if not isinstance(head, ShotReadScale):
        raise ModelError(
            f"{teacher.spec.model}: has no shot-and-read head for a student to start with, and samples in one pass "
            "already; distil a maf"
        )
    return head


def _student_of(teacher: NoiseModel, head: ShotReadScale, settings: DistillSettings) -> ResidualFlow:
    spec = teacher.spec
    options = {name: getattr(settings, name) for name in ("blocks", "width", "above", "beside", "seed")}
    student = build(ModelSpec("iaf", spec.layout, spec.cameras, spec.isos, options))
    assert isinstance(student, ResidualFlow)
    student.shot_read.load_state_dict(head.state_dict())
    return student


def _descend(
    student: ResidualFlow,
    teacher: NoiseModel,
    train: CleanSource,
    held_out: CleanSource,
    settings: DistillSettings,
    progress: Progress,
) -> list[dict[str, float]]:
    rng, generator = np.random.default_rng((settings.seed, 1)), torch.Generator().manual_seed(settings.seed)
    optimiser = torch.optim.Adam(student.parameters(), lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)
    look = math.ceil(settings.steps / 20)
    start, _ = divergence(student, teacher, held_out, settings.held_out, settings.seed)
    history = [{"step": 0.0, "train_kl": math.nan, "held_out_kl": start}]
    recent: list[float] = []
    student.train()
    for step in range(1, settings.steps + 1):
        loss = _log_ratio(student, teacher, train(rng, settings.batch), generator).mean()
        if not torch.isfinite(loss):
            raise DataError(f"distill: the KL became {float(loss)} at step {step}; lower the learning rate")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(student.parameters(), settings.clip)
        optimiser.step()
        schedule.step()
        recent.append(float(loss.detach()))
        if step % look == 0 or step == settings.steps:
            student.eval()
            left, _ = divergence(student, teacher, held_out, settings.held_out, settings.seed)
            student.train()
            history.append({"step": float(step), "train_kl": sum(recent) / len(recent), "held_out_kl": left})
            recent.clear()
        progress(step, settings.steps, f"KL {history[-1]['held_out_kl']:.4f} nats/dim")
    student.eval()
    return history


def _result(
    student: ResidualFlow,
    teacher: NoiseModel,
    held_out: CleanSource,
    out: Path,
    settings: DistillSettings,
    history: list[dict[str, float]],
    seconds: float,
) -> DistillResult:
    # A seed of its own: the KL that is reported is not one that the history was looked at with.
    kl, error = divergence(student, teacher, held_out, settings.held_out, settings.seed + 1)
    return DistillResult(
        folder=out,
        model=student,
        kl=kl,
        kl_error=error,
        start_kl=history[0]["held_out_kl"],
        teacher_seconds=sampling_seconds(teacher),
        student_seconds=sampling_seconds(student),
        seconds=seconds,
    )


def _write_record(
    out: Path, teacher: ModelSpec, settings: DistillSettings, result: DistillResult, history: list[dict[str, float]]
) -> None:
    table = io.StringIO()
    writer = csv.DictWriter(table, list(history[0]))
    writer.writeheader()
    writer.writerows(history)
    write_text(out / "history.csv", table.getvalue())
    record = {
        "tool": f"noiseflow {__version__}",
        "torch": torch.__version__,
        "distilled_from": json.loads(teacher.to_json()),
        "settings": asdict(settings),
        "kl_student_teacher_nats_per_dim": result.kl,
        "kl_standard_error_nats_per_dim": result.kl_error,
        "kl_start_nats_per_dim": result.start_kl,
        "teacher_seconds_128x128": result.teacher_seconds,
        "student_seconds_128x128": result.student_seconds,
        "speed_up": result.speed_up,
        "seconds": round(result.seconds, 1),
    }
    write_text(out / "fit.json", json.dumps(record, indent=2) + "\n")
