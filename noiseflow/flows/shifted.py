"""3×3 convolutions of few planes as shifts and adds, compiled into one kernel each.

On a CPU a general convolution of two to five planes spends its time on moving data about.
Written as sums of shifted planes and compiled (`torch.compile`) it takes a third of that, its
gradients less.  Without a compiler, or where it would not pay back, it is `conv2d`.
"""

import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["can_compile", "compiled", "conv3x3"]

MOST_PLANES = 8
"""Planes in or out, above which a general convolution is as fast."""

_wanted: ContextVar[bool] = ContextVar("compiled convolutions", default=False)


def can_compile() -> bool:
    """Whether PyTorch finds what it needs to compile for a CPU here."""
    return sys.platform.startswith("linux") and any(map(shutil.which, ("g++", "clang++")))


@contextmanager
def compiled(on: bool = True) -> Iterator[None]:
    """Take compiled convolutions on a CPU within the block; seconds the first time, then from a cache on disk.

    Without a compiler it warns once and goes on without.
    """
    if on and not can_compile():
        _say_once("no C++ compiler was found: convolutions are not compiled, which costs time only")
        on = False
    token = _wanted.set(on)
    try:
        yield
    finally:
        _wanted.reset(token)


def conv3x3(padded: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolve planes that have a border of one pixel already.

    out(o, y, x) = bias(o) + Σ_i Σ_{v,u} weight(o, i, v, u) · padded(i, y + v, x + u).

    Parameters
    ----------
    padded : Tensor, shape (B, I, H + 2, W + 2)
    weight : Tensor, shape (O, I, 3, 3)
    bias : Tensor, shape (O,)

    Returns
    -------
    Tensor, shape (B, O, H, W)
    """
    few = max(weight.shape[:2]) <= MOST_PLANES and padded.device.type == "cpu" and padded.dtype == torch.float32
    if not (few and _wanted.get()) or torch.is_autocast_enabled("cpu"):
        return F.conv2d(padded, weight, bias)
    out: Tensor = _Shifted.apply(padded, weight, bias)  # type: ignore[no-untyped-call]
    return out


class _Shifted(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, padded: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(padded, weight)
        return _kernel(_shift_and_add)(padded, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        padded, weight = ctx.saved_tensors
        of_out = gradients[0].contiguous()
        of_padded = None
        if ctx.needs_input_grad[0]:
            mirrored = weight.flip(2, 3).transpose(0, 1).contiguous()
            none = weight.new_zeros(weight.shape[1])
            of_padded = _kernel(_shift_and_add)(F.pad(of_out, (2, 2, 2, 2)), mirrored, none)
        return of_padded, _kernel(_of_weight)(padded, of_out), of_out.sum((0, 2, 3))


def _shift_and_add(padded: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    height, width = padded.shape[2] - 2, padded.shape[3] - 2
    out = bias[:, None, None]
    for plane in range(weight.shape[1]):
        for row in range(3):
            for column in range(3):
                part = padded[:, plane : plane + 1, row : row + height, column : column + width]
                out = out + weight[:, plane, row, column][:, None, None] * part
    return out


def _of_weight(padded: Tensor, of_out: Tensor) -> Tensor:
    windows = padded.unfold(2, 3, 1).unfold(3, 3, 1)
    return (windows[:, None] * of_out[:, :, None, :, :, None, None]).sum((0, 3, 4))


@cache
def _kernel(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return torch.compile(function)


@cache
def _say_once(text: str) -> None:
    warnings.warn(text, RuntimeWarning, stacklevel=4)
