"""Published couplings with running statistics, and mixings between them, in one pass; see ``csrc/chain.cpp``."""

from collections.abc import Callable, Sequence
from typing import TypeGuard

import torch
from torch import Tensor, nn

from noiseflow.ops.native import Kernels, contiguous, kernels_for
from noiseflow.ops.typing import BorderAware, NoiseLevel, is_border_aware

__all__ = ["evaluate", "evaluation_kernels", "fits", "sizes_of"]

MOST_PLANES = 8
"""Above it kernels of few planes have no advantage."""

LEAST_ROWS = 128
"""Of a band of rows that a thread takes."""


def fits(net: nn.Module, x: Tensor) -> TypeGuard[BorderAware]:
    """Whether a coupling's net is one that there are kernels for, on values like `x`."""
    if not is_border_aware(net):
        return False
    planes, outputs, width = x.shape[1], net.conv3.out_channels, net.conv1.out_channels
    return planes == net.conv1.in_channels + outputs // 2 and width <= MOST_PLANES and outputs <= MOST_PLANES


def sizes_of(net: BorderAware) -> dict[str, int]:
    """Numbers of planes for which kernels are built: conditioning, transformed, hidden."""
    return {"A": net.conv1.in_channels, "N": net.conv3.out_channels // 2, "F": net.conv1.out_channels}


def evaluation_kernels(nets: Sequence[nn.Module], x: Tensor) -> Kernels | None:
    """Kernels for couplings by such nets, where neither gradients nor the batch's own statistics are asked for."""
    if torch.is_grad_enabled() or not nets:
        return None
    first = nets[0]
    if not fits(first, x) or not all(
        fits(net, x) and not net.training and sizes_of(net) == sizes_of(first) for net in nets
    ):
        return None
    return kernels_for("chain", x, **sizes_of(first))


def evaluate(
    kernels: Kernels,
    nets: Sequence[nn.Module],
    bounds: Sequence[Tensor],
    x: Tensor,
    *,
    inverse: bool,
    mixes: Sequence[Tensor | None] = (),
    light: NoiseLevel | None = None,
    own: bool = False,
) -> tuple[Tensor, Tensor]:
    """Run couplings one after the other, or their inverses.

    Parameters
    ----------
    kernels : Kernels
        From `evaluation_kernels`.
    nets, bounds : sequences
        Of each coupling, in the order in which they act.
    x : Tensor, shape (B, C, H, W)
    inverse : bool
        Whether the couplings' inverses are asked for.
    mixes : sequence of Tensor or None, optional
        Before the first coupling and after each one: what multiplies a pixel's planes, (C, C), or None.
    light : NoiseLevel, optional
        Multiply at last by the standard deviation of its shot and read noise.
    own : bool
        Whether the result may take the place of x.

    Returns
    -------
    z : Tensor, shape (B, C, H, W)
    log_det : Tensor, shape (B,)
        Of the couplings' forward direction, without the mixings; zeros of the inverse.
    """
    (x,) = contiguous(x)
    batch, height, threads = x.shape[0], x.shape[2], torch.get_num_threads()
    # A band of rows costs those around it again: only images that are fewer than the threads are cut.
    bands = max(min(2 * threads // batch, height // LEAST_ROWS), 1)
    z = x if own and bands == 1 else torch.empty_like(x)
    log_dets = None if inverse else x.new_zeros(batch, height, dtype=torch.float64)
    matrices = None
    if any(mix is not None for mix in mixes):
        unit = torch.eye(x.shape[1])
        (matrices,) = contiguous(torch.stack([unit if mix is None else mix.T.to(unit.dtype) for mix in mixes]))
    mixed_first = matrices is not None and mixes[0] is not None
    folded = _folded([net for net in nets if is_border_aware(net)], bounds)
    given = [None] * 3 if light is None else contiguous(light.clean, light.beta1, light.beta2)
    sizes = bands, *x.shape[:1], *x.shape[2:], threads
    kernels("evaluate", x, folded, matrices, int(mixed_first), len(nets), int(inverse), *given, z, log_dets, *sizes)
    return z, x.new_zeros(batch) if log_dets is None else log_dets.sum(1).to(x.dtype)


def _folded(nets: Sequence[BorderAware], bounds: Sequence[Tensor]) -> Tensor:
    """The numbers of each coupling in the order of the kernels: norms and scales folded into the weights."""

    def stacked(of: Callable[[BorderAware], Tensor | None]) -> Tensor:
        found = [value for value in map(of, nets) if value is not None]
        return torch.stack(found)

    def normalised(
        conv: Callable[[BorderAware], nn.Conv2d], norm: Callable[[BorderAware], nn.BatchNorm2d]
    ) -> list[Tensor]:
        mean, variance = stacked(lambda net: norm(net).running_mean), stacked(lambda net: norm(net).running_var)
        scale = (variance + variance.new_tensor([norm(net).eps for net in nets])[:, None]).rsqrt()
        weight = stacked(lambda net: conv(net).weight) * scale[:, :, None, None, None]
        return [_inputs_first(weight), (stacked(lambda net: conv(net).bias) - mean) * scale]

    scale = (3 * stacked(lambda net: net.logs)).exp()
    numbers = [
        *normalised(lambda net: net.conv1, lambda net: net.norm1),
        *normalised(lambda net: net.conv2, lambda net: net.norm2),
        _inputs_first(stacked(lambda net: net.conv3.weight) * scale[:, :, None, None, None]),
        stacked(lambda net: net.conv3.bias) * scale,
        torch.stack(list(bounds))[:, None],
    ]
    (folded,) = contiguous(torch.cat([each.flatten(1) for each in numbers], 1))
    return folded


def _inputs_first(weight: Tensor) -> Tensor:
    """(layers, out, in, 3, 3) to (layers, in, 3, 3, out)."""
    return weight.permute(0, 2, 3, 4, 1)
