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
"""R, G1, G2, B."""

BOX = 9
"""Side in pixels of the mean that deviations are taken from."""

NEAR = 3.0
"""Deviation in σ up to which a pixel counts in the mean of its row and column."""

SOFT = 6.0
"""Deviation in σ beyond which it is compressed."""

CELL, LINE = 8, 11
"""Rows and columns are averaged over `LINE` cells of `CELL` pixels: 88 of a plane."""

CLIPPING = 8.0
"""Distance from the ends of the range, in σ, at which that feature of a pixel saturates."""

FEATURES = 3 * PLANES + 4
"""Planes that the network sees: `PhotoDenoiser.features`."""


@dataclass(frozen=True)
class PhotoDenoiserSpec:
    """Description of a photo denoiser.

    Parameters
    ----------
    widths : tuple of int
        Hidden planes at full, half, quarter … size of a plane.
    middle : int
        Residual blocks at the smallest size.
    seed : int
        Seed of the starting weights.
    """

    widths: tuple[int, ...] = (32, 64, 64)
    middle: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse specs from which no network can be built."""
        object.__setattr__(self, "widths", tuple(int(width) for width in self.widths))
        # Pixels of a cell must divide into those of the smallest size.
        if not 2 <= len(self.widths) <= 4 or min(self.widths) < 1 or self.middle < 1:
            raise ModelError(
                "photo denoiser: expected two to four widths of 1 or more and a middle block; got "
                f"{self.widths}, {self.middle}"
            )


class Block(nn.Module):
    """Two convolutions whose result is added to the input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W) to the same shape."""
        found: Tensor = x + self.second(F.relu(self.first(x)))
        return found


class PhotoDenoiser(nn.Module):
    """A U-net on noise of unit variance, conditioned on the noise by two numbers for each plane.

    With the line var = β₁·x + β₂ of the noise at hand and its stabilising transform f (see `stabilised`),

        D(x) = f⁻¹(f(x) − r),  r = net(deviations of f(x) from its 9×9 mean, …),

    so that the network never meets the camera's units, gain or ISO.  It also gets, for each pixel, how much of
    the variance is the read noise's and how near the ends of the range are, and of each row and column of the sensor
    the mean deviation of 88 pixels to both colours, which shows row noise and banding.  It is trained on the error of
    D(x) itself: what the transform's bias is in few photons it learns.

    Parameters
    ----------
    spec : PhotoDenoiserSpec
        Sizes and seed.

    References
    ----------
    Ronneberger, Fischer, Brox: U-Net, MICCAI 2015; Mäkitalo, Foi: Optimal inversion of the generalized Anscombe
    transformation, IEEE TIP 2013; Wei, Fu, Yang, Huang: A physics-based noise formation model for extreme low-light
    raw denoising, CVPR 2020, for what raw noise is besides shot and read noise.

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
        """Weights by the seed alone; D is the identity."""
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
        """Height and width are padded to a multiple of this inside."""
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
            β₁ and β₂ of the noise's variance β₁·x + β₂, 0 or more and not both 0.
        floor : Tensor, broadcastable to (B, 4, H, W)
            Normalised signal of the code 0: −black/(white − black).

        Returns
        -------
        Tensor, shape (B, 4, H, W)
            Estimate of the clean signal, normalised.

        Raises
        ------
        DataError
            Another number of planes.
        """
        if noisy.ndim != 4 or noisy.shape[1] != PLANES:
            raise DataError(f"noisy: expected shape (B, {PLANES}, H, W); got {tuple(noisy.shape)}")
        height, width = noisy.shape[2:]
        padding = (0, -width % CELL, 0, -height % CELL)
        signal = stabilised(noisy, slope, offset)
        told = self.features(noisy, signal, slope, offset, floor)
        found = self.residual(F.pad(told, padding, mode="replicate"))[..., :height, :width]
        return unstabilised(signal - found.to(signal), slope, offset)

    def features(self, noisy: Tensor, signal: Tensor, slope: Tensor, offset: Tensor, floor: Tensor) -> Tensor:
        """What the network sees, (B, 16, H, W): deviations, shares of read noise, distances from clipping, lines."""
        mean = box_mean(signal)
        off = signal - mean
        level = unstabilised(mean, slope, offset).clamp(min=0)
        share = offset / (slope * level + offset)
        sigma = (slope * level + offset).sqrt()
        clipping = torch.minimum(noisy - floor, 1 - noisy) / (CLIPPING * sigma)
        soft = SOFT * (off / SOFT).asinh()
        return torch.cat([soft, share, clipping.clamp(0, 1), lines_of(off)], 1)

    def residual(self, told: Tensor) -> Tensor:
        """The noise in units of σ, (B, 4, H, W), from `features`; H and W multiples of `multiple`."""
        x = self.enter(told.contiguous(memory_format=torch.channels_last))
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
    """Mean of 9×9 pixels of a plane, of fewer at the border."""
    half = BOX // 2
    rows = F.avg_pool2d(signal, (BOX, 1), stride=1, padding=(half, 0), count_include_pad=False)
    return F.avg_pool2d(rows, (1, BOX), stride=1, padding=(0, half), count_include_pad=False)


def lines_of(off: Tensor) -> Tensor:
    """Mean deviation of both rows and both columns of the CFA about each pixel, (B, 4, H, W), in σ.

    A deviation counts by off·exp(−off²/18), so that edges and texture do not.
    """
    near = off * (-off.square() / (2 * NEAR**2)).exp()
    red, green_1, green_2, blue = near.chunk(PLANES, 1)
    rows = torch.cat([red + green_1, green_2 + blue], 1) / 2
    columns = torch.cat([red + green_2, green_1 + blue], 1) / 2
    return torch.cat([_along(rows, (1, CELL)), _along(columns, (CELL, 1))], 1)


def _along(values: Tensor, cell: tuple[int, int]) -> Tensor:
    """Means of lines in the direction of a cell: of whole cells, the last one shorter, then of cells."""
    height, width = values.shape[2:]
    means = F.avg_pool2d(values, cell, ceil_mode=True)
    over = (LINE, 1) if cell[1] == 1 else (1, LINE)
    means = F.avg_pool2d(means, over, stride=1, padding=(over[0] // 2, over[1] // 2), count_include_pad=False)
    return means.repeat_interleave(cell[0], 2).repeat_interleave(cell[1], 3)[..., :height, :width]
