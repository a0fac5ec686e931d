"""Noise Flow's affine coupling: one coupling with gradients in training, a chain of couplings in evaluation.

z_a = x_a, z_b = x_b · exp(s) + t, with (t, r) = net(x_a) and s = bound · tanh(r).  The kernels need a net of the
published form, which has the attribute `border_aware` and the layers of `BorderAware`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeGuard

import torch
from torch import Tensor, nn

from noiseflow.ops.channel_mixing import mix_planes
from noiseflow.ops.native import Kernels, Operation, Source, contiguous
from noiseflow.ops.shot_read_noise import FLOOR, variance_of

__all__ = ["couple", "coupling_chain", "uncouple"]

MOST_PLANES = 8
"""Largest number of hidden or output planes for the kernels; with more planes they have no advantage."""

LEAST_ROWS = 128
"""Fewest rows in a band that one thread processes."""

_SIZES = "long batch=B, long height=H, long width=W, long threads"

TRAINING = Source(
    ("coupling_forward", "coupling_backward"),
    {
        "forward": "const float *x[B, A + N, H, W], const float *w1[F, A, 3, 3], const float *b1[F], "
        "const float *w2[F, F, 1, 1], const float *b2[F], const float *w3[2 * N, F + 1, 3, 3], "
        "const float *b3[2 * N], const float *logs[2 * N], float bound, float eps, float *z[B, A + N, H, W], "
        "float *log_dets[B], float *c1[B, F, H, W], float *squashed[B, N, H, W], "
        f"float *to_folded[F * (9 * A + 2 * F + 4 + 18 * N) + 20 * N], float *statistics[4, F], {_SIZES}",
        "backward": "const float *of_z[B, A + N, H, W], const float *of_log_det[B], const float *x[B, A + N, H, W], "
        "const float *c1[B, F, H, W], const float *squashed[B, N, H, W], "
        "const float *from_folded[F * (9 * A + 2 * F + 4 + 18 * N) + 20 * N], const float *logs[2 * N], float bound, "
        "float *of_x[B, A + N, H, W], float *of_w1[F, A, 3, 3], float *of_w2[F, F, 1, 1], "
        f"float *of_w3[2 * N, F + 1, 3, 3], float *of_b3[2 * N], float *of_logs[2 * N], float *of_bound[1], {_SIZES}",
    },
)

CHAIN = Source(
    ("coupling_chain",),
    {
        "evaluate": "const float *x[B, A + N, H, W], "
        "const float *parameters[L, F * (9 * A + 2 + F + 18 * N) + 20 * N + 1], "
        "const float *mixes[L + 1, A + N, A + N]?, long mixes_first, long layers=L, long inverse, "
        "const float *clean[B, A + N, H, W]?, const float *beta1[B, A + N, 1, 1]?, "
        "const float *beta2[B, A + N, 1, 1]?, float *z[B, A + N, H, W], double *log_dets[B, H]?, long bands, "
        f"{_SIZES}",
    },
    {"FLOOR": FLOOR},
)


class BorderAware(Protocol):
    """Layers of the published conditioner; see `noiseflow.flows.nets.border_aware_net.BorderAwareNet`."""

    conv1: nn.Conv2d
    norm1: nn.BatchNorm2d
    conv2: nn.Conv2d
    norm2: nn.BatchNorm2d
    conv3: nn.Conv2d
    logs: nn.Parameter
    training: bool


def _is_border_aware(net: object) -> TypeGuard[BorderAware]:
    return getattr(net, "border_aware", False)


def _planes(net: nn.Module, x: Tensor) -> Mapping[str, int] | None:
    """Macros of the kernels: conditioning (A), transformed (N) and hidden (F) planes; None if they cannot be used."""
    if not _is_border_aware(net) or net.conv1.weight.dtype != x.dtype:
        return None
    planes, outputs, width = x.shape[1], net.conv3.out_channels, net.conv1.out_channels
    if planes != net.conv1.in_channels + outputs // 2 or width > MOST_PLANES or outputs > MOST_PLANES:
        return None
    return {"A": planes - outputs // 2, "N": outputs // 2, "F": width}


def _scale_and_shift(a: Tensor, net: nn.Module, bound: Tensor) -> tuple[Tensor, Tensor]:
    """Log scale s and shift t from the conditioning planes."""
    shift, raw = net(a).chunk(2, dim=1)
    # This is tanh, written with the sigmoid, which is faster on a CPU.
    return bound * (2 * (2 * raw).sigmoid() - 1), shift


def _couple(x: Tensor, net: nn.Module, bound: Tensor) -> tuple[Tensor, Tensor]:
    """Couple x, whose first C // 2 planes condition the rest; return z and log-det, (B,)."""
    first = x.shape[1] // 2
    a, b = x[:, :first], x[:, first:]
    log_scale, shift = _scale_and_shift(a, net, bound)
    dtype = torch.promote_types(log_scale.dtype, torch.float32)
    return torch.cat([a, b * log_scale.exp() + shift], 1), log_scale.flatten(1).sum(1, dtype=dtype)


