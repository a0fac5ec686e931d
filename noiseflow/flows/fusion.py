"""Runs of layers that kernels take in one pass over the pixels: Noise Flow's couplings, with mixings and gains."""

from collections.abc import Sequence

import torch
from torch import Tensor

from noiseflow.flows.camera.gain import Gain
from noiseflow.flows.camera.signal_dependent_scale import SignalDependentScale
from noiseflow.flows.conditions import Conditions
from noiseflow.flows.coupling.affine import AffineCoupling
from noiseflow.flows.linear.conv1x1 import InvertibleConv1x1, mixing_matrices
from noiseflow.flows.signal_model import NoiseParameters
from noiseflow.flows.transform import Transform
from noiseflow.ops.channel_mixing import mix_planes, mixing_kernels
from noiseflow.ops.coupling_chain import evaluate, evaluation_kernels
from noiseflow.ops.native import Kernels

__all__ = ["run", "run_back"]

Layer = AffineCoupling | InvertibleConv1x1 | Gain


def run(
    transforms: Sequence[Transform], x: Tensor, cond: Conditions, noise: NoiseParameters | None
) -> tuple[Tensor, Tensor, int]:
    """Data through the first of some transforms: z, log-det (B,), and how many they were; 0 where no kernels do."""
    layers, couplings, kernels = _run(transforms, x)
    if kernels is not None:
        z, log_det = _evaluate(kernels, layers, couplings, x, inverse=False)
    elif couplings and mixing_kernels(x) is not None:
        z, log_det = _trained(layers, couplings, x, cond, noise)
    else:
        return x, x.new_zeros(x.shape[0]), 0
    linear = [layer.log_det(x) for layer in layers if not isinstance(layer, AffineCoupling)]
    return z, log_det + torch.stack(linear).sum() if linear else log_det, len(layers)


def run_back(
    transforms: Sequence[Transform], z: Tensor, cond: Conditions, noise: NoiseParameters | None, *, own: bool = False
) -> tuple[Tensor, int]:
    """Latent through the inverses of the first of some transforms: x, and how many they were; 0 where no kernels do.

    If z is the caller's `own`, x may take its place.
    """
    layers, couplings, kernels = _run(transforms, z)
    if kernels is None:
        return z, 0
    after = transforms[len(layers)] if len(layers) < len(transforms) else None
    light = after.noise_parameters(cond, noise) if isinstance(after, SignalDependentScale) else None
    if light is not None and light.kernels("lines", z) is None:
        light = None
    x = _evaluate(kernels, layers, couplings, z, inverse=True, light=light, own=own)[0]
    return x, len(layers) + (light is not None)


def _run(transforms: Sequence[Transform], x: Tensor) -> tuple[list[Layer], list[AffineCoupling], Kernels | None]:
    layers: list[Layer] = []
    for transform in transforms:
        if not isinstance(transform, Layer):
            break
        layers.append(transform)
    couplings = [layer for layer in layers if isinstance(layer, AffineCoupling)]
    return layers, couplings, evaluation_kernels([coupling.net for coupling in couplings], x)


def _evaluate(
    kernels: Kernels,
    layers: Sequence[Layer],
    couplings: Sequence[AffineCoupling],
    x: Tensor,
    *,
    inverse: bool,
    light: NoiseParameters | None = None,
    own: bool = False,
) -> tuple[Tensor, Tensor]:
    nets, bounds = [each.net for each in couplings], [each.bound for each in couplings]
    mixes = _mixes(layers, x, inverse=inverse)
    return evaluate(kernels, nets, bounds, x, inverse=inverse, mixes=mixes, light=light, own=own)


def _trained(
    layers: Sequence[Layer],
    couplings: Sequence[AffineCoupling],
    x: Tensor,
    cond: Conditions,
    noise: NoiseParameters | None,
) -> tuple[Tensor, Tensor]:
    log_dets = []
    for coupling, mix in zip([*couplings, None], _mixes(layers, x, inverse=False), strict=True):
        if mix is not None:
            x = mix_planes(x, mix.to(x.dtype))
        if coupling is not None:
            x, log_det = coupling(x, cond, noise)
            log_dets.append(log_det)
    return x, torch.stack(log_dets).sum(0)


def _mixes(layers: Sequence[Layer], x: Tensor, *, inverse: bool) -> list[Tensor | None]:
    """What multiplies a pixel's planes before the first coupling and after each, (C, C) in float64, or None."""
    mixings = [layer for layer in layers if isinstance(layer, InvertibleConv1x1)]
    matrices = iter(mixing_matrices(mixings, inverse=inverse) if mixings else ())
    mixes: list[Tensor | None] = [None]
    for layer in layers:
        if isinstance(layer, AffineCoupling):
            mixes.append(None)
            continue
        matrix = layer.matrix(x.shape[1], inverse=inverse) if isinstance(layer, Gain) else next(matrices)
        mixes[-1] = matrix if mixes[-1] is None else matrix @ mixes[-1]
    return mixes
