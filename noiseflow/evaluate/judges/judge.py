"""What a judge is, and the table of judges: a new one is a new file and a new line here."""

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
    """A classifier of whole patches.

    Parameters
    ----------
    name : str
        In words.
    method : str
        What it looks at, and how it is trained, in a sentence or two.
    seen : callable
        What it looks at, (B, …) as float32, of residuals (noise over its σ, (B, C, h, w)) and of the mean clean signal
        of each patch, (B,); not finite for a patch that it cannot judge.
    hits : callable
        How many of each pair it classifies correctly, (n,), of what it sees of real and of sampled patches of the
        same places and their groups, trained on other groups.
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
"""Name in ``metrics.json`` → judge."""
