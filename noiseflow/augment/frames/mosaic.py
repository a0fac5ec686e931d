"""Conversion of batches of mosaics to planes and back, and demosaicing."""

import torch
from torch import Tensor
from torch.nn import functional as F

from noiseflow.core.errors import DataError
from noiseflow.raw.bayer import offsets

__all__ = ["demosaic", "to_mosaic", "to_planes"]


def to_planes(mosaic: Tensor, cfa: str) -> Tensor:
    """Convert mosaics (B, 1, H, W) to planes R, G1, G2, B, (B, 4, H/2, W/2).

    Raises
    ------
    DataError
        An odd height or width.
    """
    if mosaic.shape[-2] % 2 or mosaic.shape[-1] % 2:
        raise DataError(f"mosaic: expected an even height and width; got {tuple(mosaic.shape)}: crop it")
    return torch.cat([mosaic[..., row::2, column::2] for row, column in offsets(cfa)], 1)


def to_mosaic(planes: Tensor, cfa: str) -> Tensor:
    """Convert planes (B, 4, H/2, W/2) to mosaics (B, 1, H, W), the inverse of `to_planes`."""
    batch, _, height, width = planes.shape
    mosaic = planes.new_empty(batch, 1, 2 * height, 2 * width)
    for plane, (row, column) in enumerate(offsets(cfa)):
        mosaic[:, 0, row::2, column::2] = planes[:, plane]
    return mosaic


def demosaic(mosaic: Tensor, cfa: str) -> Tensor:
    """Demosaic (B, 1, H, W) to (B, 3, H, W) bilinearly: each missing value is the weighted mean of its neighbours.

    At the border only the existing neighbours are averaged.
    """
    colours = torch.zeros(mosaic.shape[0], 3, *mosaic.shape[2:], dtype=mosaic.dtype, device=mosaic.device)
    there = torch.zeros_like(colours[:1])
    for colour, (row, column) in zip((0, 1, 1, 2), offsets(cfa), strict=True):
        colours[:, colour, row::2, column::2] = mosaic[:, 0, row::2, column::2]
        there[:, colour, row::2, column::2] = 1
    tent = mosaic.new_tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]).expand(3, 1, 3, 3)
    weights = F.conv2d(there, tent, padding=1, groups=3)
    mean = F.conv2d(colours, tent, padding=1, groups=3) / weights.clamp(min=1)
    # At a green pixel the tent filter would also average the diagonal greens, so measured values are kept.
    return torch.where(there > 0, colours, mean)
