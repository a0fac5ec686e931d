"""Masks of couplings: which values condition, and which are transformed."""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["Mask", "channel", "checkerboard", "rows"]

Mask = Callable[[Tensor], Tensor]
"""From a tensor (B, C, H, W) to booleans (C, H, W), true where a value conditions and stays."""


def channel(flip: bool = False) -> Mask:
    """The first half of the planes conditions; with `flip` the second."""

    def mask(like: Tensor) -> Tensor:
        planes = like.shape[1]
        first = torch.arange(planes, device=like.device) < planes // 2
        return (first ^ flip)[:, None, None].expand(like.shape[1:])

    return mask


def checkerboard(flip: bool = False) -> Mask:
    """The pixels of even row + column condition; with `flip` the odd ones."""

    def mask(like: Tensor) -> Tensor:
        row, column = (torch.arange(size, device=like.device) for size in like.shape[2:])
        even = (row[:, None] + column) % 2 == 0
        return (even ^ flip).expand(like.shape[1:])

    return mask


def rows(flip: bool = False) -> Mask:
    """The even rows condition; with `flip` the odd ones."""

    def mask(like: Tensor) -> Tensor:
        even = torch.arange(like.shape[2], device=like.device) % 2 == 0
        return (even ^ flip)[:, None].expand(like.shape[1:])

    return mask
