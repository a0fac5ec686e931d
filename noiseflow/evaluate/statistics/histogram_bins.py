"""Bins of the residual: fine ones of equal width, and wider ones made of them."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["FINE", "FINE_BINS", "fine_edges", "fine_index", "widening_edges", "widening_index"]

FINE = 0.01
"""Width of a fine bin, σ."""

FAR = 200.0
"""Where the outermost bins begin to be open, σ."""

FINE_BINS = round(2 * FAR / FINE)


def fine_index(residual: Tensor) -> Tensor:
    """Fine bin of each residual, int32."""
    return residual.mul(1 / FINE).add_(FAR / FINE).clamp_(0, FINE_BINS - 1).to(torch.int32)


def fine_edges() -> NDArray[np.float64]:
    """Edges of the fine bins, (FINE_BINS + 1,)."""
    return np.linspace(-FAR, FAR, FINE_BINS + 1)


def widening_edges(width: float) -> NDArray[np.float64]:
    """Edges of bins of `width` at 0 and width · √(1 + r²) at r, each an edge of fine bins."""
    side = np.sinh(np.arange(0.0, np.arcsinh(FAR), width))
    rounded = np.unique(np.round(np.append(side, FAR) / FINE) * FINE)
    return np.concatenate([-rounded[:0:-1], rounded])


def widening_index(edges: NDArray[np.float64]) -> Tensor:
    """Widening bin of each fine bin, (FINE_BINS,) int32."""
    middles = (np.arange(FINE_BINS) + 0.5) * FINE - FAR
    return torch.from_numpy((np.searchsorted(edges, middles) - 1).astype(np.int32))
