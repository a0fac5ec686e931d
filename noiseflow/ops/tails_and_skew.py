"""`SinhArcsinh` and `CubicTails` in the light of a camera as kernels in C++; see ``csrc/shape.cpp``."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from noiseflow.ops.native import Kernels, contiguous
from noiseflow.ops.typing import NoiseLevel

__all__ = ["latent_of", "value_of"]

PART = 4096
"""Pixels whose log-dets the kernels add up."""

Tensors = Sequence[Tensor]


def latent_of(
    kernels: Kernels, kind: str, x: Tensor, light: NoiseLevel, own: Tensors, tables: Tensors
) -> tuple[Tensor, Tensor]:
    """Z, and log-det of each element.

    Parameters
    ----------
    kernels : Kernels
    kind : str
        ``"skew"`` or ``"tails"``.
    x : Tensor, shape (B, C, H, W)
    light : NoiseLevel
    own : sequence of Tensor, shape (B,)
        Of ``skew`` the factor on the skewness; of both the kurtosis of the read noise.
    tables : sequence of Tensor
        Coefficients.
    """
    z, log_det = _Shape.apply(  # type: ignore[no-untyped-call]
        kernels, kind, contiguous(*tables), x, light.clean, light.beta1, light.beta2, *own
    )
    return z, log_det


def value_of(kernels: Kernels, kind: str, z: Tensor, light: NoiseLevel, own: Tensors, tables: Tensors) -> Tensor:
    """The x of a z; without gradients."""
    z, *given = contiguous(z, light.clean, light.beta1, light.beta2, *own, *tables)
    x = torch.empty_like(z)
    kernels(f"{kind}_inverse", z, *given, x, *_sizes(z))
    return x


def _sizes(x: Tensor) -> tuple[int, int, int, int]:
    return x.shape[0], x.shape[1], x.shape[2] * x.shape[3], torch.get_num_threads()


class _Shape(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, kernels: Kernels, kind: str, tables: Tensors, x: Tensor, *given: Tensor
    ) -> tuple[Tensor, ...]:
        x, *held = contiguous(x, *given)
        z, sizes = torch.empty_like(x), _sizes(x)
        log_dets = x.new_empty(len(x), -(-sizes[2] // PART), dtype=torch.float64)
        kernels(f"{kind}_forward", x, *held, *tables, z, log_dets, *sizes)
        ctx.save_for_backward(x, z, *held)
        ctx.kernels, ctx.kind, ctx.tables = kernels, kind, tables
        return z, log_dets.sum(1).to(x.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_z: Tensor, of_log_det: Tensor) -> tuple[Tensor | None, ...]:
        x, z, clean, *given = ctx.saved_tensors
        of_z, of_log_det = contiguous(of_z, of_log_det)
        of_x, *of_given = (torch.empty_like(each) for each in (x, *given))
        saved = of_z, of_log_det, x, z, clean, *given
        ctx.kernels(f"{ctx.kind}_backward", *saved, *ctx.tables, of_x, *of_given, *_sizes(x))
        return None, None, None, of_x, None, *of_given
