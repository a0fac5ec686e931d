"""`ShotReadScale`, and `LineNoise` counted in read-noise variances, as kernels in C++; see ``csrc/lines.cpp``."""

from typing import Any

import torch
from torch import Tensor

from noiseflow.ops.native import Kernels, contiguous
from noiseflow.ops.typing import NoiseLevel

__all__ = ["line_sums", "scaled", "unscaled", "whitened", "with_offsets"]


def scaled(kernels: Kernels, x: Tensor, light: NoiseLevel) -> tuple[Tensor, Tensor]:
    """X / s, and log-det of each element."""
    z, logs = _Scale.apply(kernels, x, light.clean, light.beta1, light.beta2)  # type: ignore[no-untyped-call]
    return z, -0.5 * logs.sum(1)


def unscaled(kernels: Kernels, z: Tensor, light: NoiseLevel) -> Tensor:
    """Z · s; without gradients."""
    z, *given = contiguous(z, light.clean, light.beta1, light.beta2)
    x = torch.empty_like(z)
    kernels("scale_inverse", z, *given, x, *_rows(z))
    return x


def line_sums(kernels: Kernels, x: Tensor, light: NoiseLevel, side: int) -> Tensor:
    """Σ d·x and Σ d² of each sensor row, (2, B, C/side, H); without gradients."""
    x, *given = contiguous(x, light.clean, light.beta1, light.beta2)
    sums = x.new_empty(2, x.shape[0], x.shape[1] // side, x.shape[2])
    kernels("line_sums", x, *given, sums, *_sizes(x, side))
    return sums


def with_offsets(kernels: Kernels, z: Tensor, light: NoiseLevel, offsets: Tensor, side: int) -> Tensor:
    """Z + d · offsets, of shape (B, C/side, H); without gradients."""
    z, clean, beta1, beta2, offsets = contiguous(z, light.clean, light.beta1, light.beta2, offsets)
    x = torch.empty_like(z)
    kernels("line_add", z, clean, beta1, beta2, offsets, x, *_sizes(z, side))
    return x


def whitened(kernels: Kernels, x: Tensor, light: NoiseLevel, variance: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Z of `LineNoise` with an r for each element, (B,), and log-det of each."""
    given = light.clean, light.beta1, light.beta2, variance
    z, log_det = _Lines.apply(kernels, side, x, *given)  # type: ignore[no-untyped-call]
    return z, log_det


def _rows(x: Tensor) -> tuple[int, int, int]:
    return x.shape[0] * x.shape[1], x.shape[2] * x.shape[3], torch.get_num_threads()


def _sizes(x: Tensor, side: int) -> tuple[int, ...]:
    return *x.shape, side, torch.get_num_threads()


class _Scale(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kernels: Kernels, *given: Tensor) -> tuple[Tensor, Tensor]:
        x, *light = contiguous(*given)
        z, logs = torch.empty_like(x), x.new_empty(x.shape[:2], dtype=torch.float64)
        kernels("scale_forward", x, *light, z, logs, *_rows(x))
        ctx.save_for_backward(z, *light)
        ctx.kernels = kernels
        return z, logs.to(x.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_z: Tensor, of_logs: Tensor) -> tuple[Tensor | None, ...]:
        z, clean, beta1, beta2 = ctx.saved_tensors
        of_z, of_logs = contiguous(of_z, of_logs)
        of_x = torch.empty_like(z) if ctx.needs_input_grad[1] else None
        of_betas = torch.empty_like(beta1), torch.empty_like(beta2)
        ctx.kernels("scale_backward", of_z, of_logs, z, clean, beta1, beta2, of_x, *of_betas, *_rows(z))
        return None, of_x, None, *of_betas


class _Lines(torch.autograd.Function):
    """With p = Σ d·x, m = Σ d², q = r·m, D = √(1+q)·(1 + √(1+q)): z = x − d·p·c, c = r/D, of each row."""

    @staticmethod
    def forward(ctx: Any, kernels: Kernels, side: int, *given: Tensor) -> tuple[Tensor, Tensor]:
        x, clean, beta1, beta2, variance = contiguous(*given)
        sums = x.new_empty(2, x.shape[0], x.shape[1] // side, x.shape[2])
        kernels("line_sums", x, clean, beta1, beta2, sums, *_sizes(x, side))
        projection, square = sums.unbind()
        r = variance[:, None, None]
        q = r * square
        root = (1 + q).sqrt()
        coefficient = r / (root * (1 + root))
        z = torch.empty_like(x)
        kernels("line_add", x, clean, beta1, beta2, -projection * coefficient, z, *_sizes(x, side))
        ctx.save_for_backward(x, clean, beta1, beta2, variance, sums)
        ctx.kernels, ctx.side = kernels, side
        return z, -0.5 * q.log1p().sum((1, 2))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_z: Tensor, of_log_det: Tensor) -> tuple[Tensor | None, ...]:
        x, clean, beta1, beta2, variance, sums = ctx.saved_tensors
        of_z, of_log_det = contiguous(of_z, of_log_det)
        projection, square = sums.unbind()
        r, of_logs = variance[:, None, None], -0.5 * of_log_det[:, None, None]
        q = r * square
        root = (1 + q).sqrt()
        divisor = root * (1 + root)
        coefficient, slope = r / divisor, 1 + 0.5 / root
        of_x, of_beta1, of_beta2 = torch.empty_like(x), torch.empty_like(beta1), torch.empty_like(beta2)
        of_factor = torch.empty_like(projection)
        rows = -projection * coefficient, -coefficient, projection * coefficient.square() * slope, of_logs * r / (1 + q)
        found = of_x, of_beta1, of_beta2, of_factor
        ctx.kernels("line_backward", of_z, x, clean, beta1, beta2, *rows, *found, *_sizes(x, ctx.side))
        by_variance = -projection * (1 - q * slope / divisor) / divisor
        of_variance = (of_factor * by_variance + of_logs * square / (1 + q)).sum((1, 2))
        return None, None, of_x, None, of_beta1, of_beta2, of_variance