def _uncouple(z: Tensor, net: nn.Module, bound: Tensor) -> Tensor:
    """Inverse of `_couple`: the x that gives z."""
    first = z.shape[1] // 2
    a, b = z[:, :first], z[:, first:]
    log_scale, shift = _scale_and_shift(a, net, bound)
    return torch.cat([a, (b - shift) * (-log_scale).exp()], 1)


def couple(x: Tensor, net: nn.Module, bound: Tensor) -> tuple[Tensor, Tensor]:
    """Apply one coupling; return z, (B, C, H, W), and log|det dz/dx| in nats, (B,).

    Parameters
    ----------
    x : Tensor, shape (B, C, H, W)
        Values; the first C // 2 planes condition the others.
    net : nn.Module
        Maps (B, C // 2, H, W) to shift and raw log scale, stacked as (B, 2·(C − C // 2), H, W).
    bound : Tensor
        Bound on |log scale|, one number.
    """
    if net.training:
        z, log_det = couple_in_training(x, net, bound)
    else:
        z, log_det = coupling_chain(x, [net], [bound], [None, None], False, None, None, None, False)
    return z, log_det


def uncouple(z: Tensor, net: nn.Module, bound: Tensor) -> Tensor:
    """Inverse of `couple`: the x that gives z, (B, C, H, W)."""
    if net.training:
        return _uncouple(z, net, bound)
    x: Tensor = coupling_chain(z, [net], [bound], [None, None], True, None, None, None, False)[0]
    return x


def _with_own_statistics(x: Tensor, net: nn.Module, _: Tensor) -> Mapping[str, int] | None:
    planes = _planes(net, x)
    # Other norms, such as one synchronised between processes, compute their statistics differently.
    if planes is None or not all(type(getattr(net, name)) is nn.BatchNorm2d for name in ("norm1", "norm2")):
        return None
    return planes


