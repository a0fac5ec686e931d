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
"""Number of amplitudes that represent the exponential distribution: medians of equally likely parts of it."""

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def amplitudes() -> tuple[float, ...]:
    """Amplitudes of the equally likely classes, in units of the mean amplitude.

    >>> [round(each, 3) for each in amplitudes()]
    [0.134, 0.47, 0.981, 2.079]
    """
    return tuple(-math.log(1 - (number + 0.5) / CLASSES) for number in range(CLASSES))


class Telegraph(Part):
    """Random telegraph noise: a fraction of the pixels has a trap and jumps between two levels a distance A apart.

    The trap's state is a Markov chain over frames: per frame, an empty trap fills with probability u and a full one
    empties with probability d.  It is full u/(u + d) of the time, and the pixel's mean is 0.  The traps' mean variance
    over all pixels is part of the frame's noise variance, unless the pattern is added to it.  Amplitudes A are
    exponentially distributed, in `CLASSES` steps (`amplitudes`).  Telegraph pixels have no fixed pattern.  Which
    pixels they are is inferred from the frames.

    Parameters of the part: ``log_amplitude``, the log of the mean A, normalised; ``logit_fraction``, ``logit_up``
    and ``logit_down``, the logits of the fraction, u and d.

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
        """Fraction of telegraph pixels, float64, (B,)."""
        return self.at("logit_fraction", cond).sigmoid()

    def rates(self, cond: Resolved) -> tuple[Tensor, Tensor]:
        """Probabilities per frame of filling (u) and emptying (d), each float64, (B,)."""
        return self.at("logit_up", cond).sigmoid(), self.at("logit_down", cond).sigmoid()

    def mean_amplitude(self, cond: Resolved) -> Tensor:
        """Mean amplitude, normalised, float64, (B,)."""
        return self.at("log_amplitude", cond).exp()

    def variance(self, cond: Resolved) -> Tensor:
        """Variance of the traps averaged over pixels, fraction·E[A²]·p·(1 − p), p = u/(u + d), float64, (B,)."""
        up, down = self.rates(cond)
        full = up / (up + down)
        square = sum(step**2 for step in amplitudes()) / CLASSES
        return self.fraction(cond) * square * self.mean_amplitude(cond).square() * full * (1 - full)

    def facts(self, cond: Resolved) -> dict[str, float]:
        """Telegraph pixels per million, mean amplitude (normalised), and probabilities per frame of u and d."""
        up, down = self.rates(cond)
        return {
            "pixels_per_million": 1e6 * float(self.fraction(cond)[0]),
            "amplitude": float(self.mean_amplitude(cond)[0]),
            "up": float(up[0]),
            "down": float(down[0]),
        }


class TelegraphFilter:
    """Forward recursion of each pixel: probabilities of its class and of a full trap, given the past.

    Parameters
    ----------
    part : Telegraph
        Parameters of the telegraph noise.
    cond : Resolved
        Clean signal, ISO and camera of the first frame.
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
        """Log-density of each pixel of the next frame given its past, (B, N); the frame is then added to the past.

        Parameters
        ----------
        v : Tensor, shape (B, N)
            Latent of the frame without its shared part.
        log_plain : Tensor, shape (B, N)
            Log-density of v given the past if the pixel is not a telegraph pixel, nats.
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
