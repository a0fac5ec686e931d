"""Affine coupling (RealNVP)."""

from collections.abc import Sequence
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from noiseflow.flows.conditions import Resolved
from noiseflow.flows.fusion import FUSIONS, Fusion, PlaneMixing
from noiseflow.flows.signal_model import NoiseParameters
from noiseflow.flows.transform import Transform
from noiseflow.ops.channel_mixing import mix_planes
from noiseflow.ops.coupling import couple, coupling_chain, uncouple

__all__ = ["AffineCoupling"]


class AffineCoupling(Transform):
    """Scale and shift the second half of the planes by a function of the first half.

    z_a = x_a,  z_b = x_b · exp(s) + t,  with (t, r) = net(x_a) and s = bound · tanh(r);
    log|det dz/dx| = Σ s.  Exact both ways, one pass each.

    Parameters
    ----------
    net : nn.Module
        Maps the first C // 2 of C planes, (B, C // 2, H, W), to t and r, stacked as (B, 2·(C − C // 2), H, W).
    reach : int
        Receptive radius of `net` in pixels of a plane.
    bound : float
        Initial bound on |log scale|; it is learned.

    References
    ----------
    Dinh, Sohl-Dickstein, Bengio: Density estimation using Real NVP, ICLR 2017, eq. 7–8.
    """

    joins = "coupling_chain"

    def __init__(self, net: nn.Module, reach: int, bound: float = 1e-4) -> None:
        super().__init__()
        self.net = net
        self.reach = reach
        self.bound = nn.Parameter(torch.tensor(float(bound)))

    def forward(self, x: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> tuple[Tensor, Tensor]:
        """Map data x to latent z; return z and log|det dz/dx| in nats, shape (B,)."""
        return couple(x, self.net, self.bound)

    def inverse(self, z: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> Tensor:
        """Map latent z to data x."""
        return uncouple(z, self.net, self.bound)


class Scale(Protocol):
    """A layer that divides by the σ of its noise parameters, which a fused chain can do as well (`Transform.ends`)."""

    def noise_parameters(self, cond: Resolved, noise: NoiseParameters | None) -> NoiseParameters:
        """Noise parameters of each pixel."""


class CouplingChain(Fusion):
    """Fuse affine couplings and the plane mixings between them; in sampling also the final scaling by σ."""

    name = "coupling_chain"

    def forward(
        self, layers: Sequence[Transform], x: Tensor, cond: Resolved, noise: NoiseParameters | None
    ) -> tuple[Tensor, Tensor] | None:
        """In evaluation use one kernel; in training run the couplings one by one and merge runs of mixings."""
        couplings = [layer for layer in layers if isinstance(layer, AffineCoupling)]
        nets, bounds = [each.net for each in couplings], [each.bound for each in couplings]
        kernels = coupling_chain.kernels(x, nets, bounds, (), False, None, None, None, False)
        if kernels is not None:
            mixes = _mixes(layers, x, inverse=False)
            z, log_det = coupling_chain.kernel(kernels, x, nets, bounds, mixes, False, None, None, None, False)
        elif couplings and mix_planes.kernels(x, x.new_empty(x.shape[1], x.shape[1])) is not None:
            z, log_det = _one_by_one(couplings, _mixes(layers, x, inverse=False), x)
        else:
            return None
        linear = [layer.log_det(x) for layer in layers if isinstance(layer, PlaneMixing)]
        return z, log_det + torch.stack(linear).sum() if linear else log_det

    def inverse(
        self,
        layers: Sequence[Transform],
        after: Transform | None,
        z: Tensor,
        cond: Resolved,
        noise: NoiseParameters | None,
        *,
        own: bool,
    ) -> tuple[Tensor, int] | None:
        """In evaluation use one kernel; return None in training or if no kernel supports the layers."""
        couplings = [layer for layer in layers if isinstance(layer, AffineCoupling)]
        nets, bounds = [each.net for each in couplings], [each.bound for each in couplings]
        signal: tuple[Tensor, Tensor, Tensor] | tuple[None, None, None] = None, None, None
        kernels = None
        if after is not None and after.ends == self.name:
            found = cast(Scale, after).noise_parameters(cond, noise)
            signal = found.clean, found.beta1, found.beta2
            kernels = coupling_chain.kernels(z, nets, bounds, (), True, *signal, False)
        if kernels is None:
            signal = None, None, None
            kernels = coupling_chain.kernels(z, nets, bounds, (), True, *signal, False)
        if kernels is None:
            return None
        x = coupling_chain.kernel(kernels, z, nets, bounds, _mixes(layers, z, inverse=True), True, *signal, own)[0]
        return x, len(layers) + (signal[0] is not None)


def _one_by_one(
    couplings: Sequence[AffineCoupling], mixes: Sequence[Tensor | None], x: Tensor
) -> tuple[Tensor, Tensor]:
    log_dets = []
    for coupling, mix in zip([*couplings, None], mixes, strict=True):
        if mix is not None:
            x = mix_planes(x, mix.to(x.dtype))
        if coupling is not None:
            x, log_det = couple(x, coupling.net, coupling.bound)
            log_dets.append(log_det)
    return x, torch.stack(log_dets).sum(0)


def _mixes(layers: Sequence[Transform], x: Tensor, *, inverse: bool) -> list[Tensor | None]:
    """The matrices between couplings, (C, C) in float64: before the first and after each; None if there is none."""
    by_class: dict[type[PlaneMixing], list[PlaneMixing]] = {}
    for layer in layers:
        if isinstance(layer, PlaneMixing):
            by_class.setdefault(type(layer), []).append(layer)
    # Compute the matrices of all layers of a class at once: they are small, and the number of calls costs time.
    matrices = {kind: iter(kind.matrices(own, x.shape[1], inverse=inverse)) for kind, own in by_class.items()}
    mixes: list[Tensor | None] = [None]
    for layer in layers:
        if isinstance(layer, PlaneMixing):
            matrix, before = next(matrices[type(layer)]), mixes[-1]
            mixes[-1] = matrix if before is None else matrix @ before
        else:
            mixes.append(None)
    return mixes


FUSIONS[CouplingChain.name] = CouplingChain()
