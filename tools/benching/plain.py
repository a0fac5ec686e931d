"""The model that ours are measured against: equal to `noise_flow`, in the layers that PyTorch comes with."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from noiseflow.flows import Conditions
from noiseflow.flows.camera.gain import Gain
from noiseflow.flows.camera.signal_dependent_scale import SignalDependentScale
from noiseflow.flows.coupling.affine import AffineCoupling
from noiseflow.flows.linear.conv1x1 import InvertibleConv1x1
from noiseflow.flows.nets.border_aware_net import BorderAwareNet
from noiseflow.models.flow.noise_flow import NoiseFlow
from noiseflow.models.model import checked_conditions

__all__ = ["PlainNoiseFlow", "plain_net"]


def plain_net() -> list[nn.Module]:
    """The layers of a coupling's net: what PyTorch has for those of `BorderAwareNet`."""
    norms = [nn.BatchNorm2d(4, eps=1e-4, affine=False) for _ in range(2)]
    return [nn.Conv2d(2, 4, 3, padding=1), norms[0], nn.Conv2d(4, 4, 1), norms[1], nn.Conv2d(5, 4, 3)]


class PlainNoiseFlow(nn.Module):
    """A model equal to `noise_flow` of one camera at one ISO, eager, channels first, `conv2d` for every convolution.

    Parameters
    ----------
    couplings : int
        An even number: half of them before the gain.
    """

    def __init__(self, couplings: int = 8) -> None:
        super().__init__()
        self.couplings = couplings
        rotations = [torch.linalg.qr(torch.randn(4, 4)).Q.contiguous() for _ in range(couplings)]
        self.mixes = nn.ParameterList(map(nn.Parameter, rotations))
        self.nets = nn.ModuleList(nn.ModuleList(plain_net()) for _ in range(couplings))
        self.logs = nn.Parameter(torch.zeros(couplings, 4))
        self.bounds = nn.Parameter(torch.full((couplings,), 0.1))
        self.log_gain = nn.Parameter(torch.zeros(()))
        self.log_betas = nn.Parameter(torch.tensor([-5.0, -8.0]))

    def scale_and_shift(self, index: int, a: Tensor) -> tuple[Tensor, Tensor]:
        """Log scale and shift of a coupling."""
        conv1, norm1, conv2, norm2, conv3 = self.nets[index]
        hidden = norm2(conv2(norm1(conv1(a)).relu())).relu()
        border = F.pad(a.new_zeros(a.shape[0], 1, *a.shape[2:]), (1, 1, 1, 1), value=1.0)
        out = conv3(torch.cat([F.pad(hidden, (1, 1, 1, 1)), border], 1))
        shift, raw = (out * (3 * self.logs[index]).exp()[:, None, None]).chunk(2, 1)
        return self.bounds[index] * raw.tanh(), shift

    def variance(self, clean: Tensor) -> Tensor:
        """Shot and read noise."""
        return self.log_betas[0].exp() * clean + self.log_betas[1].exp()

    def forward(self, noise: Tensor, clean: Tensor) -> Tensor:
        """Log-density."""
        variance = self.variance(clean)
        x, log_det = noise * variance.rsqrt(), -0.5 * variance.log().sum((1, 2, 3))
        for index, mix in enumerate(self.mixes):
            if index == self.couplings // 2:
                x, log_det = x * (-self.log_gain).exp(), log_det - self.log_gain * x[0].numel()
            x = F.conv2d(x, mix[:, :, None, None])
            log_det = log_det + torch.linalg.slogdet(mix)[1] * x.shape[2] * x.shape[3]
            a, b = x.chunk(2, 1)
            log_scale, shift = self.scale_and_shift(index, a)
            x, log_det = torch.cat([a, b * log_scale.exp() + shift], 1), log_det + log_scale.sum((1, 2, 3))
        return (-0.5 * x.square() - 0.9189385).sum((1, 2, 3)) + log_det

    @torch.no_grad()
    def sample(self, clean: Tensor, z: Tensor | None = None) -> Tensor:
        """A draw of noise, by the base noise `z` if it is given."""
        x = torch.randn_like(clean) if z is None else z
        for index in reversed(range(self.couplings)):
            a, b = x.chunk(2, 1)
            log_scale, shift = self.scale_and_shift(index, a)
            x = torch.cat([a, (b - shift) * (-log_scale).exp()], 1)
            x = F.conv2d(x, torch.linalg.inv(self.mixes[index])[:, :, None, None])
            if index == self.couplings // 2:
                x = x * self.log_gain.exp()
        return x * self.variance(clean).sqrt()

    @torch.no_grad()
    def take(self, model: NoiseFlow, cond: Conditions) -> "PlainNoiseFlow":
        """Take the weights of a `noise_flow` with as many couplings, for the conditions' first camera and ISO."""
        layers = list(model.flow.transforms)
        (head,) = (layer for layer in layers if isinstance(layer, SignalDependentScale))
        (gain,) = (layer for layer in layers if isinstance(layer, Gain))
        mixes = [layer for layer in layers if isinstance(layer, InvertibleConv1x1)]
        couplings = [layer for layer in layers if isinstance(layer, AffineCoupling)]
        checked = checked_conditions(model, cond)
        self.log_betas.copy_(torch.stack([beta[0] for beta in head.log_betas(checked)]))
        self.log_gain.copy_(gain.log_gain)
        for index, (mix, coupling) in enumerate(zip(mixes, couplings, strict=True)):
            lower, upper = mix.factors()
            self.mixes[index].copy_((mix.permutation @ lower @ upper).T)
            net = coupling.net
            assert isinstance(net, BorderAwareNet)
            ours = (net.conv1, net.norm1, net.conv2, net.norm2, net.conv3)
            for layer, own in zip(self.nets[index], ours, strict=True):
                layer.load_state_dict(own.state_dict())
            self.logs[index], self.bounds[index] = net.logs, coupling.bound
        return self
