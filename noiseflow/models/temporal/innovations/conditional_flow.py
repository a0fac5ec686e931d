"""A small conditional flow for the innovations that the other parts leave."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from noiseflow.flows.conditions import Resolved
from noiseflow.models.model import ModelSpec
from noiseflow.models.temporal.part import InnovationPart

__all__ = ["ConditionalFlow"]

HIDDEN = 8
"""Number of hidden units."""

CENTRE, SCALE = (0.0, 0.53, 0.0, 0.65, 0.66), (1.0, 0.53, 0.58, 0.23, 0.24)
"""Mean and σ of the net's five inputs if innovations are independent; the inputs are standardised by them."""

MOST_SHIFT, MOST_LOG_SCALE = 3.0, 2.0
"""Bounds of |shift| and |log scale|, which keep samples finite however long the sequence is."""


class ConditionalFlow(InnovationPart):
    """An affine transform of each pixel's innovation; a net predicts shift and log scale from earlier innovations.

    The inputs for a pixel are its last innovation w, log(1 + w²), an exponential moving average of w, log(1 + such an
    average of w²), and log(1 + the mean of w² over the eight neighbours in the last frame).  The net is a linear map
    plus eight tanh units, and starts as the identity.  It can describe an ARCH or GARCH process, non-linear image lag,
    and pixels that are noisier than others.  VideoFlow conditions each level of a multi-scale latent in this way; the
    level above is `BlockFlow`.

    Parameters of the part: ``strength``, a factor by camera and ISO.  The net is common to all of them.

    References
    ----------
    Kumar et al.: VideoFlow: A conditional flow-based model for stochastic video generation, ICLR 2020, eq. 4–6.
    Bollerslev: Generalized autoregressive conditional heteroskedasticity, J. Econometrics 31, 1986.
    """

    starts: ClassVar[Mapping[str, float]] = {"strength": 1.0}
    centre: Tensor
    scale: Tensor

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        draw = torch.Generator().manual_seed(0)
        self.logit_rates = nn.Parameter(torch.tensor([0.0, 1.5]))
        self.into = nn.Parameter(torch.randn(HIDDEN, len(SCALE), generator=draw) / len(SCALE) ** 0.5)
        self.into_bias = nn.Parameter(torch.randn(HIDDEN, generator=draw))
        self.out = nn.Parameter(torch.zeros(2, HIDDEN))
        self.across = nn.Parameter(torch.zeros(2, len(SCALE)))
        self.out_bias = nn.Parameter(torch.zeros(2))
        self._constant("centre", torch.tensor(CENTRE))
        self._constant("scale", torch.tensor(SCALE))

    def law(self, past: Tensor, amount: Tensor) -> tuple[Tensor, Tensor]:
        """Shift and log scale of the next innovation, as in `InnovationPart`."""
        w, last, mean, square, near = past.unbind(1)
        read = torch.stack([w, last.log1p(), mean, square.log1p(), near.log1p()], 1).flatten(2)
        into, bias, out, across, out_bias, centre, scale = (
            each.to(past)
            for each in (self.into, self.into_bias, self.out, self.across, self.out_bias, self.centre, self.scale)
        )
        read = (read - centre[:, None]) / scale[:, None]
        units = torch.tanh(into @ read + bias[:, None])
        found = amount.to(past)[:, None, None] * (out @ units + across @ read + out_bias[:, None])
        shift, log_scale = found.unflatten(2, w.shape[1:]).unbind(1)  # type: ignore[no-untyped-call]
        return _bounded(shift, MOST_SHIFT), _bounded(log_scale, MOST_LOG_SCALE)

    def remember(self, past: Tensor | None, w: Tensor, square: Tensor) -> Tensor:
        """The last innovation and its square, moving averages of both, and its neighbours' mean square."""
        before = (torch.zeros_like(w), torch.ones_like(w)) if past is None else (past[:, 2], past[:, 3])
        rates = self.logit_rates.to(w).sigmoid()
        means = [rate * old + (1 - rate) * new for rate, old, new in zip(rates, before, (w, square), strict=True)]
        return torch.stack([w, square, *means, _of_neighbours(square)], 1)

    def facts(self, cond: Resolved) -> dict[str, float]:
        """σ of a pixel's innovation after one of 0 and after one of 3 σ, and its mean after one of 3 σ."""
        last = torch.tensor([0.0, 3.0], dtype=torch.float64)
        usual = torch.ones_like(last)
        past = torch.stack([last, last.square(), 0 * usual, usual, usual], 1)[:, :, None, None, None]
        shift, log_scale = self.law(past, self.amount(cond)[:1].expand(2).cpu())
        sigma = log_scale.exp().flatten().tolist()
        return {"sigma_after_0": sigma[0], "sigma_after_3": sigma[1], "mean_after_3": float(shift[1].detach())}


def _bounded(value: Tensor, most: float) -> Tensor:
    return most * torch.tanh(value / most)


def _of_neighbours(values: Tensor) -> Tensor:
    """Mean over the up to eight neighbours of each pixel within the frame, 0 if there are none."""
    count = _sum_of_nine(torch.ones_like(values[:1, :1])) - 1
    return (_sum_of_nine(values) - values).clamp(min=0) / count.clamp(min=1)


def _sum_of_nine(values: Tensor) -> Tensor:
    rows = pad(values, (0, 0, 1, 1))
    rows = rows[..., :-2, :] + rows[..., 1:-1, :] + rows[..., 2:, :]
    both = pad(rows, (1, 1, 0, 0))
    return both[..., :-2] + both[..., 1:-1] + both[..., 2:]
