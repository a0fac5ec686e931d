"""Distil a slow sampler into one that samples in a single pass (probability density distillation)."""

import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from noiseflow.core.errors import DataError, ModelError
from noiseflow.core.progress import Progress, silent
from noiseflow.fit.clean_sources import CleanSource
from noiseflow.fit.training.engine import train as train_model
from noiseflow.fit.training.objective import StepPosition, TrainingLength
from noiseflow.fit.training.session import TrainingSession, open_session
from noiseflow.fit.training.settings import TrainSettings
from noiseflow.flows.camera.shot_read_scale import ShotReadScale
from noiseflow.flows.conditions import Conditions, Resolved
from noiseflow.models.flow.flow_model import ResidualFlow
from noiseflow.models.io.run_folder import save
from noiseflow.models.model import ModelSpec, NoiseModel, build, checked_conditions

__all__ = ["DistillResult", "DistillSettings", "distill", "divergence", "sampling_seconds"]

VALIDATIONS = 20
"""Number of validations in a distillation."""


@dataclass(frozen=True)
class DistillSettings(TrainSettings):
    """Settings of a distillation.

    Parameters
    ----------
    steps : int
        Total number of steps.
    batch : int
        Clean patches per step.
    blocks, width, above, beside : int
        Options of the student, an ``iaf``.  The width must be a multiple of the planes.
    held_out : int
        Held-out patches on which the remaining KL is estimated.
    """

    COUNTS = ("steps", "batch", "held_out", "blocks", "width")

    learning_rate: float = 4e-3
    clip: float = 1.0
    patience: int | None = None
    device: str = "cpu"
    steps: int = 1500
    batch: int = 16
    blocks: int = 1
    width: int = 16
    above: int = 2
    beside: int = 3
    held_out: int = 256

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        super().__post_init__()
        if self.held_out < 2:
            raise DataError("held_out: expected 2 or more, since a standard error needs two values; got 1")


