"""What frames of one scene share: the mean of them all, of which each is the clean signal of the others."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.patches.schema import CLEAN_TYPE

__all__ = ["Share", "mean_of_others"]


@dataclass(frozen=True, eq=False)
class Share:
    """How a frame's clean signal comes from the mean of all frames.

    clean = offset + gain·(mean + own·(mean − noisy)), plane by plane.  With own = 1/(n − 1)
    the bracket is the mean of the n − 1 other frames; gain and offset bring it to the frame.

    Parameters
    ----------
    own : float
        Weight of the difference to the frame itself: 1/(n − 1), or 0.
    gain : tuple of float
        Gain of each plane.
    offset : tuple of float
        Offset of each plane, DN.
    clean_variance : float
        Variance of the clean signal as an estimate, as a fraction of the noise variance.
    """

    own: float
    gain: tuple[float, ...]
    offset: tuple[float, ...]
    clean_variance: float

    def clean(self, mean: NDArray[np.float32], noisy: NDArray[Any]) -> NDArray[np.float32]:
        """The clean signal of a frame, DN, shape (C, h, w)."""
        gain, offset = (np.array(each, CLEAN_TYPE)[:, None, None] for each in (self.gain, self.offset))
        return mean_of_others(noisy, mean, np.float32(self.own), gain, offset)


def mean_of_others(
    noisy: NDArray[Any],
    mean: NDArray[np.float32],
    own: Any,
    gain: Any,
    offset: Any,
    *,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """The formula of `Share` in float32, into `out` if it is given; what is not of the pixels' shape is broadcast.

    >>> frames = np.array([[3.0], [5.0], [10.0]], np.float32)
    >>> mean_of_others(frames[0], frames.mean(0), np.float32(1 / 2), np.float32(1), np.float32(0))
    array([7.5], dtype=float32)
    """
    clean: NDArray[np.float32] = np.subtract(mean, noisy, out=out, dtype=CLEAN_TYPE, casting="same_kind")
    clean *= own
    clean += mean
    clean *= gain
    clean += offset
    return clean
