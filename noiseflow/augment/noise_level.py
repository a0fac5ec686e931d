"""Noise level of a model: σ at each pixel of a clean signal, exact or measured on samples."""

import math
from bisect import bisect_right
from dataclasses import replace
from itertools import chain, pairwise

import torch
from torch import Tensor

from noiseflow.flows.conditions import Conditions, Resolved
from noiseflow.models.capabilities import HasScale, HasVariance, linear_variance, of_one_frame
from noiseflow.models.flow.flow_model import FlowModel
from noiseflow.models.model import NoiseModel, checked_conditions
from noiseflow.ops.random.spread import Spread
from noiseflow.raw.bayer import plane_names

__all__ = ["NoiseLevelMap", "flat_of", "noise_profile"]

STEP = 7.6 / 17
"""Step in asinh(y / `DARK`) between the signals at which variance is measured; half of these are below 1/32."""

DARK = 1 / math.sinh(17 * STEP)

SIGNALS = torch.arange(21, dtype=torch.float64).mul(STEP).sinh().mul(DARK)
"""Normalised signals at which variance is measured: 0 to 1, and three beyond, up to 3.8."""

STOPS = 1.0
"""Largest distance in stops between ISOs at which variance is measured."""

LEVELS = 9
"""Number of signals for fitting a NoiseProfile, evenly spaced in their square root from 0 to 1."""

BEYOND = 8
"""Number of stops beyond the fitted ISOs at which variance can be measured, when it is needed there."""

FLAT, SMALL_FLAT, LONG_FLAT = (128, 128), (64, 64), (4096, 2)
"""Rows and columns of a flat, in pixels of a plane.

`FLAT` is for models whose pixels depend on neighbours; `SMALL_FLAT` for models that sample sequentially, and for models
that are not flows; `LONG_FLAT` for flows whose pixels share at most a row's offset, whose variance needs many rows.
"""


class NoiseLevelMap:
    """Noise σ of a model at each pixel, in units of the normalised signal.

    For a Gaussian model σ is exact.  For any other model, variance is measured on flats with evenly spread random
    numbers and divided by that of the model's own scales.  The excess over these scales is interpolated linearly in
    the signal, between nodes that are dense in the dark, and as a factor in log ISO.  It is measured when first
    needed, and again after the weights change.  A signal below black has the noise of black.

    Parameters
    ----------
    model : NoiseModel
        The noise model.
    """

    def __init__(self, model: NoiseModel) -> None:
        self.model = model = of_one_frame(model)
        self.isos = _nodes(model.spec.isos)
        self._log_isos = torch.tensor(self.isos, dtype=torch.float64).log()
        self._factors: dict[tuple[int, int], Tensor] = {}
        self._weights: tuple[object, ...] = ()

    def __call__(self, cond: Conditions) -> Tensor:
        """Noise σ at each pixel, normalised, (B, C, H, W)."""
        return self.variance(checked_conditions(self.model, cond)).sqrt()

    def variance(self, cond: Resolved) -> Tensor:
        """Variance σ² under resolved conditions, (B, C, H, W), with a gradient if the signal requires one."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and cond.clean.requires_grad):
            return self._variance(cond)

    def _variance(self, cond: Resolved) -> Tensor:
        if isinstance(self.model, HasVariance):
            return self.model.variance(cond).expand_as(cond.clean)
        signal = cond.clean.clamp(min=0)
        nodes, factors = SIGNALS.to(signal), self._factors_at(cond).to(signal)
        # One call for the scales at nodes and at the signal: for a small batch, the call dominates the time.
        both = torch.cat([nodes.expand(*signal.shape[:2], 1, -1), signal.flatten(2)[:, :, None]], 3)
        at_nodes, scale = _scale(self.model, replace(cond, clean=both))[:, :, 0].tensor_split([len(nodes)], 2)
        beyond = (factors - 1) * at_nodes
        slope = beyond.diff(dim=2) / nodes.diff()
        offset = beyond[:, :, :-1] - slope * nodes[:-1]
        within = signal.flatten(2).clamp(max=float(SIGNALS[-1]))
        # asinh t = log(t + √(t² + 1)), which takes a tenth of the time of torch.asinh.
        t = within.detach() * (1 / DARK)
        left = (t.square().add_(1).sqrt_().add_(t)).log_().mul_(1 / STEP).long().clamp_(max=len(SIGNALS) - 2)
        added = torch.addcmul(offset.gather(2, left), slope.gather(2, left), within)
        return (scale + added).clamp(min=0).reshape(signal.shape)

    def _factors_at(self, cond: Resolved) -> Tensor:
        """Measured variance divided by that of the scales, for each element, (B, C, signals), float64."""
        self._renew()
        found = []
        for camera, log_iso in zip(cond.camera.tolist(), cond.iso.double().log().tolist(), strict=True):
            left, weight = self._place(log_iso)
            factors = self._factor(camera, left)
            found.append(factors if not weight else torch.lerp(factors, self._factor(camera, left + 1), weight))
        return torch.stack(found) if found else torch.ones(0, cond.clean.shape[1], len(SIGNALS), dtype=torch.float64)

    def _place(self, log_iso: float) -> tuple[int, float]:
        """Index of the node below an ISO, and the weight of the next node; an ISO within 1 % of a node is that node."""
        nodes = self._log_isos.tolist()
        left = min(max(bisect_right(nodes, log_iso) - 1, 0), len(nodes) - 2)
        weight = min(max((log_iso - nodes[left]) / (nodes[left + 1] - nodes[left]), 0.0), 1.0)
        if log_iso - nodes[left] < 0.01:
            return left, 0.0
        return (left + 1, 0.0) if nodes[left + 1] - log_iso < 0.01 else (left, weight)

    def _renew(self) -> None:
        """Discard measurements made with other weights."""
        tensors = [*chain(self.model.parameters(), self.model.buffers())]
        # Versions count changes in place; the sum detects changes through `.data`, which versions do not count.
        numbers = [tensor.detach().flatten() for tensor in tensors]
        total = float(torch.cat(numbers).sum(dtype=torch.float64)) if tensors else 0.0
        weights = (*((tensor.data_ptr(), _version(tensor)) for tensor in tensors), total)
        if weights != self._weights:
            self._factors.clear()
            self._weights = weights

    def _factor(self, camera: int, node: int) -> Tensor:
        if (camera, node) not in self._factors:
            self._factors[camera, node] = self._measured(camera, self.isos[node])
        return self._factors[camera, node]

    @torch.no_grad()
    def _measured(self, camera: int, iso: float) -> Tensor:
        """Variance measured on flats, divided by that of the scales, (C, signals), float64."""
        like = next(chain(self.model.parameters(), self.model.buffers()), torch.empty(0))
        real = like.dtype if like.is_floating_point() else torch.float32
        size, source = flat_of(self.model)
        signal = SIGNALS.to(like.device, real)[:, None, None, None].expand(-1, self.model.planes, *size).contiguous()
        cond = checked_conditions(self.model, Conditions(signal, iso, camera))
        variance = self.model.sample(cond, source).double().flatten(2).var(2, correction=0)
        scale = _scale(self.model, cond).double()[:, :, 0, 0]
        return (variance / scale).T.cpu()


def _version(tensor: Tensor) -> int:
    """Number of in-place changes of a tensor; 0 in inference mode, which does not count them."""
    return 0 if tensor.is_inference() else tensor._version


def _scale(model: NoiseModel, cond: Resolved) -> Tensor:
    """Variance of the model's scales, (B, C, H, W), or 1 if it has none; never 0."""
    if isinstance(model, HasScale):
        return model.scale_variance(cond).clamp(min=1e-12)
    return torch.ones_like(cond.clean)


