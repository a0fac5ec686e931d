"""Which likelihood a fit maximises where the user leaves it open: that of the integers, or their density."""

from dataclasses import dataclass

from noiseflow.fit.contradictions import Levels
from noiseflow.models.noise_statistics import NoiseStatistics

__all__ = ["ObjectiveChoice", "chosen_objective"]

ROUNDING = 1 / 12
"""Variance of rounding, DN²."""

COARSE = 0.02
"""Share of rounding in the variance from which codes are coarse: below a σ of 2.04 DN.

A density of the integers counts rounding as noise; samples are rounded once more, by this share too noisy.
"""

ENOUGH = 0.05
"""Least share of a camera's values at an ISO that the darkest cells must hold together, for their σ to count."""


@dataclass(frozen=True)
class ObjectiveChoice:
    """An objective and why it was taken.

    Parameters
    ----------
    name : str
        ``"continuous"`` or ``"discretised"``.
    reason : str
        The finest noise of the data against its codes, as a clause.
    """

    name: str
    reason: str


def chosen_objective(statistics: NoiseStatistics, levels: list[Levels]) -> ObjectiveChoice:
    """Take the probability of the integers where codes are coarse at any camera and ISO, the density elsewhere.

    Codes are coarse where rounding has a share of `COARSE` or more in the variance of the darkest values.

    Parameters
    ----------
    statistics : NoiseStatistics
        Of the training data.
    levels : list of Levels
        One for each camera of the statistics.
    """
    finest: tuple[float, str] | None = None
    for camera, name in enumerate(statistics.cameras):
        span = levels[camera].white - levels[camera].black
        for index, iso in enumerate(statistics.isos):
            cells = statistics.of(camera, index)
            if not len(cells.count):
                continue
            order = cells.clean.argsort()
            count, square = cells.count[order], cells.square[order]
            darkest = int((count.cumsum(0) < ENOUGH * count.sum()).sum()) + 1
            variance = float((count * square)[:darkest].sum() / count[:darkest].sum()) * span**2
            if finest is None or variance < finest[0]:
                finest = variance, f"{name} at ISO {iso:g}"
    if finest is None:
        return ObjectiveChoice("continuous", "no values")
    variance, where = finest
    coarse = COARSE * variance < ROUNDING
    share = f"rounding is {ROUNDING / variance:.1%} of the variance" if variance > 0 else "the noise is below one code"
    return ObjectiveChoice(
        "discretised" if coarse else "continuous", f"σ is {variance**0.5:.2f} DN in the dark of {where}, {share}"
    )
