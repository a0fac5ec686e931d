"""`PhotoDenoiser`: one small network for every camera and ISO."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from noiseflow.augment.denoise.stabilise import stabilised, unstabilised
from noiseflow.core.errors import DataError, ModelError

__all__ = ["PhotoDenoiser", "PhotoDenoiserSpec"]

PLANES = 4
"""Number of planes: R, G1, G2, B."""

BOX = 9
"""Side in pixels of the local mean from which deviations are computed."""

NEAR = 3.0
"""Deviations up to about this many σ count in the means of rows and columns."""

SOFT = 6.0
"""Deviations beyond this many σ are compressed."""

CELL, LINE = 8, 11
"""Rows and columns are averaged over `LINE` cells of `CELL` pixels, 88 pixels of a plane."""

CLIPPING = 8.0
"""Distance from the ends of the range, in σ, at which the clipping feature saturates."""

FEATURES = 3 * PLANES + 4
"""Number of input planes of the network, see `PhotoDenoiser.features`."""


@dataclass(frozen=True)
class PhotoDenoiserSpec:
    """Description of a photo denoiser.

    Parameters
    ----------
    widths : tuple of int
        Hidden planes at full, half, quarter … size of a plane.
    middle : int
        Number of residual blocks at the smallest size.
    seed : int
        Seed of the initial weights.
    """

    widths: tuple[int, ...] = (32, 64, 64)
    middle: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        """Check that a network can be built from the spec."""
        object.__setattr__(self, "widths", tuple(int(width) for width in self.widths))
        # At most three halvings, because a cell has 8 pixels.
        if not 2 <= len(self.widths) <= 4 or min(self.widths) < 1 or self.middle < 1:
            raise ModelError(
                "photo denoiser: expected two to four widths of 1 or more and a middle block; got "
                f"{self.widths}, {self.middle}"
            )


class Block(nn.Module):
    """Residual block: two 3×3 convolutions whose result is added to the input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width, H, W) to the same shape."""
        found: Tensor = x + self.second(F.relu(self.first(x)))
        return found


class PhotoDenoiser(nn.Module):
    """A U-net on noise of unit variance, conditioned on the noise by two numbers per plane.

    With the noise variance β₁·x + β₂ and its stabilising transform f (see `stabilised`),

        D(x) = f⁻¹(f(x) − r),  r = net(deviations of f(x) from its 9×9 mean, …),

    so that the network never sees the camera's units, gain or ISO.  Further inputs for each pixel are the read noise's
    share of the variance, the distance from clipping, and the mean deviation of 88 pixels of each sensor row and
    column around it, which shows row noise and banding.  The network is trained on the error of D(x) itself, so it
    also learns to correct the bias of the transform at few photons.

    Parameters
    ----------
    spec : PhotoDenoiserSpec
        Sizes and seed of the network.

    References
    ----------
    Ronneberger, Fischer, Brox: U-Net, MICCAI 2015; Mäkitalo, Foi: Optimal inversion of the generalized Anscombe
    transformation, IEEE TIP 2013; Wei, Fu, Yang, Huang: A physics-based noise formation model for extreme low-light
    raw denoising, CVPR 2020, for the components of raw noise besides shot and read noise.

    Examples
    --------
    >>> denoiser = PhotoDenoiser(PhotoDenoiserSpec(widths=(4, 8)))
    >>> line = torch.full((1, 4, 1, 1), 1e-4)
    >>> denoiser(torch.full((1, 4, 20, 12), 0.2), line, line, -0.03 + 0 * line).shape
    torch.Size([1, 4, 20, 12])
    """

    def __init__(self, spec: PhotoDenoiserSpec) -> None:
        super().__init__()
        self.spec = spec
        widths = spec.widths
        self.enter = nn.Conv2d(FEATURES, widths[0], 3, padding=1)
        self.descent = nn.ModuleList(Block(width) for width in widths[:-1])
        self.halvings = nn.ModuleList(nn.Conv2d(large, small, 2, 2) for large, small in pairwise(widths))
        self.middle = nn.Sequential(*(Block(widths[-1]) for _ in range(spec.middle)))
        upwards = widths[::-1]
        self.doublings = nn.ModuleList(nn.ConvTranspose2d(small, large, 2, 2) for small, large in pairwise(upwards))
        self.ascent = nn.ModuleList(Block(width) for width in upwards[1:])
        self.leave = nn.Conv2d(widths[0], PLANES, 3, padding=1)
        self._start(torch.Generator().manual_seed(spec.seed))

    @torch.no_grad()
    def _start(self, generator: torch.Generator) -> None:
        """Initialise the weights from the seed; D starts as the identity."""
        for layer in self._layers():
            fan_in = layer.weight[0].numel() if isinstance(layer, nn.Conv2d) else layer.weight.shape[0]
            layer.weight.normal_(0.0, 1.0, generator=generator).mul_((2 / fan_in) ** 0.5)
            assert layer.bias is not None
            layer.bias.zero_()
        for block in (each for each in self.modules() if isinstance(each, Block)):
            block.second.weight.mul_(0.3)
        self.leave.weight.zero_()

    def _layers(self) -> Iterator[nn.Conv2d | nn.ConvTranspose2d]:
        return (layer for layer in self.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d))

    @property
    def multiple(self) -> int:
        """Height and width are padded internally to a multiple of this."""
        return CELL

    @property
    def reach(self) -> int:
        """Receptive radius in pixels of a plane, rounded up to a multiple of `multiple`."""
        levels = len(self.spec.widths)
        convolutions = 2 + sum(4 << level for level in range(levels - 1))
        convolutions += (2 * self.spec.middle << (levels - 1)) + (1 << levels)
        radius = BOX // 2 + CELL * (LINE // 2 + 1) + convolutions
        return -(-radius // CELL) * CELL

    def forward(self, noisy: Tensor, slope: Tensor, offset: Tensor, floor: Tensor) -> Tensor:
        """Denoise a batch.

        Parameters
        ----------
        noisy : Tensor, shape (B, 4, H, W)
            Noisy planes R, G1, G2, B, normalised and not clipped at black.
        slope, offset : Tensor, broadcastable to (B, 4, H, W)
            Coefficients of the noise variance β₁·x + β₂, 0 or more and not both 0.
        floor : Tensor, broadcastable to (B, 4, H, W)
            Normalised signal of code 0: −black/(white − black).

        Returns
        -------
        Tensor, shape (B, 4, H, W)
            Estimate of the clean signal, normalised.

        Raises
        ------
        DataError
            A wrong number of planes or axes.
        """
        if noisy.ndim != 4 or noisy.shape[1] != PLANES:
            raise DataError(f"noisy: expected shape (B, {PLANES}, H, W); got {tuple(noisy.shape)}")
        height, width = noisy.shape[2:]
        padding = (0, -width % CELL, 0, -height % CELL)
        signal = stabilised(noisy, slope, offset)
        inputs = self.features(noisy, signal, slope, offset, floor)
        found = self.residual(F.pad(inputs, padding, mode="replicate"))[..., :height, :width]
        return unstabilised(signal - found.to(signal), slope, offset)

    def features(self, noisy: Tensor, signal: Tensor, slope: Tensor, offset: Tensor, floor: Tensor) -> Tensor:
        """Inputs of the network, (B, 16, H, W): deviations, read-noise shares, distances from clipping, line means."""
        mean = box_mean(signal)
        off = signal - mean
        level = unstabilised(mean, slope, offset).clamp(min=0)
        share = offset / (slope * level + offset)
        sigma = (slope * level + offset).sqrt()
        clipping = torch.minimum(noisy - floor, 1 - noisy) / (CLIPPING * sigma)
        soft = SOFT * (off / SOFT).asinh()
        return torch.cat([soft, share, clipping.clamp(0, 1), lines_of(off)], 1)

    def residual(self, inputs: Tensor) -> Tensor:
        """Predict the noise in units of σ, (B, 4, H, W), from `features`; H and W must be multiples of `multiple`."""
        x = self.enter(inputs.contiguous(memory_format=torch.channels_last))
        kept = []
        for block, halve in zip(self.descent, self.halvings, strict=True):
            x = block(x)
            kept.append(x)
            x = F.relu(halve(x))
        x = self.middle(x)
        for block, double in zip(self.ascent, self.doublings, strict=True):
            x = block(double(x) + kept.pop())
        found: Tensor = self.leave(F.relu(x))
        return found


def box_mean(signal: Tensor) -> Tensor:
    """Mean of the 9×9 pixels of a plane around each pixel, fewer at the border."""
    half = BOX // 2
    rows = F.avg_pool2d(signal, (BOX, 1), stride=1, padding=(half, 0), count_include_pad=False)
    return F.avg_pool2d(rows, (1, BOX), stride=1, padding=(0, half), count_include_pad=False)


def lines_of(off: Tensor) -> Tensor:
    """Mean deviation along both sensor rows and both sensor columns of each pixel's cell, (B, 4, H, W), in σ.

    Deviations enter as off·exp(−off²/18), so that edges and texture have little effect.
    """
    near = off * (-off.square() / (2 * NEAR**2)).exp()
    red, green_1, green_2, blue = near.chunk(PLANES, 1)
    rows = torch.cat([red + green_1, green_2 + blue], 1) / 2
    columns = torch.cat([red + green_2, green_1 + blue], 1) / 2
    return torch.cat([_along(rows, (1, CELL)), _along(columns, (CELL, 1))], 1)


def _along(values: Tensor, cell: tuple[int, int]) -> Tensor:
    """Means along lines: over the pixels of each cell (the last one may be shorter), then over `LINE` cells."""
    height, width = values.shape[2:]
    means = F.avg_pool2d(values, cell, ceil_mode=True)
    over = (LINE, 1) if cell[1] == 1 else (1, LINE)
    means = F.avg_pool2d(means, over, stride=1, padding=(over[0] // 2, over[1] // 2), count_include_pad=False)
    return means.repeat_interleave(cell[0], 2).repeat_interleave(cell[1], 3)[..., :height, :width]