def _couple_by_kernel(kernels: Kernels, x: Tensor, net: BorderAware, bound: Tensor) -> tuple[Tensor, Tensor]:
    weights = [part for conv in (net.conv1, net.conv2, net.conv3) for part in (conv.weight, conv.bias)]
    z, log_det, statistics = _Coupled.apply(kernels, net.norm1.eps, x, *weights, net.logs, bound)  # type: ignore[no-untyped-call]
    for norm, (mean, variance) in zip((net.norm1, net.norm2), statistics.unflatten(0, (2, 2)), strict=True):
        _follow(norm, mean, variance, x.numel() // x.shape[1])
    return z, log_det


def _follow(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: int) -> None:
    """Update the running statistics as `BatchNorm2d` does in training."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    assert norm.momentum is not None
    with torch.no_grad():
        norm.num_batches_tracked.add_(1)
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(variance * (count / max(count - 1, 1)), norm.momentum)


class _Coupled(torch.autograd.Function):
    """A coupling in training, with batch statistics in the norms; returns z, log-det, and both norms' statistics."""

    @staticmethod
    def forward(
        ctx: Any, kernels: Kernels, eps: float, x: Tensor, *parameters: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        x, *weights, bound = contiguous(x, *parameters)
        batch, width, transformed = x.shape[0], weights[0].shape[0], weights[4].shape[0] // 2
        conditioning = x.shape[1] - transformed
        z, log_dets = torch.empty_like(x), x.new_empty(batch)
        c1, squashed = x.new_empty(batch, width, *x.shape[2:]), x.new_empty(batch, transformed, *x.shape[2:])
        # Laid out like the struct `Folded` of the kernels.
        folded = x.new_empty(width * (9 * conditioning + 2 * width + 4 + 18 * transformed) + 20 * transformed)
        statistics = x.new_empty(4, width)
        given = dict(zip(("w1", "b1", "w2", "b2", "w3", "b3", "logs"), weights, strict=True))
        found = {"z": z, "log_dets": log_dets, "c1": c1, "squashed": squashed, "statistics": statistics}
        kernels("forward", x=x, **given, bound=bound.item(), eps=eps, **found, to_folded=folded)
        ctx.save_for_backward(x, c1, squashed, folded, *weights, bound)
        ctx.kernels = kernels
        ctx.mark_non_differentiable(statistics)
        return z, log_dets, statistics

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_z: Tensor, of_log_det: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        x, c1, squashed, folded, *weights, bound = ctx.saved_tensors
        of_z, of_log_det = contiguous(of_z, of_log_det)
        of_x, of_bound = torch.empty_like(x), torch.empty_like(bound)
        # The norms remove the biases before them, so the gradients of these are 0.
        of_w1, of_b1, of_w2, of_b2, of_w3, of_b3, of_logs = (torch.zeros_like(each) for each in weights)
        given = {"of_z": of_z, "of_log_det": of_log_det, "x": x, "c1": c1, "squashed": squashed, "from_folded": folded}
        found = {"of_x": of_x, "of_w1": of_w1, "of_w2": of_w2, "of_w3": of_w3, "of_b3": of_b3, "of_logs": of_logs}
        bounds = {"bound": bound.item(), "of_bound": of_bound.reshape(1)}
        ctx.kernels("backward", **given, logs=weights[-1], **found, **bounds)
        return None, None, of_x, of_w1, of_b1, of_w2, of_b2, of_w3, of_b3, of_logs, of_bound


def _coupling_chain(
    x: Tensor,
    nets: Sequence[nn.Module],
    bounds: Sequence[Tensor],
    mixes: Sequence[Tensor | None],
    inverse: bool,
    clean: Tensor | None,
    beta1: Tensor | None,
    beta2: Tensor | None,
    own: bool,
) -> tuple[Tensor, Tensor]:
    """Apply couplings, or their inverses, one after the other, with mixings of planes between them.

    Parameters
    ----------
    x : Tensor, shape (B, C, H, W)
        Input values.
    nets, bounds : sequences
        Net and bound of each coupling, in the order of application.
    mixes : sequence of Tensor or None
        Matrix that multiplies a pixel's planes before the first coupling and after each one, (C, C) in float64; None
        for no mixing.
    inverse : bool
        Whether to apply the inverses of the couplings.
    clean, beta1, beta2 : Tensor, or None
        Clean signal, (B, C, H, W), and β₁ and β₂, (B, C, 1, 1).  If given, the result is finally multiplied by the
        standard deviation of shot and read noise.
    own : bool
        Whether the memory of x may be overwritten.

    Returns
    -------
    z : Tensor, shape (B, C, H, W)
        Output values.
    log_det : Tensor, shape (B,)
        Log-det of the couplings in nats, without the mixings; zeros if `inverse`.
    """
    log_dets = []
    for net, bound, mix in zip([*nets, None], [*bounds, None], mixes, strict=True):
        if mix is not None:
            x = mix_planes(x, mix.to(x.dtype))
        if net is None or bound is None:
            break
        if inverse:
            x = _uncouple(x, net, bound)
        else:
            x, log_det = _couple(x, net, bound)
            log_dets.append(log_det)
    if clean is not None and beta1 is not None and beta2 is not None:
        x = x * variance_of(clean, beta1, beta2).sqrt()
    return x, torch.stack(log_dets).sum(0) if log_dets else x.new_zeros(x.shape[0])


def _of_one_form(x: Tensor, nets: Sequence[nn.Module], *more: Any) -> Mapping[str, int] | None:
    clean = more[-4]
    if not nets or (clean is not None and clean.shape != x.shape):
        return None
    planes = [None if net.training else _planes(net, x) for net in nets]
    return planes[0] if all(each == planes[0] for each in planes) else None


def _chain_by_kernel(
    kernels: Kernels,
    x: Tensor,
    nets: Sequence[BorderAware],
    bounds: Sequence[Tensor],
    mixes: Sequence[Tensor | None],
    inverse: bool,
    clean: Tensor | None,
    beta1: Tensor | None,
    beta2: Tensor | None,
    own: bool,
) -> tuple[Tensor, Tensor]:
    (x,) = contiguous(x)
    batch, height, threads = x.shape[0], x.shape[2], torch.get_num_threads()
    # Bands repeat the work on rows at their borders, so images are cut only if there are fewer of them than threads.
    bands = max(min(2 * threads // batch, height // LEAST_ROWS), 1)
    z = x if own and bands == 1 else torch.empty_like(x)
    log_dets = None if inverse else x.new_zeros(batch, height, dtype=torch.float64)
    matrices = None
    if any(mix is not None for mix in mixes):
        unit = torch.eye(x.shape[1])
        (matrices,) = contiguous(torch.stack([unit if mix is None else mix.T.to(unit.dtype) for mix in mixes]))
    if clean is not None and beta1 is not None and beta2 is not None:
        clean, beta1, beta2 = contiguous(clean, beta1, beta2)
    kernels(
        "evaluate",
        x=x,
        parameters=_folded(nets, bounds),
        mixes=matrices,
        mixes_first=int(matrices is not None and mixes[0] is not None),
        inverse=int(inverse),
        clean=clean,
        beta1=beta1,
        beta2=beta2,
        z=z,
        log_dets=log_dets,
        bands=bands,
    )
    return z, x.new_zeros(batch) if log_dets is None else log_dets.sum(1).to(x.dtype)


def _folded(nets: Sequence[BorderAware], bounds: Sequence[Tensor]) -> Tensor:
    """The weights of each coupling in the kernels' order, with norms and scales folded in, (layers, numbers)."""

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
    """Permute (layers, out, in, 3, 3) to (layers, in, 3, 3, out)."""
    return weight.permute(0, 2, 3, 4, 1)


couple_in_training = Operation(_couple, _couple_by_kernel, TRAINING, _with_own_statistics)
coupling_chain = Operation(_coupling_chain, _chain_by_kernel, CHAIN, _of_one_form, differentiable=False)
