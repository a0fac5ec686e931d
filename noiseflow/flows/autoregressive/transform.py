"""Masked autoregressive convolution in raster order over pixels and planes (MAF)."""

from torch import Tensor, autograd, enable_grad, finfo, is_grad_enabled, no_grad

from noiseflow.flows.autoregressive.wavefront import solve
from noiseflow.flows.conditions import Conditions
from noiseflow.flows.nets.masked_net import MaskedNet
from noiseflow.flows.signal_model import NoiseParameters
from noiseflow.flows.transform import WHOLE_FRAME, Transform, full_precision, sum_per_sample
from noiseflow.ops.masked_affine import soft_clamp

__all__ = ["MaskedAutoregressive"]


class MaskedAutoregressive(Transform):
    """Scale and shift each value by a function of the values before it and the conditions.

    z = x·exp(s) + t,  (t, r) = net(earlier x, cond),  s = bound·tanh(r/bound);
    log|det dz/dx| = Σ s.  Data → latent is one pass.  Latent → data goes front by front (see
    `fronts.solve`), since a value needs those before it: H + W steps or so for a frame of
    H×W, not H·W passes.  It is differentiable, by the implicit function theorem.
    Around it, `Inverse` samples in one pass (IAF).

    Parameters
    ----------
    net : MaskedNet
    bound : float
        Largest |log scale|.

    References
    ----------
    Papamakarios, Pavlakou, Murray: Masked autoregressive flow for density estimation,
    NeurIPS 2017, eq. 3-5.
    """

    reach = WHOLE_FRAME
    sequential_inverse = True

    def __init__(self, net: MaskedNet, bound: float = 1.0) -> None:
        super().__init__()
        self.net = net
        self.bound = bound

    @property
    def forward_reach(self) -> int:
        """Receptive radius of `forward`, in pixels of a plane."""
        return max(self.net.above, self.net.beside)

    def forward(self, x: Tensor, cond: Conditions, noise: NoiseParameters | None = None) -> tuple[Tensor, Tensor]:
        """Data to latent."""
        shift, raw = self.net(x, cond)
        log_scale = soft_clamp(raw, self.bound)
        return x * log_scale.exp() + shift, sum_per_sample(log_scale)

    def inverse(self, z: Tensor, cond: Conditions, noise: NoiseParameters | None = None) -> Tensor:
        """Latent to data, one front after the other."""
        with full_precision(z):
            with no_grad():
                x = solve(self.net, self.bound, z, cond)
            return self._with_gradient(x, z, cond) if is_grad_enabled() else x

    def _step(self, x: Tensor, z: Tensor, cond: Conditions) -> Tensor:
        """The map of which x = f⁻¹(z) is the fixed point."""
        shift, raw = self.net(x, cond)
        x = (z - shift) * (-soft_clamp(raw, self.bound)).exp()
        return x

    def _with_gradient(self, x: Tensor, z: Tensor, cond: Conditions) -> Tensor:
        """X as a function of z and the weights: dx = (I − N)⁻¹ (∂step/∂z dz + ∂step/∂w dw), N = ∂step/∂x.

        N is strictly triangular in raster order, so that Σ Nᵏ ends; it is summed until it does
        no longer change.
        """
        with enable_grad():
            fixed = x.detach().requires_grad_()
            again = self._step(fixed, z.detach(), cond)
        out = self._step(x, z, cond)
        if not out.requires_grad:
            return x

        def solve_adjoint(grad: Tensor) -> Tensor:
            total = term = grad
            for _ in range(x[0].numel()):
                (term,) = autograd.grad(again, fixed, term, retain_graph=True)
                total = total + term
                if term.abs().max() <= finfo(term.dtype).eps * total.abs().max():
                    break
            return total

        out.register_hook(solve_adjoint)  # type: ignore[no-untyped-call]
        return out
