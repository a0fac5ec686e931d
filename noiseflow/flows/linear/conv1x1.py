"""Invertible 1×1 convolution (Glow), in LU form."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from noiseflow.flows.conditions import Resolved
from noiseflow.flows.fusion import PlaneMixing
from noiseflow.flows.signal_model import NoiseParameters
from noiseflow.flows.transform import Transform, full_precision
from noiseflow.ops.channel_mixing import mix_planes

__all__ = ["InvertibleConv1x1"]


class InvertibleConv1x1(PlaneMixing):
    """Multiply the planes of every pixel by the same invertible matrix.

    z = Wᵀ x per pixel (the row vector x times W),  W = P L (U + diag(s)),  with P a fixed
    permutation, L unit lower and U strictly upper triangular, s = ±exp(log_s);
    log|det dz/dx| = H·W · Σ log_s.  The inverse solves two triangular systems.

    Parameters
    ----------
    planes : int
        Number of planes.
    generator : torch.Generator, optional
        Draws a random rotation as the initial W; if None, W starts as the identity.

    References
    ----------
    Kingma, Dhariwal: Glow, NeurIPS 2018, eq. 10–11.
    """

    permutation: Tensor
    sign: Tensor

    def __init__(self, planes: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        weight = torch.eye(planes, dtype=torch.float64)
        if generator is not None:
            weight = torch.linalg.qr(torch.randn(planes, planes, dtype=torch.float64, generator=generator)).Q
        below = planes * (planes - 1) // 2
        self.register_buffer("permutation", torch.zeros(planes, planes))
        self.register_buffer("sign", torch.zeros(planes))
        self.log_scale = nn.Parameter(torch.zeros(planes))
        self.lower = nn.Parameter(torch.zeros(below))
        self.upper = nn.Parameter(torch.zeros(below))
        self.set_matrix(weight)

    @torch.no_grad()
    def set_matrix(self, weight: Tensor) -> None:
        """Set W to an invertible matrix, (C, C), float64."""
        permutation, lower, upper = torch.linalg.lu(weight)
        scale = upper.diagonal()
        self.permutation.copy_(permutation)
        self.sign.copy_(scale.sign())
        self.log_scale.copy_(scale.abs().log())
        self.lower.copy_(strict_lower(lower))
        self.upper.copy_(strict_lower(upper.T))

    def factors(self) -> tuple[Tensor, Tensor]:
        """L and U + diag(s), each (C, C)."""
        lower, upper = _factors([self])
        return lower[0].to(self.lower.dtype), upper[0].to(self.upper.dtype)

    def forward(self, x: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> tuple[Tensor, Tensor]:
        """Map data x to latent z; return z and log|det dz/dx| in nats, shape (B,)."""
        with full_precision(x):
            z = mix_planes(x, self.matrices([self], x.shape[1], inverse=False)[0].to(self.log_scale.dtype))
        return z, self.log_det(x).expand(x.shape[0])

    def log_det(self, x: Tensor) -> Tensor:
        """log|det dz/dx| in nats, one number for all elements."""
        return self.log_scale.sum() * (x.shape[2] * x.shape[3])

    def inverse(self, z: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> Tensor:
        """Map latent z to data x: solve (U + diag(s))ᵀ a = z and Lᵀ b = a; x = P b."""
        with full_precision(z):
            x: Tensor = mix_planes(z, self.matrices([self], z.shape[1], inverse=True)[0].to(z.dtype))
        return x

    def exportable(self) -> Transform:
        """The inverse as a single matrix, because ONNX has no triangular solve."""
        inverse = self.matrices([self], self.log_scale.shape[0], inverse=True)[0]
        return _InverseMix(inverse.detach().to(self.log_scale.dtype))

    @classmethod
    def matrices(cls, layers: Sequence[Any], planes: int, *, inverse: bool) -> Tensor:
        """Wᵀ of several layers with equal numbers of planes, or its inverse, (layers, C, C), float64.

        float64 keeps forward and inverse consistent with the same factors.  The inverse solves two triangular
        systems for the unit vectors once, instead of for every pixel.
        """
        lower, upper = _factors(layers)
        permutation = torch.stack([each.permutation for each in layers]).double()
        if not inverse:
            return (permutation @ lower @ upper).mT
        unit = torch.eye(lower.shape[-1], dtype=lower.dtype, device=lower.device)
        half = torch.linalg.solve_triangular(upper.mT, unit, upper=False)
        back: Tensor = torch.linalg.solve_triangular(lower.mT, half, upper=True, unitriangular=True)
        return permutation @ back


class _InverseMix(Transform):
    """The inverse of a 1×1 convolution as one matrix, (C, C)."""

    matrix: Tensor

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.register_buffer("matrix", matrix)

    def forward(self, x: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> tuple[Tensor, Tensor]:
        """Not implemented: exported graphs contain only the sampling direction."""
        raise NotImplementedError

    def inverse(self, z: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> Tensor:
        """Map latent z to data x."""
        x: Tensor = mix_planes(z, self.matrix)
        return x


def _factors(mixings: Sequence[InvertibleConv1x1]) -> tuple[Tensor, Tensor]:
    """L and U + diag(s) of several layers, each (layers, C, C), float64."""
    size = mixings[0].log_scale.shape[0]
    lower = from_strict_lower(torch.stack([each.lower for each in mixings]).double(), size)
    upper = from_strict_lower(torch.stack([each.upper for each in mixings]).double(), size)
    scale = torch.stack([each.sign * each.log_scale.exp() for each in mixings]).double()
    unit = torch.eye(size, dtype=lower.dtype, device=lower.device)
    return lower + unit, upper.mT + torch.diag_embed(scale)


def strict_lower(matrix: Tensor) -> Tensor:
    """The entries of a matrix below its diagonal, row by row."""
    size = matrix.shape[0]
    return matrix[tuple(torch.tril_indices(size, size, -1))]


def from_strict_lower(entries: Tensor, size: int) -> Tensor:
    """Strictly lower triangular matrices from their entries, row by row in the last axis."""
    matrix = entries.new_zeros(*entries.shape[:-1], size, size)
    rows, columns = torch.tril_indices(size, size, -1, device=entries.device)
    matrix[..., rows, columns] = entries
    return matrix
