"""Two denoisers of packed raw planes: DnCNN and a small NAFNet.

To add one, write its module here and give it a line in `NETWORKS`.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

__all__ = ["NETWORKS", "DnCNN", "NAFNet", "build_network", "convolutions"]


def convolutions(widths: Sequence[int]) -> nn.Sequential:
    """Convolutions of 3×3 with ReLU between them, whose result starts small.

    Parameters
    ----------
    widths : sequence of int
        Planes of the input, between the convolutions, and of the output.
    """
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        conv = nn.Conv2d(before, after, 3, padding=1)
        nn.init.kaiming_normal_(conv.weight)
        nn.init.zeros_(conv.bias)
        layers += [conv, nn.ReLU()]
    with torch.no_grad():
        conv.weight.mul_(0.1)
    return nn.Sequential(*layers[:-1])


class DnCNN(nn.Module):
    """Convolutions that predict the noise, which is taken off: x − R(x).

    Without the batch norm of the paper: at some hundred steps of small batches, whose pictures
    differ in brightness by more than they have detail, it costs several dB.

    Parameters
    ----------
    planes : int
        Planes of the input and of the output.
    width : int
        Hidden planes.
    depth : int
        Convolutions of 3×3, the first and the last included.

    References
    ----------
    Zhang, Zuo, Chen, Meng, Zhang: Beyond a Gaussian denoiser, IEEE TIP 2017, section III.
    """

    def __init__(self, planes: int = 4, width: int = 24, depth: int = 6) -> None:
        super().__init__()
        self.noise = convolutions([planes, *[width] * (depth - 1), planes])

    def forward(self, noisy: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        residual: Tensor = noisy - self.noise(noisy)
        return residual


class PlaneNorm(nn.LayerNorm):
    """Layer norm over the planes of each pixel."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class NAFBlock(nn.Module):
    """Two residual halves without an activation: a gate is the product of half of the planes with the other half.

    The first mixes neighbours (3×3, depthwise) and weighs planes by their means, the second mixes planes.
    Both are scaled by weights that start at zero, so that a block starts as the identity.

    References
    ----------
    Chen, Chu, Zhang, Sun: Simple baselines for image restoration, ECCV 2022, section 3.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.spatial = nn.Sequential(
            PlaneNorm(width), nn.Conv2d(width, 2 * width, 1), nn.Conv2d(2 * width, 2 * width, 3, 1, 1, groups=2 * width)
        )
        self.weigh = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, width, 1))
        self.project = nn.Conv2d(width, width, 1)
        self.expand = nn.Sequential(PlaneNorm(width), nn.Conv2d(width, 2 * width, 1))
        self.shrink = nn.Conv2d(width, width, 1)
        self.beta = nn.Parameter(torch.zeros(width, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W) to the same shape."""
        gated = gate(self.spatial(x))
        x = x + self.beta * self.project(gated * self.weigh(gated))
        return x + self.gamma * self.shrink(gate(self.expand(x)))


def gate(x: Tensor) -> Tensor:
    """(B, 2C, H, W) to (B, C, H, W)."""
    first, second = x.chunk(2, 1)
    return first * second


class NAFNet(nn.Module):
    """A U-net of `NAFBlock`, two levels deep, that predicts what is to be added to its input.

    Parameters
    ----------
    planes : int
        Planes of the input and of the output.
    width : int
        Planes at full size; they double at each level.
    levels : int
        Times that height and width are halved; inputs are padded to a multiple of 2^levels.
    """

    def __init__(self, planes: int = 4, width: int = 16, levels: int = 2) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(levels + 1)]
        self.first = nn.Conv2d(planes, width, 3, padding=1)
        self.descent = nn.ModuleList(NAFBlock(each) for each in widths[:-1])
        self.halvings = nn.ModuleList(nn.Conv2d(each, 2 * each, 2, 2) for each in widths[:-1])
        self.middle = NAFBlock(widths[-1])
        # 1×1 to four times the planes and a shuffle: half of the planes at twice the size.
        self.doublings = nn.ModuleList(
            nn.Sequential(nn.Conv2d(2 * each, 4 * each, 1), nn.PixelShuffle(2)) for each in reversed(widths[:-1])
        )
        self.ascent = nn.ModuleList(NAFBlock(each) for each in reversed(widths[:-1]))
        self.last = nn.Conv2d(width, planes, 3, padding=1)
        self.multiple = 2**levels

    def forward(self, noisy: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape; H and W may be odd."""
        height, width = noisy.shape[2:]
        padding = (0, -width % self.multiple, 0, -height % self.multiple)
        x = self.first(nn.functional.pad(noisy, padding, mode="replicate"))
        kept = []
        for block, halve in zip(self.descent, self.halvings, strict=True):
            x = block(x)
            kept.append(x)
            x = halve(x)
        x = self.middle(x)
        for block, double in zip(self.ascent, self.doublings, strict=True):
            x = block(double(x) + kept.pop())
        return noisy + self.last(x)[..., :height, :width]


NETWORKS: dict[str, Callable[[], nn.Module]] = {"dncnn": DnCNN, "nafnet": NAFNet}
"""Name → constructor of the size that the tables are of."""


def build_network(name: str, seed: int) -> nn.Module:
    """A network whose starting weights depend on the seed alone; torch's own generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NETWORKS[name]()
