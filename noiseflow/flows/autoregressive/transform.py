"""Masked autoregressive convolution in raster order over pixels and planes (MAF)."""

from dataclasses import replace
from typing import Any

from torch import Tensor, autograd, enable_grad, finfo, is_grad_enabled, no_grad
from torch.func import functional_call

from noiseflow.flows.autoregressive.wavefront import longest_chain, solve
from noiseflow.flows.conditions import Resolved
from noiseflow.flows.nets.masked_net import MaskedNet
from noiseflow.flows.signal_model import NoiseParameters
from noiseflow.flows.transform import WHOLE_FRAME, Transform, full_precision, sum_per_sample
from noiseflow.ops.masked_affine import soft_clamp
from noiseflow.ops.readable import under_func

__all__ = ["MaskedAutoregressive"]


class MaskedAutoregressive(Transform):
    """Scale and shift each value by a function of the values before it and the conditions.

    z = x·exp(s) + t,  (t, r) = net(earlier x, cond),  s = bound·tanh(r/bound);
    log|det dz/dx| = Σ s.  `forward` takes one pass of the net.  In `inverse` each value needs the ones before it;
    `wavefront.solve` computes independent pixels together, which takes W + (beside + 1)·(H − 1) steps for a frame
    of H×W pixels instead of H·W.  `inverse` is differentiable by the implicit function theorem.  Under torch.func
    it takes as many full passes of the net as there are steps, times the planes, and keeps them in memory.
    Wrapped in `Inverse`, the layer samples in one pass (IAF).

    Parameters
    ----------
    net : MaskedNet
        Predicts the shift and log scale of each value from the values before it.
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

    def forward(self, x: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> tuple[Tensor, Tensor]:
        """Map data x to latent z; return z and log|det dz/dx| in nats, shape (B,)."""
        shift, raw = self.net(x, cond)
        log_scale = soft_clamp(raw, self.bound)
        return x * log_scale.exp() + shift, sum_per_sample(log_scale)

    def inverse(self, z: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> Tensor:
        """Map latent z to data x, one wavefront after the other."""
        with full_precision(z):
            if under_func():
                return self._iterated(z, cond)
            names, weights = zip(*self.net.named_parameters(), strict=True)
            given = (z, cond.clean, *weights)
            if is_grad_enabled() and any(each.requires_grad for each in given):
                x: Tensor = _Solved.apply(self, cond, names, *given)  # type: ignore[no-untyped-call]
            else:
                with no_grad():
                    x = solve(self.net, self.bound, z, cond)
        return x

    def _iterated(self, z: Tensor, cond: Resolved) -> Tensor:
        """Solve by fixed-point passes, which torch.func can transform; each pass fixes one more value of a chain."""
        weights: dict[str, Tensor] = dict(self.net.named_parameters())
        x = z
        for _ in range(longest_chain(self.net, *z.shape[1:])):
            x = self.step(x, z, cond, weights)
        return x

    def step(self, x: Tensor, z: Tensor, cond: Resolved, weights: dict[str, Tensor]) -> Tensor:
        """One fixed-point step x ← (z − t(x))·exp(−s(x)); its fixed point is x = f⁻¹(z)."""
        shift, raw = functional_call(self.net, weights, (x, cond))
        stepped: Tensor = (z - shift) * (-soft_clamp(raw, self.bound)).exp()
        return stepped


class _Solved(autograd.Function):
    """Solve for f⁻¹(z), with its gradient by the implicit function theorem.

    dx = (I − N)⁻¹ (∂step/∂z dz + ∂step/∂w dw), N = ∂step/∂x.  N is strictly triangular in raster order, so
    (I − N)⁻¹ = Σ Nᵏ is a finite sum; terms are added until the sum no longer changes.  With `create_graph` the
    backward pass is itself differentiable, for second derivatives.
    """

    @staticmethod
    def forward(
        ctx: Any, layer: MaskedAutoregressive, cond: Resolved, names: tuple[str, ...], *given: Tensor
    ) -> Tensor:
        x = solve(layer.net, layer.bound, given[0], cond)
        ctx.save_for_backward(x, *given)
        ctx.layer, ctx.cond, ctx.names = layer, cond, names
        return x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        again = is_grad_enabled()
        with enable_grad():
            # New graph nodes, so that each partial derivative keeps all other inputs (x too) constant.
            own = [each.view_as(each) if again else each.detach().requires_grad_() for each in ctx.saved_tensors]
            x, z, clean, *weights = own
            out = ctx.layer.step(x, z, replace(ctx.cond, clean=clean), dict(zip(ctx.names, weights, strict=True)))
            total = term = grad
            for _ in range(x[0].numel()):
                (term,) = autograd.grad(out, x, term, create_graph=again, retain_graph=True, materialize_grads=True)
                total = total + term
                if term.abs().max() <= finfo(term.dtype).eps * total.abs().max():
                    break
            wanted = [value for value, needed in zip(own[1:], ctx.needs_input_grad[3:], strict=True) if needed]
            found = iter(autograd.grad(out, wanted, total, create_graph=again, materialize_grads=True))
        return None, None, None, *(next(found) if needed else None for needed in ctx.needs_input_grad[3:])
