"""A model equal to `noise_flow` out of the layers of nflows, as one would write it there."""

import warnings

import torch
from nflows.distributions.normal import StandardNormal
from nflows.flows.base import Flow
from nflows.transforms.base import CompositeTransform, Transform
from nflows.transforms.conv import OneByOneConvolution
from nflows.transforms.coupling import AffineCouplingTransform
from nflows.transforms.standard import PointwiseAffineTransform
from torch import Tensor, nn
from torch.nn import functional as F

from tools.benching.plain import plain_net

__all__ = ["NflowsNoiseFlow"]

MASK = [0, 0, 1, 1]


class ShotRead(Transform):
    """Divide by the standard deviation of shot and read noise, given the clean signal; nflows has no such layer."""

    def __init__(self) -> None:
        super().__init__()
        self.log_betas = nn.Parameter(torch.tensor([-5.0, -8.0]))

    def variance(self, clean: Tensor) -> Tensor:
        """Shot and read noise."""
        return self.log_betas[0].exp() * clean + self.log_betas[1].exp()

    def forward(self, inputs: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Noise to latent."""
        variance = self.variance(context)
        return inputs * variance.rsqrt(), -0.5 * variance.log().sum((1, 2, 3))

    def inverse(self, inputs: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Latent to noise."""
        variance = self.variance(context)
        return inputs * variance.sqrt(), 0.5 * variance.log().sum((1, 2, 3))


class Net(nn.Module):
    """The net of a coupling, which does not see the clean signal."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(plain_net())
        self.logs = nn.Parameter(torch.zeros(4))

    def forward(self, a: Tensor, context: Tensor) -> Tensor:
        """(B, 2, H, W) to (B, 4, H, W)."""
        conv1, norm1, conv2, norm2, conv3 = self.layers
        hidden = norm2(conv2(norm1(conv1(a)).relu())).relu()
        border = F.pad(a.new_zeros(a.shape[0], 1, *a.shape[2:]), (1, 1, 1, 1), value=1.0)
        out: Tensor = conv3(torch.cat([F.pad(hidden, (1, 1, 1, 1)), border], 1))
        return out * (3 * self.logs).exp()[:, None, None]


class NflowsNoiseFlow(nn.Module):
    """`nflows.Flow` behind the calls that `tools.bench` makes of every model.

    Its couplings scale by a sigmoid where ours do by the exponential of a bounded number, and its
    mixings have a bias: the same work otherwise.  Its matrices are kept between samples
    (``using_cache``), which makes it faster.

    Parameters
    ----------
    couplings : int
        Number of coupling layers, each after a 1×1 convolution.
    side : int
        Of the patches, which the base distribution is made for.
    """

    def __init__(self, couplings: int, side: int) -> None:
        super().__init__()
        layers: list[Transform] = [ShotRead()]
        for index in range(couplings):
            if index == couplings // 2:
                layers.append(PointwiseAffineTransform(0.0, 1.0))
            layers.append(OneByOneConvolution(4, using_cache=True))
            layers.append(AffineCouplingTransform(MASK, lambda inputs, outputs: Net()))
        self.flow = Flow(CompositeTransform(layers), StandardNormal([4, side, side]))

    def forward(self, noise: Tensor, clean: Tensor) -> Tensor:
        """Log-density."""
        found: Tensor = self.flow.log_prob(noise, clean)
        return found

    @torch.no_grad()
    def sample(self, clean: Tensor) -> Tensor:
        """A draw of noise."""
        with warnings.catch_warnings():
            # Of torch.triangular_solve, which nflows calls.
            warnings.simplefilter("ignore", UserWarning)
            found: Tensor = self.flow.sample(1, clean)
        return found[:, 0]
