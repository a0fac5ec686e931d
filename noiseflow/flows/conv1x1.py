"""Invertible 1×1 convolution (Glow), in LU form."""

import torch
from torch import Tensor, nn

from noiseflow.flows.conditions import Conditions
from noiseflow.flows.mixing import mix_planes
from noiseflow.flows.transform import Transform, full_precision

__all__ = ["InvertibleConv1x1"]


class InvertibleConv1x1(Transform):
    """Mix the planes of each pixel by one invertible matrix.

    z = Wᵀ x per pixel (the row vector x times W),  W = P L (U + diag(s)),  with P a fixed
    permutation, L unit lower and U strictly upper triangular, s = ±exp(log_s);
    log|det dz/dx| = H·W · Σ log_s.  The inverse solves two triangular systems.

    Parameters
    ----------
    planes : int
    generator : torch.Generator, optional
        Draws the random rotation that W starts as; without one W starts as the identity.

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
        permutation, lower, upper = torch.linalg.lu(weight)
        scale = upper.diagonal()
        dtype = torch.get_default_dtype()
        self.register_buffer("permutation", permutation.to(dtype))
        self.register_buffer("sign", scale.sign().to(dtype))
        self.log_scale = nn.Parameter(scale.abs().log().to(dtype))
        self.lower = nn.Parameter(strict_lower(lower).to(dtype))
        self.upper = nn.Parameter(strict_lower(upper.T).to(dtype))

    def factors(self) -> tuple[Tensor, Tensor]:
        """L and U + diag(s), each (C, C)."""
        lower = from_strict_lower(self.lower, self.log_scale.shape[0])
        upper = from_strict_lower(self.upper, self.log_scale.shape[0]).T
        unit = torch.eye(lower.shape[0], dtype=lower.dtype, device=lower.device)
        return lower + unit, upper + torch.diag(self.sign * self.log_scale.exp())

    def forward(self, x: Tensor, cond: Conditions) -> tuple[Tensor, Tensor]:
        """Data to latent."""
        with full_precision(x):
            lower, upper = self.factors()
            # In float64, so that W is the product of the very factors that the inverse solves.
            weight = self.permutation.double() @ lower.double() @ upper.double()
            z = mix_planes(x, weight.T.to(lower.dtype))
        return z, (self.log_scale.sum() * (x.shape[2] * x.shape[3])).expand(x.shape[0])

    def inverse(self, z: Tensor, cond: Conditions) -> Tensor:
        """Latent to data: Uᵀ a = z, Lᵀ b = a, x = P b."""
        with full_precision(z):
            lower, upper = (each.double() for each in self.factors())
            unit = torch.eye(lower.shape[0], dtype=lower.dtype, device=lower.device)
            # Of the unit vectors, in float64: a matrix of C × C instead of two systems for every pixel.
            half = torch.linalg.solve_triangular(upper.T, unit, upper=False)
            back = torch.linalg.solve_triangular(lower.T, half, upper=True, unitriangular=True)
            back = self.permutation.double() @ back
            return mix_planes(z, back.to(z.dtype))


def strict_lower(matrix: Tensor) -> Tensor:
    """The entries below the diagonal, row by row."""
    size = matrix.shape[0]
    return matrix[tuple(torch.tril_indices(size, size, -1))]


def from_strict_lower(entries: Tensor, size: int) -> Tensor:
    """The strictly lower triangular matrix with these entries, row by row."""
    matrix = entries.new_zeros(size, size)
    matrix[tuple(torch.tril_indices(size, size, -1, device=entries.device))] = entries
    return matrix
