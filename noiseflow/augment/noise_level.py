"""Noise level of a model: σ at each pixel of a clean signal, in closed form or measured on samples."""

from itertools import chain

import torch
from torch import Tensor

from noiseflow.flows.conditions import Conditions
from noiseflow.flows.iso_table import at_iso
from noiseflow.models.capabilities import linear_variance
from noiseflow.models.model import NoiseModel, checked_conditions
from noiseflow.ops.random.sampling import Keyed

__all__ = ["NoiseLevelMap", "noise_profile"]

LEVELS = 9
"""Signals at which σ is measured, evenly spaced in their square root from 0 to 1."""

ISOS = 7
"""Most ISOs at which σ is measured."""

FLAT = 64
"""Side of a flat in pixels of a plane: the standard error of σ from 4,096 values is 1.1 %."""


class NoiseLevelMap:
    """σ of a model's noise at each pixel, in units of the normalised signal.

    The σ of a model with linear variance is known.  Of any other model, noise is sampled once on flats, and σ
    is interpolated in the square root of the signal and in log ISO.  The closed form ignores clipping.

    Parameters
    ----------
    model : NoiseModel
        Model whose σ is wanted.
    """

    def __init__(self, model: NoiseModel) -> None:
        self.model, self.line = model, linear_variance(model)
        chosen = torch.linspace(0, len(model.spec.isos) - 1, min(ISOS, len(model.spec.isos))).round().long().tolist()
        self.isos = tuple(model.spec.isos[index] for index in chosen)
        self._measured: dict[int, Tensor] = {}

    def __call__(self, cond: Conditions) -> Tensor:
        """σ, (B, C, H, W)."""
        cond = checked_conditions(self.model, cond)
        if self.line is not None:
            beta1, beta2 = self.line.linear_variance(cond)
            return (beta1 * cond.clean.clamp(min=0) + beta2).sqrt().expand_as(cond.clean)
        curves = torch.stack(
            [self._curve(camera, iso) for camera, iso in zip(cond.camera_indices.tolist(), cond.isos, strict=True)]
        ).to(cond.clean)
        place = cond.clean.clamp(0, 1).sqrt().flatten(2) * (LEVELS - 1)
        below = place.long().clamp(max=LEVELS - 2)
        left, right = curves.gather(2, below), curves.gather(2, below + 1)
        return (left + (right - left) * (place - below)).exp().reshape(cond.clean.shape)

    def _curve(self, camera: int, iso: Tensor) -> Tensor:
        """Log σ of a camera at an ISO, (C, `LEVELS`)."""
        if camera not in self._measured:
            self._measured[camera] = torch.stack([self._measure(camera, iso_) for iso_ in self.isos], -1)
        table = self._measured[camera]
        knots = torch.tensor(self.isos, dtype=torch.float64).log()
        flat = table.flatten(0, 1)
        return at_iso(flat, knots, iso.detach().double().cpu().expand(len(flat))).reshape(table.shape[:2])

    def _measure(self, camera: int, iso: float) -> Tensor:
        """Log σ on flats, (C, `LEVELS`), float64."""
        like = next(self.model.parameters(), torch.empty(0))
        signal = torch.linspace(0, 1, LEVELS, dtype=like.dtype, device=like.device).square()[:, None, None, None]
        clean = signal.expand(-1, self.model.planes, FLAT, FLAT).contiguous()
        noise = self.model.sample(Conditions(clean, iso, camera), Keyed(0, tuple(range(LEVELS))))
        return noise.double().square().mean((2, 3)).log().mul(0.5).T.cpu()


def noise_profile(model: NoiseModel, iso: float, camera: str) -> tuple[tuple[float, float], ...]:
    """(S, O) of the DNG NoiseProfile, var = S·signal + O: one pair for all planes, or one each for R, G, B.

    These are the model's own β₁ and β₂ if its variance is linear.  Otherwise they are a weighted least-squares
    fit to the variance measured on flats below 0.6 of the range, where nothing clips.

    References
    ----------
    Adobe: Digital Negative (DNG) Specification 1.4, NoiseProfile.
    """
    like = next(chain(model.parameters(), model.buffers()), torch.empty(0))
    cond = checked_conditions(model, Conditions(torch.zeros(1, model.planes, 1, 1, device=like.device), iso, camera))
    if (line := linear_variance(model)) is not None:
        betas = line.linear_variance(cond)
        slope, offset = (value.detach().cpu().double().expand(1, model.planes, 1, 1)[0, :, 0, 0] for value in betas)
    else:
        signal = torch.linspace(0, 1, LEVELS, dtype=torch.float64).square()
        used = signal < 0.6
        level = NoiseLevelMap(model)
        variance = level._curve(int(cond.camera_indices[0]), cond.isos[0])[:, used].mul(2).exp()
        design = torch.stack([signal[used], torch.ones(int(used.sum()), dtype=torch.float64)], 1)
        weighted = design[None] / variance[:, :, None]
        solution = torch.linalg.lstsq(weighted, torch.ones_like(variance)[:, :, None]).solution[:, :, 0]
        slope, offset = solution.clamp(min=0).unbind(1)
    pairs = torch.stack([slope, offset], 1)
    if model.planes == 4 and model.spec.layout == "bayer":
        pairs = torch.stack([pairs[0], pairs[1:3].mean(0), pairs[3]])
    elif model.planes == 4:
        pairs = pairs.mean(0, keepdim=True)
    if len(pairs) > 1 and bool((pairs == pairs[0]).all()):
        pairs = pairs[:1]
    return tuple((float(s), float(o)) for s, o in pairs)
