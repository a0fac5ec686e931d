"""Whether tensor values can be read: not while a graph is traced, nor under torch.func, where tensors are symbolic."""

import torch
from torch import Tensor

from noiseflow.core.errors import DataError

__all__ = ["check_normalised", "extremes", "readable", "under_func"]


def readable() -> bool:
    """Whether tensor values can be read at this point; if not, checks of values must be skipped."""
    return not torch.compiler.is_compiling() and not under_func()


def under_func() -> bool:
    """Whether code runs under a transform of torch.func, such as vmap or grad."""
    return torch._C._functorch.peek_interpreter_stack() is not None


def extremes(values: Tensor) -> tuple[float, float] | None:
    """Smallest and largest value, NaN if any value is NaN; None if there are no values or they cannot be read."""
    if not values.numel() or values.is_meta or not readable():
        return None
    low, high = torch.aminmax(values.detach())
    return float(low), float(high)


def check_normalised(clean: Tensor, least: float, most: float, expected: str) -> None:
    """Refuse a clean signal that has NaN or is not normalised; skipped if its values cannot be read.

    Parameters
    ----------
    clean : Tensor
        Clean signal, normalised.
    least, most : float
        Range that counts as normalised.
    expected : str
        The range in words for the message, such as ``"0 to 1"``.

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
        raise DataError("clean: expected finite values; got NaN: mask or drop those patches first")
    if not (least <= low and high <= most):
        raise DataError(
            f"clean: expected the normalised signal, {expected}; got {low:.4g} to {high:.4g}: "
            "subtract the black level and divide by white − black"
        )
