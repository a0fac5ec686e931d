"""Find few pixels that have much more noise over the frames than others of their light: they jump between levels."""

from collections.abc import Iterator

import numpy as np
from scipy.special import chdtr, chdtri

from noiseflow.fit.residue.relative_noise import RelativeNoise

__all__ = ["jumping_pixels"]

FRAMES = 3
"""Fewest frames of a pixel that is looked at."""

RARE = 1e-4
"""Chance that the noise of an ordinary pixel counts as that of one that jumps."""

FEW, LEAST = 0.1, 0.04
"""Largest fraction of pixels, and smallest fraction of the variance that they add, for a report."""

FALSE_ALARM = 1e-6
"""Chance of a word about pixels of normal noise."""


def jumping_pixels(noise: RelativeNoise) -> Iterator[str]:
    """Yield a sentence if few pixels have a large part of the variance over the frames.

    Of a pixel in F frames, the sum of the squared noise over that of its light follows χ² with F degrees of freedom.
    Its unit is that of the median pixel, which those that jump do not change.  Only pixels in the darker half are
    looked at, where read noise is the larger part.

    Parameters
    ----------
    noise : RelativeNoise
        Noise of a camera.
    """
    place, number = np.unique(noise.place, axis=0, return_inverse=True)
    order, frames = np.argsort(number.ravel(), kind="stable"), np.bincount(number.ravel(), minlength=len(place))
    starts = frames.cumsum() - frames
    square, seen, shot = (
        np.add.reduceat(each[order], starts)[frames >= FRAMES]
        for each in (np.square(noise.value), noise.seen.astype(np.int32), noise.shot)
    )
    pixels = seen >= FRAMES
    if not pixels.any():
        return
    pixels &= shot <= np.median(shot[pixels])
    square, seen = square[pixels], seen[pixels]
    # The median of χ² over its mean, by the median number of frames.
    usual = int(np.median(seen))
    unit = float(np.median(square / seen)) / (float(chdtri(usual, 0.5)) / usual)
    jumps = square > unit * chdtri(seen, RARE)
    share = float((square - unit * seen)[jumps].sum() / square.sum())
    part = float(jumps.mean())
    # Chance of so many or more, of the law of Poisson.
    chance = float(chdtr(2 * max(int(jumps.sum()), 1), 2 * RARE * len(jumps)))
    if share > LEAST and part < FEW and chance < FALSE_ALARM:
        yield (
            f"{100 * part:.2g} % of the pixels have {100 * share:.2g} % of the noise variance in the dark: "
            "pixels that jump between levels (telegraph noise), particles, or small things that move. The read noise "
            "of a model that is only a variance is too large for all other pixels; `physics_flow` has pixels that "
            "jump, and tails"
        )
