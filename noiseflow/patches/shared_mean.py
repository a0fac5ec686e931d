"""The clean signal of a frame, computed from the mean of all frames of its scene."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.patches.schema import CLEAN_TYPE

__all__ = ["Share", "mean_of_others"]


@dataclass(frozen=True, eq=False)
class Share:
    """Coefficients that give a frame's clean signal from the mean of all frames.

    clean = offset + gain·(mean + own·(mean − noisy)), for each plane.  With own = 1/(n − 1) the
    parenthesis is the mean of the n − 1 other frames; gain and offset bring it to the frame's light.

    Parameters
    ----------
    own : float
        Coefficient that removes the frame itself from the mean: 1/(n − 1), or 0 to keep it.
    gain : tuple of float
        Gain of each plane.
    offset : tuple of float
        Offset of each plane, DN.
    clean_variance : float
        Variance of the clean signal's error, as a fraction of the noise variance.
    """

    own: float
    gain: tuple[float, ...]
    offset: tuple[float, ...]
    clean_variance: float

    def clean(self, mean: NDArray[np.float32], noisy: NDArray[Any]) -> NDArray[np.float32]:
        """Compute the clean signal of a frame in DN, shape (C, h, w).

        Parameters
        ----------
        mean : ndarray of float32, shape (C, h, w)
            Mean of all frames, DN.
        noisy : ndarray, shape (C, h, w)
            Codes of the frame, DN.
        """
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
    """Compute offset + gain·(mean + own·(mean − noisy)) in float32, the formula of `Share`.

    Parameters
    ----------
    noisy, mean : ndarray
        Codes of the frame and mean of all frames, DN.
    own, gain, offset : float32 or ndarray
        Coefficients, which are broadcast to the shape of the pixels.
    out : ndarray, optional
        Array for the result.

    Examples
    --------
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
