"""Find converters of unlike gain that read every second column or row."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from noiseflow.fit.residue.relative_noise import RelativeNoise

__all__ = ["interleaved_gains"]

SURE, UNLIKE, FEWEST = 7.0, 1.04, 16
"""Gains are reported if they differ by so many standard errors and by this factor, in so many patches or more."""


def interleaved_gains(noise: RelativeNoise) -> Iterator[str]:
    """Yield a sentence if every second column or row of the planes has another gain.

    With a of `gain_by_place` for even lines and −a for odd ones, a is a ratio of sums over the patches, and its error
    that by their scatter.  Where the clean signal is an estimate, noise is compared with that of the light around it;
    if the codes of a line were multiplied, so was its light, and the ratio of the gains is the root of that found.

    Parameters
    ----------
    noise : RelativeNoise
        Noise of a camera.
    """
    if len(noise.value) < FEWEST:
        return
    excess = np.where(noise.seen, noise.square - 1, 0) * noise.shot
    expected = (noise.shot * np.where(noise.seen, 2 - noise.shot, 0)).sum((1, 2, 3), dtype=np.float64)
    for corner, name, others in ((noise.place[:, 2], "column", (1, 2)), (noise.place[:, 1], "row", (1, 3))):
        lines = excess.sum(others, dtype=np.float64)
        if lines.shape[1] % 2:
            continue
        sign = 1.0 - 2 * ((corner[:, None] + np.arange(lines.shape[1])) % 2)
        ratio = _ratio((sign * lines).sum(1), expected)
        if ratio > UNLIKE:
            yield (
                f"K is {ratio**0.5:.3g} to {ratio:.3g} times as large in every second {name} of a plane as in those "
                "between: two converters of unlike gain, or one of their outputs was corrected. Gain and read noise of "
                "a fit are those of a mean over them"
            )


def _ratio(over: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    """Ratio of the larger to the smaller gain; 1 if it is not sure."""
    whole = float(expected.sum())
    part = float(over.sum()) / whole if whole > 0 else 0.0
    error = float(np.sqrt(((over - part * expected) ** 2).sum())) / max(whole, 1e-300)
    return (1 + abs(part)) / (1 - abs(part)) if SURE * error < abs(part) < 1 else 1.0
