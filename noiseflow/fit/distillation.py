"""Distil a slow sampler into one that samples in one pass (probability density distillation)."""

import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from noiseflow.core.errors import DataError, ModelError
from noiseflow.core.output.listed import write_listed
from noiseflow.core.progress import Progress, silent
from noiseflow.core.version import __version__
from noiseflow.fit.clean_sources import CleanSource
from noiseflow.fit.training.objective import Length, Place
from noiseflow.fit.training.session import Sitting, begun
from noiseflow.fit.training.settings import TrainSettings
from noiseflow.flows.camera.shot_read_scale import ShotReadScale
from noiseflow.flows.conditions import Conditions
from noiseflow.models.flow.residual_flow import ResidualFlow
from noiseflow.models.io.run_folder import save
from noiseflow.models.model import NoiseModel, build
from noiseflow.models.spec import ModelSpec

__all__ = ["DistillResult", "DistillSettings", "distill", "divergence", "sampling_seconds"]


LOOKS = 20
"""At the KL that is left, in the course of a distillation."""


@dataclass(frozen=True)
class DistillSettings(TrainSettings):
    """How a student is distilled.

    Parameters
    ----------
    steps : int
    batch : int
        Clean patches a step.
    blocks, width, above, beside : int
        Of the student, an ``iaf``.  The width must be a multiple of the planes.
    held_out : int
        Held-out patches on which the KL that is left is estimated.
    """

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
        for name in ("steps", "batch", "held_out", "blocks", "width"):
            if getattr(self, name) < 1:
                raise DataError(f"{name}: expected 1 or more; got {getattr(self, name)}")
        if self.held_out < 2:
            raise DataError("held_out: expected 2 or more, or there is no standard error; got 1")


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
    resume: bool = False,
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
        Clean signals, ISOs and cameras: see `noiseflow.fit.clean_sources`.
    out : path
        Run folder, which `noiseflow.load` takes.
    settings : DistillSettings, optional
    held_out : CleanSource, optional
        Clean signals for the KL that is left; other draws of `train` without it.
    resume : bool
        Go on with the distillation that `out` holds, of the same teacher and signals.
    overwrite : bool
        Whether a run in `out` may be replaced.
    progress : Progress
        Told of steps done.

    Raises
    ------
    ModelError
        `out` holds a run already, or none to go on with, or the teacher has no shot-and-read head.
    DataError
        The KL was not finite in several steps.

    References
    ----------
    van den Oord et al.: Parallel WaveNet: fast high-fidelity speech synthesis, ICML 2018, section 3.
    """
    settings = settings or DistillSettings()
    head = _head_of(teacher)
    with begun(out, settings.device, resume=resume, overwrite=overwrite, progress=progress) as sitting:
        return _distill(teacher, head, train, held_out or train, settings, sitting)


def _distill(
    teacher: NoiseModel,
    head: ShotReadScale,
    train: CleanSource,
    held_out: CleanSource,
    settings: DistillSettings,
    sitting: Sitting,
) -> DistillResult:
    device = sitting.device
    student = _student_of(teacher, head, settings).to(device)
    teacher = teacher.eval().to(device)
    kept = [parameter.requires_grad for parameter in teacher.parameters()]
    teacher.requires_grad_(False)
    objective = DistillObjective(teacher, train, held_out, settings, device)
    try:
        length = Length(settings.steps, math.ceil(settings.steps / LOOKS), settings.batch)
        arguments = {"teacher": json.loads(teacher.spec.to_json()), **settings.binding()}
        state = sitting.train(student, objective, settings, length, arguments)
        start_kl = state.history[0]["held_out_kl"]
        # The first process alone: several that sample at once would take each other's time.
        judged = sitting.ranks.first(lambda: _judged(student, teacher, held_out, settings))
    finally:
        for parameter, needed in zip(teacher.parameters(), kept, strict=True):
            parameter.requires_grad_(needed)
    result = DistillResult(folder=sitting.out, model=student, start_kl=start_kl, seconds=sitting.seconds, **judged)

    def write() -> None:
        save(student, sitting.out)
        _write_record(sitting.out, teacher.spec, settings, result)

    sitting.ranks.first(write)
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


@dataclass
class DistillObjective:
    """KL(student‖teacher) by samples of the student, nats/dim."""

    teacher: NoiseModel
    train: CleanSource
    judged_on: CleanSource
    settings: DistillSettings
    device: torch.device
    name: str = "kl"
    unit: str = "nats/dim"
    references: Mapping[str, float] = field(default_factory=dict)

    def batch(self, place: Place) -> Conditions:
        """Clean signals, ISOs and cameras of a step."""
        rng = np.random.default_rng((self.settings.seed, place.step, 0))
        cond = self.train(rng, self.settings.batch).resolve(self.teacher.cameras)
        own = place.share(self.settings.batch)
        clean, iso, camera = (each[own].to(self.device) for each in (cond.clean, cond.isos, cond.camera_indices))
        return Conditions(clean, iso, camera)

    def count(self, place: Place) -> int:
        """Clean patches of a step."""
        return self.settings.batch

    def loss(
        self, model: nn.Module, batch: Conditions, generator: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Mean log ratio of the densities of fresh samples."""
        assert isinstance(model, ResidualFlow)
        return _log_ratio(model, self.teacher, batch, generator).mean(), {}

    def held_out(self, model: nn.Module) -> float:
        """The KL that is left on the signals to judge by."""
        assert isinstance(model, ResidualFlow)
        return divergence(model, self.teacher, self.judged_on, self.settings.held_out, self.settings.seed)[0]

    def record(self, place: Place) -> tuple[str, dict[str, Tensor]]:
        """A step's conditions."""
        cond = self.batch(place)
        return "clean signals", {"clean": cond.clean, "iso": cond.isos, "camera": cond.camera_indices}

    def pictures(self, model: nn.Module) -> Mapping[str, Tensor]:
        """None: samples of the student look like those of the teacher early on."""
        return {}


def _judged(
    student: ResidualFlow, teacher: NoiseModel, held_out: CleanSource, settings: DistillSettings
) -> dict[str, float]:
    # A seed of its own: the KL that is reported is not one that the history was looked at with.
    kl, error = divergence(student, teacher, held_out, settings.held_out, settings.seed + 1)
    return {
        "kl": kl,
        "kl_error": error,
        "teacher_seconds": sampling_seconds(teacher),
        "student_seconds": sampling_seconds(student),
    }


def _write_record(out: Path, teacher: ModelSpec, settings: DistillSettings, result: DistillResult) -> None:
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
    write_listed(out, "fit.json", (json.dumps(record, indent=2) + "\n").encode())
