"""Masks of couplings: which values condition, and which are transformed."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

__all__ = ["Mask", "channel", "checkerboard", "rows"]

Mask = Callable[[Tensor], Tensor]
"""From a tensor (B, C, H, W) to booleans (C, H, W), true where a value conditions and stays.

A partial of a function of this module, so that a model can be pickled.
"""


def channel(flip: bool = False) -> Mask:
    """The first half of the planes conditions; with `flip` the second."""
    return partial(_channel, flip)


def checkerboard(flip: bool = False) -> Mask:
    """The pixels of even row + column condition; with `flip` the odd ones."""
    return partial(_checkerboard, flip)


def rows(flip: bool = False) -> Mask:
    """The even rows condition; with `flip` the odd ones."""
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