def flat_of(model: NoiseModel) -> tuple[tuple[int, int], Spread]:
    """Size of the flat for measuring a model, (rows, columns) of a plane, and the source of its random numbers."""
    if not isinstance(model, FlowModel):
        return SMALL_FLAT, Spread(cell=1)
    if model.flow.reach == 0:
        return LONG_FLAT, Spread(cell=1)
    return SMALL_FLAT if model.flow.sequential_inverse else FLAT, Spread(cell=2)


def _nodes(isos: tuple[float, ...]) -> tuple[float, ...]:
    """The fitted ISOs, further ISOs between them at most `STOPS` apart, and `BEYOND` stops on both sides."""
    logs = torch.tensor(isos, dtype=torch.float64).log2().tolist()
    within = [logs[0]]
    for low, high in pairwise(logs):
        parts = max(1, round((high - low) / STOPS + 0.4))
        within += [low + (high - low) * part / parts for part in range(1, parts + 1)]
    below, above = (
        [end + sign * step for step in range(1, BEYOND + 1)] for end, sign in ((logs[0], -1), (logs[-1], 1))
    )
    return tuple(2.0**each for each in (*below[::-1], *within, *above))


def noise_profile(model: NoiseModel, iso: float, camera: str) -> tuple[tuple[float, float], ...]:
    """Pairs (S, O) of the DNG tag NoiseProfile, variance = S·signal + O: one for all planes, or one each for R, G, B.

    If the model's variance is linear, these are its β₁ and β₂.  Otherwise they are a weighted least-squares fit to
    the variance measured on flats below 0.6 of the range, where nothing clips.

    Parameters
    ----------
    model : NoiseModel
        Noise model.
    iso : float
        ISO of the noise.
    camera : str
        Camera of the noise.

    References
    ----------
    Adobe: Digital Negative (DNG) Specification 1.4, NoiseProfile.
    """
    model = of_one_frame(model)
    like = next(chain(model.parameters(), model.buffers()), torch.empty(0))
    cond = checked_conditions(model, Conditions(torch.zeros(1, model.planes, 1, 1, device=like.device), iso, camera))
    if (line := linear_variance(model)) is not None:
        betas = line.linear_variance(cond)
        slope, offset = (value.detach().cpu().double().expand(1, model.planes, 1, 1)[0, :, 0, 0] for value in betas)
    else:
        signal = torch.linspace(0, 1, LEVELS, dtype=torch.float64).square()
        signal = signal[signal < 0.6]
        flats = signal.to(cond.clean).expand(1, model.planes, 1, -1)
        variance = NoiseLevelMap(model).variance(Resolved(flats, cond.iso, cond.camera))[0, :, 0].double().cpu()
        design = torch.stack([signal, torch.ones_like(signal)], 1)
        weighted = design[None] / variance[:, :, None]
        solution = torch.linalg.lstsq(weighted, torch.ones_like(variance)[:, :, None]).solution[:, :, 0]
        slope, offset = solution.clamp(min=0).unbind(1)
    pairs = torch.stack([slope, offset], 1)
    if model.planes > 1 and not model.spec.layout.startswith("mono"):
        colours = [name[0] for name in plane_names(model.spec.layout)]
        pairs = torch.stack([pairs[[own == colour for own in colours]].mean(0) for colour in "RGB"])
    elif model.planes > 1:
        pairs = pairs.mean(0, keepdim=True)
    if len(pairs) > 1 and bool((pairs == pairs[0]).all()):
        pairs = pairs[:1]
    return tuple((float(s), float(o)) for s, o in pairs)
