"""Masks of couplings: which values condition, and which are transformed."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

__all__ = ["Mask", "channel", "checkerboard", "rows"]

Mask = Callable[[Tensor], Tensor]
"""A function of a tensor (B, C, H, W) that returns booleans (C, H, W), True where a value conditions the others.

Masks are `functools.partial` objects of functions of this module, so that models can be pickled.
"""


def channel(flip: bool = False) -> Mask:
    """Mask of the first half of the planes; with `flip`, of the second half."""
    return partial(_channel, flip)


def checkerboard(flip: bool = False) -> Mask:
    """Mask of the pixels with even row + column; with `flip`, of those with odd row + column."""
    return partial(_checkerboard, flip)


def rows(flip: bool = False) -> Mask:
    """Mask of the even rows; with `flip`, of the odd rows."""
    return partial(_rows, flip)


def _channel(flip: bool, like: Tensor) -> Tensor:
    planes = like.shape[1]
    first = torch.arange(planes, device=like.device) < planes // 2
    return (first ^ flip)[:, None, None].expand(like.shape[1:])


def _checkerboard(flip: bool, like: Tensor) -> Tensor:
    row, column = (torch.arange(size, device=like.device) for size in like.shape[2:])
    even = (row[:, None] + column) % 2 == 0
    return (even ^ flip).expand(like.shape[1:])


def _rows(flip: bool, like: Tensor) -> Tensor:
    even = torch.arange(like.shape[2], device=like.device) % 2 == 0
    return (even ^ flip)[:, None].expand(like.shape[1:])
