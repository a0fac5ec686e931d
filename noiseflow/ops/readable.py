"""Whether values can be looked at: not while a graph is traced, nor under torch.func, whose tensors stand for many."""

import torch
from torch import Tensor

from noiseflow.core.errors import DataError

__all__ = ["check_normalised", "extremes", "readable", "under_func"]


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


def check_normalised(clean: Tensor, least: float, most: float, expected: str) -> None:
    """Refuse a clean signal with NaN or in codes, if its values can be looked at.

    Parameters
    ----------
    clean : Tensor
        Clean signal.
    least, most : float
        Ends of what is taken for normalised.
    expected : str
        Range for the message, such as ``"0 to 1"``.

    Raises
    ------
    DataError
        A value is NaN or outside the range.
    """
    found = extremes(clean)
    if found is None:
        return
    low, high = found
    if low != low:
        raise DataError("clean: holds NaN; mask or drop those patches first")
    if not (least <= low and high <= most):
        raise DataError(
            f"clean: expected the normalised signal, {expected}; got {low:.4g} to {high:.4g}: "
            "take off the black level and divide by white − black"
        )
