"""Dequantisation: draws of an analogue value within the interval of each integer code."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from noiseflow.flows.conditions import Resolved
from noiseflow.flows.nets.conditional_net import ConditionalNet
from noiseflow.models.adc_levels import Cells, log_normal_interval
from noiseflow.ops.random import sampling
from noiseflow.ops.rational_quadratic import knots_from, rational_quadratic

__all__ = ["Dequantiser", "Proposal", "VariationalDequantiser", "truncated_normal", "uniform"]

FAR = 25.0
"""Distance from the mean in σ beyond which the normal is approximated by an exponential."""

Proposal = Callable[[Tensor, Cells, Tensor], tuple[Tensor, Tensor]]
"""Function of quantiles u in (0, 1), cells and σ; returns noise values and their log q, both float64, (B, C, H, W)."""


def uniform(u: Tensor, cells: Cells, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Uniform distribution over the code's interval; for clipped codes, whose tail is unbounded, `truncated_normal`.

    References
    ----------
    Theis, van den Oord, Bethge: A note on the evaluation of generative models, ICLR 2016,
    section 3.1.
    """
    width = cells.high - cells.low
    noise, log_q = cells.low + u * width, -width.log()
    if not cells.clipped.any():
        return noise, log_q
    tail, log_tail = truncated_normal(u, cells, scale)
    return torch.where(cells.clipped, tail, noise), torch.where(cells.clipped, log_tail, log_q)


def truncated_normal(u: Tensor, cells: Cells, scale: Tensor) -> tuple[Tensor, Tensor]:
    """N(0, σ²) truncated to the code's interval or tail: the exact posterior if the noise is N(0, σ²).

    Values are drawn by the quantile function on the left half, where Φ keeps its precision.  Beyond 25 σ an
    exponential distribution, which is close to the normal there, is used instead.

    References
    ----------
    Robert: Simulation of truncated normal variables, Statistics and Computing 1995, section 2.
    """
    scale = scale.double()
    low, high = cells.low / scale, cells.high / scale
    mirrored = torch.where(cells.clipped, cells.at_white, low + high > 0)
    a, b = torch.where(mirrored, -high, low), torch.where(mirrored, -low, high)
    u = torch.where(mirrored, 1 - u, u)
    far = b < -FAR
    # Both branches are computed with finite arguments; `where` selects the valid one.
    near_b, near_a = torch.where(far, -FAR, b), torch.where(far, -FAR - 1, a)
    mass_a = torch.where(cells.clipped, 0.0, _below(near_a))
    z = torch.special.ndtri(mass_a + u * (_below(near_b) - mass_a))
    z = torch.where(cells.clipped, z, torch.maximum(z, near_a)).minimum(near_b)
    log_mass = torch.where(cells.clipped, torch.special.log_ndtr(near_b), log_normal_interval(near_a, near_b))
    log_q = -0.5 * (z.square() + math.log(2 * math.pi)) - log_mass
    if far.any():
        rate = torch.where(far, -b, FAR)
        lost = torch.where(cells.clipped, 0.0, (rate * (a - b)).exp())
        beyond = (u + (1 - u) * lost).log()
        z = torch.where(far, b + beyond / rate, z)
        log_q = torch.where(far, rate.log() + beyond - (-lost).log1p(), log_q)
    return torch.where(mirrored, -z, z) * scale, log_q - scale.log()


class Dequantiser(nn.Module):
    """The stochastic inverse of rounding and clipping: draws analogue noise for integer codes.

    Rounding and clipping map many values to one code; their inverse is a distribution q(x|code) on the code's
    interval.  It gives the evidence lower bound (ELBO) log P(code) ≥ E_q [log p(x) − log q(x|code)].

    Parameters
    ----------
    proposal : Proposal
        `truncated_normal`, or `uniform`, which is usual in the literature.

    References
    ----------
    Nielsen, Jaini, Hoogeboom, Winther, Welling: SurVAE flows, NeurIPS 2020, section 3 and
    table 3 (rounding).
    """

    def __init__(self, proposal: Proposal = truncated_normal) -> None:
        super().__init__()
        self.proposal = proposal

    def forward(
        self, cells: Cells, cond: Resolved, scale: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw noise within each code.

        Parameters
        ----------
        cells : Cells
            Intervals of the codes.
        cond : Resolved
            Clean signal, ISO and camera of the codes.
        scale : Tensor, shape (B, C, H, W)
            Approximate σ of the noise, normalised.
        generator : torch.Generator, optional
            Random generator.

        Returns
        -------
        noise, log_q : Tensor of float64, shape (B, C, H, W)
            Drawn noise and its log-density under q.
        """
        return self.proposal(_random(cells, generator), cells, scale)


class VariationalDequantiser(Dequantiser):
    """A trainable dequantiser: a spline per pixel transforms the quantiles of its proposal.

    v = spline(u; net(code, cond)) on [0, 1], x is the proposal's quantile at v, and
    log q(x|code) = log q_proposal(x|code) − log spline′(u).  Before training it equals the proposal; training
    maximises the bound.

    Parameters
    ----------
    planes, cameras : int
        Numbers of planes and cameras.
    proposal : Proposal
        Distribution whose quantiles are transformed.
    bins, width : int
        Number of bins of the spline, and hidden planes of the net.
    generator : torch.Generator, optional
        Draws the initial weights.

    References
    ----------
    Ho, Chen, Srinivas, Duan, Abbeel: Flow++: improving flow-based generative models with
    variational dequantization and architecture design, ICML 2019, section 3.1.
    """

    def __init__(
        self,
        planes: int,
        cameras: int,
        proposal: Proposal = uniform,
        bins: int = 8,
        width: int = 16,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(proposal)
        self.bins = bins
        self.net = ConditionalNet(3 * planes, planes * (3 * bins - 1), planes, cameras, width, 3, generator=generator)

    def forward(
        self, cells: Cells, cond: Resolved, scale: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw noise within each code; see `Dequantiser.forward`."""
        height = cells.high - cells.low
        clipped = cells.at_white.double() - cells.at_black.double()
        inputs = [((cells.low + cells.high) / (2 * height)).asinh(), (scale / height).log(), clipped]
        raw = self.net(torch.cat(inputs, 1).to(cond.clean.dtype), cond).double()
        batch, planes, rows, columns = cond.clean.shape
        raw = raw.reshape(batch, planes, 3 * self.bins - 1, rows, columns).permute(0, 1, 3, 4, 2)
        v, log_slope = rational_quadratic(_random(cells, generator) - 0.5, knots_from(raw, self.bins, 0.5))
        noise, log_q = self.proposal(v + 0.5, cells, scale)
        return noise, log_q - log_slope


def _below(z: Tensor) -> Tensor:
    """Φ(z) by erfc, because `torch.special.ndtr` returns 0 below −8.3."""
    return 0.5 * torch.erfc(-math.sqrt(0.5) * z)


def _random(cells: Cells, generator: torch.Generator | None) -> Tensor:
    # u = 0 would give an infinite value in a tail.
    return sampling.uniform(cells.low, generator).clamp(min=1e-15, max=1 - 1e-15)
