"""Where the noise of a training comes from: models fitted to the camera's frames, and the true noise."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from noiseflow.calibrate import read_profile
from noiseflow.core.progress import Progress, silent
from noiseflow.fit import FitSettings, fit, spec_for
from noiseflow.flows import Conditions
from noiseflow.models import NoiseModel, from_profile, load
from noiseflow.models.io.run_folder import WEIGHTS
from noiseflow.patches import PatchStore
from tools.denoising.cameras import Sensor

__all__ = ["CALIBRATED", "TRUE", "Expose", "fit_source", "is_fitted", "source"]

TRUE = "true noise"
CALIBRATED = ("eld", "poisson_gaussian", "poisson_gaussian_exact")
"""Models from the camera's calibration; all others are fitted to its patch store."""

Expose = Callable[[Tensor, Tensor, int], Tensor]
"""Clean planes (B, 4, h, w), ISO (B,) and a seed to noisy planes: normalised, in whole codes."""


def run_folder(camera: Sensor, name: str) -> Path:
    """Run folder of a model of a camera."""
    return camera.folder / "runs" / name


def is_fitted(camera: Sensor, name: str) -> bool:
    """Whether nothing is left to fit."""
    return name == TRUE or name in CALIBRATED or (run_folder(camera, name) / WEIGHTS).exists()


def fit_source(camera: Sensor, name: str, settings: FitSettings, progress: Progress = silent) -> None:
    """Fit a model as ``noiseflow fit`` does; continues a fit that was stopped."""
    folder = run_folder(camera, name)
    with PatchStore(camera.store) as store:
        spec = spec_for(store, name)
        fit(store, spec, folder, settings, resume=folder.exists(), progress=progress)


def source(camera: Sensor, name: str) -> Expose:
    """What exposes clean pictures with the noise of that name."""
    if name == TRUE:
        return lambda clean, iso, seed: true_noise(camera, clean, iso, seed)
    calibrated = name in CALIBRATED
    model = (
        from_profile(name, read_profile(camera.profile), camera.layout)
        if calibrated
        else load(run_folder(camera, name))
    )
    return lambda clean, iso, seed: modelled_noise(camera, model, clean, iso, seed)


def true_noise(camera: Sensor, clean: Tensor, iso: Tensor, seed: int) -> Tensor:
    """Noise of the camera itself."""
    rng = np.random.default_rng(seed)
    pictures = [camera.expose(each.numpy(), float(at), rng) for each, at in zip(clean, iso.tolist(), strict=True)]
    return torch.from_numpy(np.stack(pictures))


def modelled_noise(camera: Sensor, model: NoiseModel, clean: Tensor, iso: Tensor, seed: int) -> Tensor:
    """Noise drawn from a model, rounded and clipped like the camera's."""
    generator = torch.Generator().manual_seed(seed)
    name = camera.camera if camera.camera in model.cameras else model.cameras[0]
    noisy = clean + model.sample(Conditions(clean, iso, name), generator)
    return torch.from_numpy(camera.quantised(noisy.numpy()))
