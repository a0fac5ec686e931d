"""Telegraph pixels: some pixels jump between two levels."""

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from noiseflow.flows.conditions import Resolved
from noiseflow.models.temporal.part import Part

__all__ = ["Telegraph", "TelegraphFilter", "amplitudes"]

CLASSES = 4
"""Number of amplitudes that stand for the exponential law: the middles of equally likely parts of it."""

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def amplitudes() -> tuple[float, ...]:
    """Amplitudes of the classes, their mean amplitude about 1, equally likely.

    >>> [round(each, 3) for each in amplitudes()]
    [0.134, 0.47, 0.981, 2.079]
    """
    return tuple(-math.log(1 - (number + 0.5) / CLASSES) for number in range(CLASSES))


class Telegraph(Part):
    """A fraction of the pixels has a trap that is empty or full: two levels, A apart, a Markov chain over the frames.

    Per frame an empty trap fills with probability u, a full one empties with d; it is full u/(u + d) of the time,
    and the pixel's mean is 0.  The variance that traps make, in the mean over all pixels, is part of that of the
    frame's noise, unless a pattern is added to it.  Amplitudes A are exponential, in `CLASSES` steps (`amplitudes`).
    Such a pixel has no share in the fixed pattern; which pixels they are only the frames show.

    ``log_amplitude`` is the log of the mean A, normalised; ``logit_fraction``, ``logit_up`` and ``logit_down``
    give fraction, u and d.

    References
    ----------
    Rabiner: A tutorial on hidden Markov models, Proc. IEEE 77, 1989, eq. 19–20 (the forward recursion).
    """

    starts: ClassVar[Mapping[str, float]] = {
        "log_amplitude": math.log(1e-3),
        "logit_fraction": -6.0,
        "logit_up": -2.0,
        "logit_down": -2.0,
    }

    log_amplitude: nn.Parameter
    logit_fraction: nn.Parameter

    def fraction(self, cond: Resolved) -> Tensor:
        """Fraction of the pixels that are telegraph pixels, float64, (B,)."""
        return self.at("logit_fraction", cond).sigmoid()

    def rates(self, cond: Resolved) -> tuple[Tensor, Tensor]:
        """U and d of each element, float64, (B,)."""
        return self.at("logit_up", cond).sigmoid(), self.at("logit_down", cond).sigmoid()

    def mean_amplitude(self, cond: Resolved) -> Tensor:
        """Mean amplitude, normalised, float64, (B,)."""
        return self.at("log_amplitude", cond).exp()

    def variance(self, cond: Resolved) -> Tensor:
        """Mean over pixels of the variance that traps make, π·E[A²]·p·(1 − p), normalised, float64, (B,)."""
        up, down = self.rates(cond)
        full = up / (up + down)
        square = sum(step**2 for step in amplitudes()) / CLASSES
        return self.fraction(cond) * square * self.mean_amplitude(cond).square() * full * (1 - full)

    def facts(self, cond: Resolved) -> dict[str, float]:
        """Pixels per million, mean amplitude, and rates per frame."""
        up, down = self.rates(cond)
        return {
            "pixels_per_million": 1e6 * float(self.fraction(cond)[0]),
            "amplitude": float(self.mean_amplitude(cond)[0]),
            "up": float(up[0]),
            "down": float(down[0]),
        }


class TelegraphFilter:
    """The forward recursion of each pixel: which class it is of, and whether its trap is full, given the past.

    Parameters
    ----------
    part : Telegraph
        Its parameters.
    cond : Resolved
        Resolved conditions of the first frame.
    """

    def __init__(self, part: Telegraph, cond: Resolved) -> None:
        fraction = part.fraction(cond)[:, None, None]
        self.up, self.down = (rate[:, None, None] for rate in part.rates(cond))
        self.full = self.up / (self.up + self.down)
        mean, steps = part.mean_amplitude(cond)[:, None, None], torch.tensor(amplitudes(), dtype=torch.float64)
        self.amplitude = mean * steps.to(mean.device)[:, None]
        weights = torch.cat([1 - fraction, (fraction / CLASSES).expand(-1, CLASSES, 1)], 1)
        self.log_weight = weights.log()
        self.is_full = self.full.expand(-1, CLASSES, 1)

    def step(self, v: Tensor, log_plain: Tensor, per_sigma: Tensor, variance: Tensor, seen: Tensor | None) -> Tensor:
        """Log-density of one frame of each pixel given its past, (B, N); the frame becomes past.

        Parameters
        ----------
        v : Tensor, shape (B, N)
            Latent of the frame without what all pixels share.
        log_plain : Tensor, shape (B, N)
            Its log-density given the past, were the pixel no telegraph pixel.
        per_sigma : Tensor, shape (B, N)
            1/σ of the frame's noise.
        variance : Tensor, shape (B, N)
            Variance of a telegraph pixel's latent around its level.
        seen : Tensor of float64, shape (B, N), optional
            0 where the pixel is masked.
        """
        jump = self.amplitude * per_sigma[:, None]
        empty, full = (
            -0.5 * ((v[:, None] - level * jump).square() / variance[:, None] + variance[:, None].log()) - HALF_LOG_2PI
            for level in (-self.full, 1 - self.full)
        )
        if seen is not None:
            empty, full, log_plain = empty * seen[:, None], full * seen[:, None], log_plain * seen
        joint_full, joint_empty = self.is_full.log() + full, (-self.is_full).log1p() + empty
        log_class = torch.cat([log_plain[:, None], torch.logaddexp(joint_full, joint_empty)], 1)
        joint = self.log_weight + log_class
        log_density = joint.logsumexp(1)
        self.log_weight = joint - log_density[:, None]
        now = (joint_full - joint_empty).sigmoid()
        self.is_full = now * (1 - self.down) + (1 - now) * self.up
        return log_density
