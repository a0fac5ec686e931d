"""Crops with the noise of one noise model, for fine-tuning a photo denoiser."""

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from torch import Tensor

from noiseflow.augment.denoise.training.cameras import LINE_ERROR, NoisyCrops
from noiseflow.augment.denoise.training.objective import CropSource
from noiseflow.augment.denoise.training.pictures import PlaneSource
from noiseflow.augment.noise_level import noise_profile
from noiseflow.core.errors import ModelError
from noiseflow.fit.clean_sources import CleanSource
from noiseflow.flows.conditions import Conditions, Resolved
from noiseflow.models.model import ModelSpec, NoiseModel

__all__ = ["modelled_crops", "of_pictures"]

STOPS = 1 / 3
"""Step in stops between the ISOs of crops; the noise level is computed only at these."""

FLOOR = -1 / 32
"""Normalised signal assumed for code 0, as for a black level of 512 at 14 bits; noise models do not contain it."""

ROUNDING = 1e-12
"""Smallest β₂."""


def of_pictures(planes: PlaneSource, spec: ModelSpec, side: int) -> CleanSource:
    """Source of clean crops of pictures with random cameras and log-uniform ISOs of a model."""
    low, high = np.log(spec.isos[0]), np.log(spec.isos[-1])

    def draw(rng: np.random.Generator, count: int) -> Conditions:
        clean = planes(rng, count, side)
        iso = torch.from_numpy(np.exp(rng.uniform(low, high, count))).to(torch.float32)
        return Conditions(clean, iso, torch.from_numpy(rng.integers(len(spec.cameras), size=count)))

    return draw


def modelled_crops(model: NoiseModel, clean: CleanSource, jitter: float = LINE_ERROR) -> CropSource:
    """Source of crops with sampled noise of a model; the stated noise level is the model's, with a random error.

    Parameters
    ----------
    model : NoiseModel
        Model of Bayer planes.
    clean : CleanSource
        Source of clean signals, each with an ISO and a camera of the model; ISOs are rounded to thirds of a stop.
    jitter : float
        Relative error of the stated noise σ, one standard deviation.

    Raises
    ------
    ModelError
        The model is not one of Bayer planes.
    """
    if model.spec.layout != "bayer":
        raise ModelError(
            f"{model.spec.model}: was fitted on {model.spec.layout!r} planes; expected a model of Bayer planes"
        )
    line = _lines(model)

    @torch.no_grad()
    def draw(rng: np.random.Generator, generator: torch.Generator, count: int) -> NoisyCrops:
        cond = clean(rng, count).resolve(model.cameras)
        stops = (cond.iso.double().log2() / STOPS).round()
        signal = cond.clean.clamp(0, 1)
        cond = Resolved(signal, (2.0 ** (stops * STOPS)).to(signal), cond.camera)
        noisy = (signal + model.sample(cond, generator).to(signal)).clamp(max=1)
        lines = torch.stack([line(*each) for each in zip(stops.tolist(), cond.camera.tolist(), strict=True)])
        factor = (jitter * torch.randn(count, 1, 1, 1, generator=generator)).exp().square()
        slope, offset = (lines[:, part, :, None, None] * factor for part in (0, 1))
        return NoisyCrops(signal, noisy, slope, offset, torch.full_like(slope, FLOOR))

    return draw


def _lines(model: NoiseModel) -> Callable[[float, int], Tensor]:
    """Cached function of an ISO in thirds of a stop and a camera that returns β₁ and β₂ of R, G1, G2, B, (2, 4)."""

    @cache
    def line(stop: float, camera: int) -> Tensor:
        pairs = noise_profile(model, 2.0 ** (stop * STOPS), model.cameras[camera])
        slope, offset = torch.tensor(pairs if len(pairs) == 1 else [pairs[k] for k in (0, 1, 1, 2)]).T.expand(2, 4)
        return torch.stack([slope, offset.clamp(min=ROUNDING)])

    return line
