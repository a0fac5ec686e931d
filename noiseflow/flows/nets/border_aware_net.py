"""The published conditioner of Noise Flow's couplings, with an input that marks the border."""

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from noiseflow.ops.channel_mixing import mix_planes

__all__ = ["BorderAwareNet"]


class BorderAwareNet(nn.Module):
    """Convolutional net: conv 3×3 → norm → ReLU → conv 1×1 → norm → ReLU → border mask → conv 3×3 · exp(3·logs).

    The first convolution pads with zeros.  Before the last one the features are padded by
    one pixel and get a channel that is 1 on that padding and 0 inside.  The norm is batch
    normalisation without scale and shift (ε = 1e-4): batch statistics in training,
    running ones in evaluation.  The last convolution starts at zero, so that a coupling
    starts as the identity.

    Parameters
    ----------
    inputs, outputs : int
        Planes in and out.
    width : int
        Hidden planes.
    generator : torch.Generator, optional
        Draws the initial weights, normal with σ = 0.05.

    References
    ----------
    Abdelhamed, Brubaker, Brown: Noise Flow, ICCV 2019, section 4 and the authors' code.
    """

    reach = 2
    border_aware = True
    """Tells `noiseflow.ops` that its kernels support a net of this form."""

    def __init__(self, inputs: int, outputs: int, width: int = 4, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(width, eps=1e-4, affine=False)
        self.conv2 = nn.Conv2d(width, width, 1)
        self.norm2 = nn.BatchNorm2d(width, eps=1e-4, affine=False)
        self.conv3 = nn.Conv2d(width + 1, outputs, 3)
        self.logs = nn.Parameter(torch.zeros(outputs))
        for conv in (self.conv1, self.conv2):
            nn.init.normal_(conv.weight, std=0.05, generator=generator)
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        nn.init.zeros_(self.conv3.weight)
        nn.init.zeros_(self.conv3.bias)  # type: ignore[arg-type]

    def forward(self, a: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H, W)."""
        weight, bias = self.normalised(self.conv1, self.norm1)
        hidden = self._norm(self.norm1, conv2d(a, weight, bias, padding=1)).relu()
        weight, bias = self.normalised(self.conv2, self.norm2)
        hidden = self._norm(self.norm2, mix_planes(hidden, weight[:, :, 0, 0]) + bias[:, None, None]).relu()
        # The border channel is the same for all elements, so it is convolved once.
        border = pad(a.new_zeros(1, 1, *a.shape[2:]), (1, 1, 1, 1), value=1.0)
        at_border = conv2d(border, self.conv3.weight[:, -1:], self.conv3.bias)
        scale = (3 * self.logs).exp()
        inner = self.conv3.weight[:, :-1] * scale[:, None, None, None]
        return conv2d(hidden, inner, padding=1) + at_border * scale[:, None, None]

    def normalised(self, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
        """Weight and bias of a convolution; in evaluation with the then constant statistics of the norm folded in."""
        weight, bias = conv.weight, conv.bias
        assert bias is not None
        if self.training:
            return weight, bias
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = (norm.running_var + norm.eps).rsqrt()
        return weight * scale[:, None, None, None], (bias - norm.running_mean) * scale

    def _norm(self, norm: nn.BatchNorm2d, hidden: Tensor) -> Tensor:
        return norm(hidden) if self.training else hidden
