"""Runs of layers that kernels take in one pass over the pixels: Noise Flow's couplings, with mixings and gains."""

from collections.abc import Sequence

from torch import Tensor

from noiseflow.flows.border_evaluation import evaluate, evaluation_kernels
from noiseflow.flows.conv1x1 import InvertibleConv1x1, mixing_matrices
from noiseflow.flows.coupling import AffineCoupling
from noiseflow.flows.gain import Gain
from noiseflow.flows.native import Kernels
from noiseflow.flows.transform import Transform

__all__ = ["run", "run_back"]

Layer = AffineCoupling | InvertibleConv1x1 | Gain


def run(transforms: Sequence[Transform], x: Tensor) -> tuple[Tensor, Tensor, int]:
    """Data through the first of some transforms: z, log-det (B,), and how many they were; 0 where no kernels do."""
    layers, couplings, kernels = _run(transforms, x)
    if kernels is None:
        return x, x.new_zeros(x.shape[0]), 0
    z, log_det = _evaluate(kernels, layers, couplings, x, inverse=False)
    for layer in layers:
        if not isinstance(layer, AffineCoupling):
            log_det = log_det + layer.log_det(x)
    return z, log_det, len(layers)


def run_back(transforms: Sequence[Transform], z: Tensor) -> tuple[Tensor, int]:
    """Latent through the inverses of the first of some transforms: x, and how many they were; 0 where no kernels do."""
    layers, couplings, kernels = _run(transforms, z)
    if kernels is None:
        return z, 0
    return _evaluate(kernels, layers, couplings, z, inverse=True)[0], len(layers)


def _run(transforms: Sequence[Transform], x: Tensor) -> tuple[list[Layer], list[AffineCoupling], Kernels | None]:
    layers: list[Layer] = []
    for transform in transforms:
        if not isinstance(transform, Layer):
            break
        layers.append(transform)
    couplings = [layer for layer in layers if isinstance(layer, AffineCoupling)]
    return layers, couplings, evaluation_kernels([coupling.net for coupling in couplings], x)


def _evaluate(
    kernels: Kernels, layers: Sequence[Layer], couplings: Sequence[AffineCoupling], x: Tensor, *, inverse: bool
) -> tuple[Tensor, Tensor]:
    mixings = [layer for layer in layers if isinstance(layer, InvertibleConv1x1)]
    matrices = iter(mixing_matrices(mixings, inverse=inverse) if mixings else ())
    mixes: list[Tensor | None] = [None]
    for layer in layers:
        if isinstance(layer, AffineCoupling):
            mixes.append(None)
            continue
        matrix = layer.matrix(x.shape[1], inverse=inverse) if isinstance(layer, Gain) else next(matrices)
        mixes[-1] = matrix if mixes[-1] is None else matrix @ mixes[-1]
    nets, bounds = [each.net for each in couplings], [each.bound for each in couplings]
    return evaluate(kernels, nets, bounds, x, inverse=inverse, mixes=mixes)
