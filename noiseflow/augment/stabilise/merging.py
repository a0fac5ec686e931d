"""Merging frames of different exposure or ISO by the noise that a model says they have."""

from collections.abc import Sequence

import torch
from torch import Tensor

from noiseflow.augment.noise_level import NoiseLevelMap
from noiseflow.core.errors import DataError
from noiseflow.flows.conditions import Conditions
from noiseflow.models.model import NoiseModel, checked_conditions

__all__ = ["merge_frames"]

ROUNDS = 3
"""Of weighing frames by the noise at the merged signal: weights by the noisy signal itself would favour dark pixels."""

CLIPPED = 0.98
"""Part of the range from which a pixel is left out."""


@torch.no_grad()
def merge_frames(
    frames: Tensor, model: NoiseModel, isos: Sequence[float], exposures: Sequence[float], camera: str | None = None
) -> tuple[Tensor, Tensor]:
    """Least noisy weighted mean of frames of one still scene.

    The light L of a pixel is L̂ = Σ wᵢ·xᵢ/eᵢ / Σ wᵢ with wᵢ = eᵢ²/varᵢ(eᵢ·L̂), eᵢ the exposure; its variance is
    1/Σ wᵢ.  Clipped pixels have no weight; where all frames clip, the shortest exposure stands.

    Parameters
    ----------
    frames : Tensor, shape (N, C, H, W)
        Normalised signals, aligned.
    model : NoiseModel
        Model of the camera.
    isos : sequence of float
        One a frame.
    exposures : sequence of float
        Exposure times one a frame, times gain where the ISO differs: the signal that one unit of light gives.
    camera : str, optional
        One of the model's; its only one if None.

    Returns
    -------
    tuple of Tensor
        Merged light and its standard deviation, (C, H, W), in units of the signal at exposure 1.
    """
    count = len(frames)
    if frames.ndim != 4 or not len(isos) == len(exposures) == count or count == 0:
        raise DataError(
            f"frames {tuple(frames.shape)}, {len(isos)} ISOs, {len(exposures)} exposures: expected frames of shape "
            "(N, C, H, W) and N of each"
        )
    if not all(exposure > 0 for exposure in exposures):
        raise DataError(f"exposures {list(exposures)}: expected numbers above 0")
    level = NoiseLevelMap(model)
    factor = torch.as_tensor(list(exposures), dtype=frames.dtype, device=frames.device)[:, None, None, None]
    valid = (frames < CLIPPED).to(frames)
    valid[factor.argmin()] = torch.where(valid.sum(0) > 0, valid[factor.argmin()], torch.ones_like(valid[0]))
    weight = valid * factor
    names = model.cameras[0] if camera is None else camera
    for _ in range(ROUNDS):
        light = (weight * frames / factor).sum(0) / weight.sum(0)
        iso = torch.as_tensor(list(isos), dtype=torch.float32, device=frames.device)
        clean = (factor * light).clamp(0, 1)
        variance = level.variance(checked_conditions(model, Conditions(clean, iso, names)))
        weight = valid * factor.square() / variance.to(frames)
    return (weight * frames / factor).sum(0) / weight.sum(0), weight.sum(0).rsqrt()
