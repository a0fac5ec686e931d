"""Orthogonal 1×1 convolution: a product of Householder reflections."""

import torch
from torch import Tensor, nn

from noiseflow.flows.conditions import Resolved
from noiseflow.flows.signal_model import NoiseParameters
from noiseflow.flows.transform import Transform, full_precision

__all__ = ["HouseholderConv1x1"]


class HouseholderConv1x1(Transform):
    """Rotate the planes of every pixel by an orthogonal matrix, which can never become singular.

    z = Q x,  Q = H₁ H₂ … H₂ₙ,  H = I − 2 v vᵀ / vᵀv;  log|det dz/dx| = 0 and the inverse is Qᵀ.
    The reflections start in equal pairs, so that Q starts as the identity.

    Parameters
    ----------
    planes : int
        Number of planes.
    pairs : int
        Number of pairs of reflections; by default planes // 2, which can represent every rotation.
    generator : torch.Generator, optional
        Draws the initial reflection vectors.

    References
    ----------
    Tomczak, Welling: Improving variational auto-encoders using Householder flow, 2016, eq. 11.
    """

    def __init__(self, planes: int, pairs: int | None = None, generator: torch.Generator | None = None) -> None:
        super().__init__()
        count = max(planes // 2, 1) if pairs is None else pairs
        start = torch.randn(count, planes, generator=generator)
        self.vectors = nn.Parameter((start / start.norm(dim=1, keepdim=True)).repeat_interleave(2, 0))

    def matrix(self) -> Tensor:
        """Q, shape (C, C)."""
        unit = torch.eye(self.vectors.shape[1], dtype=self.vectors.dtype, device=self.vectors.device)
        product = unit
        for vector in self.vectors:
            product = product - 2 * torch.outer(product @ vector, vector) / vector.dot(vector)
        return product

    def forward(self, x: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> tuple[Tensor, Tensor]:
        """Map data x to latent z; return z and log|det dz/dx| in nats, shape (B,)."""
        with full_precision(x):
            return nn.functional.conv2d(x, self.matrix()[:, :, None, None]), x.new_zeros(x.shape[0])

    def inverse(self, z: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> Tensor:
        """Map latent z to data x."""
        with full_precision(z):
            return nn.functional.conv2d(z, self.matrix().T[:, :, None, None])
