"""Merging of frames with different exposure or ISO, weighted by a model's noise."""

from collections.abc import Sequence

import torch
from torch import Tensor

from noiseflow.augment.noise_level import NoiseLevelMap
from noiseflow.core.errors import DataError
from noiseflow.flows.conditions import Conditions
from noiseflow.models.model import NoiseModel, checked_conditions

__all__ = ["merge_frames"]

ROUNDS = 3
"""Rounds of weighting by the noise at the merged signal; weights from noisy signals would favour dark pixels."""

CLIPPED = 0.98
"""Normalised signal at and above which a pixel counts as clipped."""


@torch.no_grad()
def merge_frames(
    frames: Tensor, model: NoiseModel, isos: Sequence[float], exposures: Sequence[float], camera: str | None = None
) -> tuple[Tensor, Tensor]:
    """Merge frames of a static scene by the weighted mean with the least noise.

    The light L of a pixel is estimated as L̂ = Σ wᵢ·xᵢ/eᵢ / Σ wᵢ with wᵢ = eᵢ²/varᵢ(eᵢ·L̂) and exposures eᵢ; its
    variance is 1/Σ wᵢ.  Clipped pixels have weight 0; where all frames are clipped, the shortest exposure is used.

    Parameters
    ----------
    frames : Tensor, shape (N, C, H, W)
        Normalised signals, aligned.
    model : NoiseModel
        Noise model of the camera.
    isos : sequence of float
        ISO of each frame.
    exposures : sequence of float
        Exposure of each frame: exposure time, times gain where the ISO differs.  It is the signal per unit of light.
    camera : str, optional
        Camera of the model; if None, its first one.

    Returns
    -------
    tuple of Tensor
        Merged light and its standard deviation, (C, H, W), in units of the signal at exposure 1.

    Raises
    ------
    DataError
        Numbers of frames, ISOs and exposures that differ, or exposures that are not positive.
    """
    count = len(frames)
    if frames.ndim != 4 or not len(isos) == len(exposures) == count or count == 0:
        raise DataError(
            f"frames {tuple(frames.shape)}, {len(isos)} ISOs, {len(exposures)} exposures: expected frames of shape "
            "(N, C, H, W), N ISOs and N exposures"
        )
    if not all(exposure > 0 for exposure in exposures):
        raise DataError(f"exposures {list(exposures)}: expected positive numbers")
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
