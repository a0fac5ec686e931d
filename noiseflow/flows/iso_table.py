"""Parameters tabulated at a camera's measured ISOs, read at any ISO."""

import torch
from torch import Tensor

__all__ = ["at_iso"]


def at_iso(table: Tensor, log_knots: Tensor, iso: Tensor) -> Tensor:
    """Interpolate a table linearly in log ISO; beyond its ends go on with the last slope.

    Parameters
    ----------
    table : Tensor, shape (B, K) or (K,)
        Values at the knots, for each element or shared.
    log_knots : Tensor, shape (K,)
        Natural log of the ISOs, rising.
    iso : Tensor, shape (B,)

    Returns
    -------
    Tensor, shape (B,)

    Examples
    --------
    >>> at_iso(torch.tensor([1.0, 3.0]), torch.tensor([100.0, 400.0]).log(), torch.tensor([200.0]))
    tensor([2.])
    """
    table = table.expand(iso.shape[0], -1)
    knots = log_knots.shape[0]
    if knots == 1:
        return table[:, 0]
    log_iso = iso.to(table.dtype).log()
    # Counted, not searched: a table has few knots, and ONNX has no searchsorted.
    right = torch.sum(log_iso.detach()[:, None] > log_knots, 1).clamp(1, knots - 1)
    left = right - 1
    weight = (log_iso - log_knots[left]) / (log_knots[right] - log_knots[left])
    low, high = table.gather(1, left[:, None])[:, 0], table.gather(1, right[:, None])[:, 0]
    # (1 − w)·low + w·high is exact at both knots, where low + w·(high − low) is not.
    return (1 - weight) * low + weight * high