@dataclass(frozen=True)
class DistillResult:
    """Result of a distillation.

    Parameters
    ----------
    folder : Path
        Run folder of the student.
    model : NoiseModel
        The student.
    kl, kl_error : float
        KL(student‖teacher) on held-out patches and its standard error, nats/dim.
    start_kl : float
        KL(student‖teacher) at the start, nats/dim.
    teacher_seconds, student_seconds : float
        Seconds to sample one patch of planes of 128×128 pixels on this machine.
    seconds : float
        Duration of the distillation.
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
        """Sampling time of the teacher divided by that of the student."""
        return self.teacher_seconds / self.student_seconds


def distill(
    teacher: NoiseModel,
    train: CleanSource,
    out: str | Path,
    settings: DistillSettings | None = None,
    *,
    held_out: CleanSource | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = silent,
) -> DistillResult:
    """Train a one-pass sampler to match a model's density, and write its run folder.

    Minimises KL(student‖teacher) = E[log q(x) − log p(x)] over clean signals and random z, where x and
    log q(x) come from one sampling pass of the student, an ``iaf``, and p is the teacher's density.  No noise
    data are needed.  The student starts with the teacher's shot-and-read head.

    Parameters
    ----------
    teacher : NoiseModel
        Model with a one-pass density and a shot-and-read head, such as ``maf``.
    train : CleanSource
        Clean signals, ISOs and cameras to train on: see `noiseflow.fit.clean_sources`.
    out : path
        Run folder to write, for `noiseflow.load`.
    settings : DistillSettings, optional
        Settings of the training; by default those of `DistillSettings`.
    held_out : CleanSource, optional
        Clean signals on which the remaining KL is estimated; by default other draws from `train`.
    resume : bool
        Resume the distillation in `out`, with the same teacher and signals.
    overwrite : bool
        Replace an existing run in `out`.
    progress : Progress
        Called after each step.

    Raises
    ------
    ModelError
        If there is no run to resume in `out`, or the teacher has no shot-and-read head.
    OutputError
        If `out` exists and may not be replaced.
    DataError
        If the KL was not finite in several steps.

    References
    ----------
    van den Oord et al.: Parallel WaveNet: fast high-fidelity speech synthesis, ICML 2018, section 3.
    """
    settings = settings or DistillSettings()
    head = _head_of(teacher)
    with open_session(out, settings.device, resume=resume, overwrite=overwrite, progress=progress) as session:
        return _distill(teacher, head, train, held_out or train, settings, session)


def _distill(
    teacher: NoiseModel,
    head: ShotReadScale,
    train: CleanSource,
    held_out: CleanSource,
    settings: DistillSettings,
    session: TrainingSession,
) -> DistillResult:
    device = session.device
    student = _student_of(teacher, head, settings).to(device)
    teacher = teacher.eval().to(device)
    kept = [parameter.requires_grad for parameter in teacher.parameters()]
    teacher.requires_grad_(False)
    objective = DistillObjective(teacher, train, held_out, settings, device)
    try:
        length = TrainingLength(settings.steps, math.ceil(settings.steps / VALIDATIONS), settings.batch)
        arguments = {"teacher": json.loads(teacher.spec.to_json()), **settings.binding()}
        state = train_model(student, objective, settings, length, session, arguments)
        start_kl = state.history[0]["held_out_kl"]
        # Only on the first rank, since processes that sample at the same time slow each other down.
        scores = session.ranks.first(lambda: _scores(student, teacher, held_out, settings))
    finally:
        for parameter, needed in zip(teacher.parameters(), kept, strict=True):
            parameter.requires_grad_(needed)
    result = DistillResult(folder=session.final, model=student, start_kl=start_kl, seconds=session.seconds, **scores)

    def write() -> None:
        session.write_record(_record(teacher.spec, settings, result))
        # The spec comes last, since it marks the run as complete.
        save(student, session.out)

    session.ranks.first(write)
    return result


@torch.no_grad()
def divergence(
    student: ResidualFlow, teacher: NoiseModel, clean: CleanSource, count: int, seed: int = 0, batch: int = 16
) -> tuple[float, float]:
    """Estimate KL(student‖teacher) in nats/dim and its standard error.

    Parameters
    ----------
    student : ResidualFlow
        The student, from which samples are drawn.
    teacher : NoiseModel
        The teacher.
    clean : CleanSource
        Clean signals.
    count : int
        Number of clean patches.
    seed : int
        Seed of the draws.
    batch : int
        Patches per batch.
    """
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    values = []
    for start in range(0, count, batch):
        values.append(_log_ratio(student, teacher, clean(rng, min(batch, count - start)), generator).double())
    each = torch.cat(values)
    return float(each.mean()), float(each.std()) / math.sqrt(len(each))


@torch.no_grad()
def sampling_seconds(model: NoiseModel, height: int = 128, width: int = 128, repeats: int = 5) -> float:
    """Seconds to sample one patch of planes of height×width pixels, the fastest of several repeats."""
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
    """Compute log q(x) − log p(x) in nats/dim for samples x of the student, shape (B,)."""
    cond = checked_conditions(student, cond)
    z = student.flow.base.sample(cond.clean, generator)
    x, log_det = student.flow.inverse_and_log_det(z, cond)
    return (student.flow.base.log_prob(z) - log_det - teacher.log_prob(x, cond)) / z[0].numel()


def _head_of(teacher: NoiseModel) -> ShotReadScale:
    head = getattr(teacher, "shot_read", None)
    if not isinstance(head, ShotReadScale):
        raise ModelError(
            f"{teacher.spec.model}: has no shot-and-read head for a student to start from, and already samples in one "
            "pass; distil a maf"
        )
    return head


def _student_of(teacher: NoiseModel, head: ShotReadScale, settings: DistillSettings) -> ResidualFlow:
    spec = teacher.spec
    options = {name: getattr(settings, name) for name in ("blocks", "width", "above", "beside", "seed")}
    student = build(ModelSpec("iaf", spec.layout, spec.cameras, spec.isos, options))
    assert isinstance(student, ResidualFlow)
    # The student's head has no bend: it must learn the teacher's in its other layers.
    own = student.shot_read.state_dict()
    student.shot_read.load_state_dict({name: value for name, value in head.state_dict().items() if name in own})
    return student


@dataclass
class DistillObjective:
    """Objective of a distillation: KL(student‖teacher) in nats/dim, estimated on samples of the student."""

    teacher: NoiseModel
    train: CleanSource
    validated_on: CleanSource
    settings: DistillSettings
    device: torch.device
    name: str = "kl"
    unit: str = "nats/dim"
    references: Mapping[str, float] = field(default_factory=dict)

    def batch(self, position: StepPosition) -> Resolved:
        """Clean signals, ISOs and cameras of a step."""
        rng = np.random.default_rng((self.settings.seed, position.step, 0))
        cond = self.train(rng, self.settings.batch).resolve(self.teacher.cameras)
        own = position.share(self.settings.batch)
        clean, iso, camera = (each[own].to(self.device) for each in (cond.clean, cond.iso, cond.camera))
        return Resolved(clean, iso, camera)

    def count(self, position: StepPosition) -> int:
        """Clean patches of a step."""
        return self.settings.batch

    def loss(
        self, model: nn.Module, batch: Resolved, generator: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Mean log ratio of the densities of fresh samples."""
        assert isinstance(model, ResidualFlow)
        return _log_ratio(model, self.teacher, batch, generator).mean(), {}

    def held_out(self, model: nn.Module) -> float:
        """Remaining KL on the held-out signals."""
        assert isinstance(model, ResidualFlow)
        return divergence(model, self.teacher, self.validated_on, self.settings.held_out, self.settings.seed)[0]

    def record(self, position: StepPosition) -> tuple[str, dict[str, Tensor]]:
        """Conditions of a step."""
        cond = self.batch(position)
        return "clean signals", {"clean": cond.clean, "iso": cond.iso, "camera": cond.camera}

    def pictures(self, model: nn.Module) -> Mapping[str, Tensor]:
        """No pictures: samples of the student soon look like those of the teacher."""
        return {}


def _scores(
    student: ResidualFlow, teacher: NoiseModel, held_out: CleanSource, settings: DistillSettings
) -> dict[str, float]:
    # Another seed than in the validations, since the weights were chosen by those.
    kl, error = divergence(student, teacher, held_out, settings.held_out, settings.seed + 1)
    return {
        "kl": kl,
        "kl_error": error,
        "teacher_seconds": sampling_seconds(teacher),
        "student_seconds": sampling_seconds(student),
    }


def _record(teacher: ModelSpec, settings: DistillSettings, result: DistillResult) -> dict[str, Any]:
    return {
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
