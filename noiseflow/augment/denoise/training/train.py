"""Training of a photo denoiser, from scratch or starting from another one."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from noiseflow.augment.denoise.files import save_photo_denoiser
from noiseflow.augment.denoise.network import PhotoDenoiser, PhotoDenoiserSpec
from noiseflow.augment.denoise.training.objective import CropSource, DenoisingObjective
from noiseflow.core.progress import Progress, silent
from noiseflow.fit.training.engine import train
from noiseflow.fit.training.objective import TrainingLength
from noiseflow.fit.training.session import TrainingSession, open_session
from noiseflow.fit.training.settings import TrainSettings

__all__ = ["DenoiserSettings", "DenoiserTraining", "train_photo_denoiser"]


@dataclass(frozen=True)
class DenoiserSettings(TrainSettings):
    """Settings for training a photo denoiser.

    Parameters
    ----------
    steps : int
        Total number of steps.
    batch : int
        Crops per step.
    side : int
        Side of a crop, in pixels of a plane.
    validations : int
        Number of times that the held-out error is measured.
    held_out : int
        Number of held-out crops.
    """

    COUNTS = ("steps", "batch", "side", "validations", "held_out")

    learning_rate: float = 2e-3
    warmup: int = 100
    clip: float = 1.0
    ema: float = 0.995
    patience: int | None = None
    compile: str = "off"
    steps: int = 1000
    batch: int = 6
    side: int = 80
    validations: int = 20
    held_out: int = 48


@dataclass(frozen=True, eq=False)
class DenoiserTraining:
    """A trained photo denoiser.

    Parameters
    ----------
    folder : Path
        Its run folder.
    model : PhotoDenoiser
        The network with the weights of the lowest held-out error.
    start_error, error : float
        Held-out error before and after training, see `DenoisingObjective`.
    steps : int
        Number of steps done.
    seconds : float
        Duration of this session, seconds.
    """

    folder: Path
    model: PhotoDenoiser
    start_error: float
    error: float
    steps: int
    seconds: float


def train_photo_denoiser(
    crops: CropSource,
    held_out: CropSource,
    out: str | Path,
    settings: DenoiserSettings | None = None,
    *,
    start: PhotoDenoiser | PhotoDenoiserSpec | None = None,
    about: Mapping[str, Any] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    inputs: Iterable[str | Path] = (),
    progress: Progress = silent,
) -> DenoiserTraining:
    """Train a photo denoiser with the engine of all fits: checkpointed, and resumed with identical bits.

    Parameters
    ----------
    crops, held_out : CropSource
        Sources of training and validation crops.
    out : path
        Run folder to write, for `load_photo_denoiser`.
    settings : DenoiserSettings, optional
        Training settings; if None, the defaults.
    start : PhotoDenoiser or PhotoDenoiserSpec, optional
        Network to start from, or the sizes of a new one; if None, a new one of the default sizes.
    about : mapping, optional
        JSON values for the card that describe the training data.
    resume : bool
        Whether to continue the training in `out`.
    overwrite : bool
        Whether a run in `out` may be replaced.
    inputs : iterable of path
        Files and folders that are read; `out` may not be one of them.
    progress : Progress
        Called after each step.

    Returns
    -------
    DenoiserTraining
        The trained network and its errors.

    Raises
    ------
    ModelError
        `out` already contains a run, or none to resume.
    DataError
        The error was not finite in several steps.
    """
    settings = settings or DenoiserSettings()
    with open_session(
        out, settings.device, resume=resume, overwrite=overwrite, inputs=inputs, progress=progress
    ) as session:
        model = _copy(start).to(session.device)
        return _trained(model, crops, held_out, settings, session, dict(about or {}))


def _copy(start: PhotoDenoiser | PhotoDenoiserSpec | None) -> PhotoDenoiser:
    if not isinstance(start, PhotoDenoiser):
        return PhotoDenoiser(start or PhotoDenoiserSpec())
    copy = PhotoDenoiser(start.spec)
    copy.load_state_dict(start.state_dict())
    return copy


def _trained(
    model: PhotoDenoiser,
    crops: CropSource,
    held_out: CropSource,
    settings: DenoiserSettings,
    session: TrainingSession,
    about: dict[str, Any],
) -> DenoiserTraining:
    objective = DenoisingObjective(crops, held_out, settings.held_out, settings.batch, settings.seed, session.device)
    every = math.ceil(settings.steps / settings.validations)
    length = TrainingLength(settings.steps, every, settings.batch)
    arguments = {"spec": json.loads(json.dumps(asdict(model.spec))), "about": about, **settings.binding()}
    state = train(model, objective, settings, length, session, arguments)
    result = DenoiserTraining(
        session.final,
        model,
        state.history[0]["held_out_error"],
        state.best,
        state.step,
        session.seconds,
    )
    record = {
        "settings": asdict(settings),
        "steps": state.step,
        "seconds": round(state.seconds, 1),
        "held_out_error_at_start": result.start_error,
        "held_out_error": result.error,
    }

    def write() -> None:
        save_photo_denoiser(model, session.out, {**about, **record, "torch": torch.__version__})
        session.write_record(record)

    session.ranks.first(write)
    return result
