"""Whether values can be looked at: not while a graph is traced, nor under torch.func, whose tensors stand for many."""

import torch
from torch import Tensor

__all__ = ["extremes", "readable", "under_func"]


def readable() -> bool:
    """Whether the values of tensors can be looked at here, for checks; else a check must be left out."""
    return not torch.compiler.is_compiling() and not under_func()


def under_func() -> bool:
    """Whether a transform of torch.func, such as vmap or grad, is at work."""
    return torch._C._functorch.peek_interpreter_stack() is not None


def extremes(values: Tensor) -> tuple[float, float] | None:
    """Least and largest value in one pass, NaN if one is NaN; None if there is none or it cannot be looked at."""
    if not values.numel() or values.is_meta or not readable():
        return None
    low, high = torch.aminmax(values.detach())
    return float(low), float(high)
