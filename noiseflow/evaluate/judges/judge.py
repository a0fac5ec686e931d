"""Contract and registry of judges; a new judge is one file, and one line here."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.core.registry import Registry

__all__ = ["JUDGES", "Array", "Judge"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Judge:
    """A classifier of whole patches as real or sampled.

    Parameters
    ----------
    name : str
        Name for the report.
    method : str
        Its features and its training, in one or two sentences.
    seen : callable
        Computes the features, float32 (B, …), from residuals (noise divided by its σ, (B, C, h, w)) and the mean clean
        signal of each patch (B,).  They are not finite for a patch that it cannot classify.
    hits : callable
        Returns how many patches of each pair are classified correctly, (n,), from the features of n real patches, those
        of sampled patches at the same places, and the groups (n,).  It trains on other groups than it tests.
    """

    name: str
    method: str
    seen: Callable[[Tensor, Tensor], Tensor]
    hits: Callable[[Array, Array, NDArray[np.int64]], Array]


JUDGES = Registry[Judge](
    {
        "rows": "noiseflow.evaluate.judges.rows:ROWS",
        "spectrum": "noiseflow.evaluate.judges.spectrum:SPECTRUM",
        "network": "noiseflow.evaluate.judges.network:NETWORK",
    }
)
"""Judges by their names in ``metrics.json``."""
