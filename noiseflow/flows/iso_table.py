"""Parameters tabulated at a camera's measured ISOs, interpolated at any ISO."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = [
    "ONE_ISO_LAW",
    "READ_SLOPE",
    "SAME_ISO",
    "SHOT_SLOPE",
    "IsoPlace",
    "at_iso",
    "at_signal",
    "conversion_steps",
    "falls",
    "range_caution",
    "read_at_iso",
    "read_variance_at",
    "switch_caution",
]

SHOT_SLOPE = 1.0
"""d ln β₁ / d ln ISO of a camera measured at a single ISO: β₁ = K/(white − black) is proportional to the ISO."""

READ_SLOPE = 1.0
"""d ln β₂ / d ln ISO assumed for a camera measured at a single ISO.

Read noise after the amplifier is constant in DN (slope 0); read noise before it grows with the gain (slope 2).
Cameras that this package knows at several ISOs have slopes of 0 to 1.8, with a median of 0.9.
"""

STEP = -0.21
"""A change of ln β₂ between fitted ISOs below this is a conversion-gain switch: read-noise σ falls below 0.9 times."""

SAME_ISO = 0.01
"""ISOs that differ by less than this fraction count as equal."""

STEEPEST = 2.0
"""Largest d ln β₂ / d ln ISO: that of read noise before the amplifier."""

ONE_ISO_LAW = (
    f"shot variance is proportional to ISO^{SHOT_SLOPE:g}, as in cameras whose gain is so too; read variance "
    f"to ISO^{READ_SLOPE:g}, by a rule; fit a second ISO to measure both"
)
"""The single-ISO rule in words, for warnings."""


def at_iso(table: Tensor, log_knots: Tensor, iso: Tensor, slope: float | Tensor = 0.0) -> Tensor:
    """Interpolate a table linearly in log ISO; extrapolate with the slope of the end interval.

    Parameters
    ----------
    table : Tensor, shape (B, K) or (K,)
        Values at the knots, for each element or shared.
    log_knots : Tensor, shape (K,)
        Natural log of the ISOs, rising.
    iso : Tensor, shape (B,)
        ISO of each element.
    slope : float or Tensor, shape (B,)
        Change per unit of log ISO; used only if the table has a single knot.

    Returns
    -------
    Tensor, shape (B,)
        Value of each element.

    Examples
    --------
    >>> at_iso(torch.tensor([1.0, 3.0]), torch.tensor([100.0, 400.0]).log(), torch.tensor([200.0]))
    tensor([2.])
    >>> at_iso(torch.tensor([1.0]), torch.tensor([100.0]).log(), torch.tensor([100.0, 271.8282]), slope=1.0)
    tensor([1., 2.])
    """
    return IsoPlace.of(log_knots.to(table.dtype), iso).read(table.expand(iso.shape[0], -1), slope)


@dataclass(frozen=True)
class IsoPlace:
    """Position of ISOs among the knots of a table, found once for all tables with the same knots.

    Parameters
    ----------
    log_knots : Tensor, shape (K,)
        Natural log of the ISOs of the knots, rising.
    log_iso : Tensor, shape (B,)
        Natural log of the ISOs.
    left : Tensor of int, shape (B,)
        Index of the knot to the left of each ISO; beyond the ends, the left knot of the end interval.
    weight : Tensor, shape (B,)
        Fraction of the way to the next knot, below 0 or above 1 beyond the ends.  With a single knot, log ISO minus
        that knot.
    """

    log_knots: Tensor
    log_iso: Tensor
    left: Tensor
    weight: Tensor

    @classmethod
    def of(cls, log_knots: Tensor, iso: Tensor) -> "IsoPlace":
        """Find the position of ISOs, shape (B,), in the dtype of the knots."""
        if log_knots.shape[0] == 1:
            # The log is computed as that of the knot was, so that the weight is exactly 0 at the fitted ISO.
            log_iso = iso.double().log().to(log_knots.dtype)
            return cls(log_knots, log_iso, torch.zeros_like(iso, dtype=torch.long), log_iso - log_knots)
        log_iso = iso.to(log_knots.dtype).log()
        # Count instead of searchsorted: tables have few knots, and ONNX has no searchsorted.
        left = (torch.sum(log_iso.detach()[:, None] > log_knots, 1) - 1).clamp(0, log_knots.shape[0] - 2)
        start = log_knots[left]
        return cls(log_knots, log_iso, left, (log_iso - start) / (log_knots[left + 1] - start))

    def ends(self, table: Tensor) -> tuple[Tensor, Tensor]:
        """Values of a table (B, ..., K) at the knots to the left and right of each ISO, (B, ...) each."""
        index = self.left.reshape(-1, *[1] * (table.ndim - 1)).expand(*table.shape[:-1], 1)
        return table.gather(-1, index)[..., 0], table.gather(-1, index + 1)[..., 0]

    def read(self, table: Tensor, slope: float | Tensor = 0.0) -> Tensor:
        """Interpolate or extrapolate a table (B, K) to shape (B,); see `at_iso`."""
        if self.log_knots.shape[0] == 1:
            return table[:, 0] + slope * self.weight
        return _mix(*self.ends(table), self.weight)

    def held(self, table: Tensor) -> Tensor:
        """Interpolate a table (B, C, K) to shape (B, C), constant beyond its ends."""
        if self.log_knots.shape[0] == 1:
            return table[..., 0]
        return _mix(*self.ends(table), self.weight.clamp(0.0, 1.0)[:, None])


def _mix(low: Tensor, high: Tensor, weight: Tensor) -> Tensor:
    # (1 − w)·low + w·high is exact at both knots, where low + w·(high − low) is not.
    return (1 - weight) * low + weight * high


def falls(table: Tensor) -> Tensor:
    """Whether ln β₂ falls from each fitted ISO to the next, which shows a switch of the conversion gain.

    With a fixed conversion gain the read-noise σ in DN can only grow with the ISO.

    Parameters
    ----------
    table : Tensor, shape (..., K)
        The values of ln β₂ at the knots.

    Returns
    -------
    Tensor of bool, shape (..., K − 1)
        True where ln β₂ changes by less than `STEP`.
    """
    return table.diff(dim=-1) < STEP


def conversion_steps(tables: Sequence[tuple[Tensor, Sequence[float]]]) -> list[tuple[int, float, float, float]]:
    """List the ISO steps at which read noise falls: there the conversion gain is switched (dual gain).

    Parameters
    ----------
    tables : sequence of (Tensor, sequence of float)
        For each camera: ln β₂ at the knots, (K,), and the ISOs of the knots, rising.

    Returns
    -------
    list of tuple
        Index of the camera, the ISOs below and above the step, and the read-noise σ above divided by that below.
    """
    return [
        (camera, isos[knot], isos[knot + 1], float((0.5 * table.detach().diff()[knot]).exp()))
        for camera, (table, isos) in enumerate(tables)
        for knot in falls(table.detach()).nonzero()[:, 0].tolist()
    ]


def switch_caution(isos: Tensor, step: Sequence[float], camera: str, model: str) -> str | None:
    """Warning text if any ISO lies strictly within a step of `conversion_steps`; None otherwise.

    Parameters
    ----------
    isos : Tensor, shape (N,)
        ISOs of one camera's samples.
    step : sequence of float
        The ISOs below and above the step, and the read-noise σ above divided by that below.
    camera, model : str
        Names of the camera and the kind of model, for the text.
    """
    below, above, factor = step
    inside = isos[(isos > (1 + SAME_ISO) * below) & (isos < (1 - SAME_ISO) * above)]
    if not len(inside):
        return None
    return (
        f"ISO {float(inside[0]):g} lies between ISO {below:g} and {above:g}, where the read noise of {camera} falls "
        f"to {factor:.2f} times its value: the conversion gain is switched there (dual gain). This {model} uses the "
        f"law of ISO {below:g} up to {above:g}; fit an ISO in between to find where it is switched"
    )


def range_caution(isos: Tensor, fitted: tuple[float, float], model: str, one_iso_rule: str) -> str | None:
    """Warning text if any ISO is more than 1 % outside the fitted range; None otherwise.

    Parameters
    ----------
    isos : Tensor, shape (N,)
        ISOs of the samples.
    fitted : tuple of float
        Lowest and highest fitted ISO.
    model : str
        Name of the kind of model, for the text.
    one_iso_rule : str
        Text for a model fitted at a single ISO: how it extrapolates.
    """
    low, high = fitted
    if not ((isos < 0.99 * low) | (isos > 1.01 * high)).any():
        return None
    outside = sorted({f"{iso:g}" for iso in isos.tolist() if not 0.99 * low <= iso <= 1.01 * high})
    rule = "its parameters are extrapolated in log ISO" if low < high else one_iso_rule
    return f"ISO {', '.join(outside[:3])} is outside {low:g}…{high:g}, the range this {model} was fitted on; {rule}"


def read_at_iso(table: Tensor, log_knots: Tensor, iso: Tensor, switched: Tensor | None = None) -> Tensor:
    """Interpolate ln β₂ in log ISO, with a step where the conversion gain is switched (dual gain).

    Where ln β₂ `falls` from one knot to the next, the gain is switched somewhere between them.  Cameras switch at an
    ISO of their dial, and the upper knot is the first ISO known to lie above the switch.  So in between, β₂ follows
    the law of the lower knot; only ISOs less than `SAME_ISO` below the upper knot take the value of that knot.  The
    law is the slope of the interval before, limited to 0 … `STEEPEST`, or `READ_SLOPE` if there is none.  Beyond the
    end of a table whose last step falls, the slope is `READ_SLOPE`.  Everywhere else see `at_iso`.

    Parameters
    ----------
    table : Tensor, shape (B, K) or (K,)
        The values of ln β₂ at the knots.
    log_knots : Tensor, shape (K,)
        Natural log of the ISOs, rising.
    iso : Tensor, shape (B,)
        ISO of each element.
    switched : Tensor of bool, shape (K − 1,), optional
        In which intervals the conversion gain is switched; if None, where the table `falls`.

    Returns
    -------
    Tensor, shape (B,)
        The value of ln β₂ for each element.

    Examples
    --------
    >>> knots, table = torch.tensor([400.0, 800.0]).log(), torch.tensor([2.0, 1.0])
    >>> read_at_iso(table, knots, torch.tensor([400.0, 500.0, 800.0, 1600.0])) - torch.tensor([2.0, 2.0, 1.0, 1.0])
    tensor([0.0000, 0.2231, 0.0000, 0.6931])
    """
    place = IsoPlace.of(log_knots.to(table.dtype), iso)
    return read_variance_at(place, table.expand(iso.shape[0], -1), switched)


def read_variance_at(place: IsoPlace, table: Tensor, switched: Tensor | None = None) -> Tensor:
    """`read_at_iso` for a table, shape (B, K), and ISO positions that are already known; returns (B,)."""
    if table.shape[1] == 1:
        return place.read(table, READ_SLOPE)
    low, high = place.ends(table)
    inside = high - low < STEP if switched is None else switched[place.left]
    return torch.where(inside, _law_below(place, table, low, high), _mix(low, high, place.weight))


def _law_below(place: IsoPlace, table: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Continue the law of the left knot up to the right knot; returns ln β₂, (B,)."""
    knots, left = place.log_knots, place.left
    earlier, start = (left - 1).clamp(min=0), knots[left]
    width = (start - knots[earlier]).clamp(min=1e-6)
    slope = ((low - table.gather(1, earlier[:, None])[:, 0]) / width).clamp(0.0, STEEPEST)
    slope = torch.where(left > 0, slope, READ_SLOPE)
    rest = knots[left + 1] - place.log_iso
    reached = high - READ_SLOPE * rest.clamp(max=0.0)
    return torch.where(rest < -math.log1p(-SAME_ISO), reached, low + slope * (place.log_iso - start))


def at_signal(table: Tensor, clean: Tensor) -> Tensor:
    """Interpolate a table linearly in signal, with K knots evenly spaced from black to white; constant beyond.

    Parameters
    ----------
    table : Tensor, shape (B, K)
        Values at the knots, for each element.
    clean : Tensor, shape (B, C, H, W)
        Clean signal, normalised.

    Returns
    -------
    Tensor, shape (B, C, H, W)
        Value at each pixel.
    """
    parts = table.shape[1] - 1
    place = (clean * parts).clamp(0, parts)
    left = place.detach().floor().clamp(max=parts - 1).long()
    low, high = (table.gather(1, index.flatten(1)).reshape(place.shape) for index in (left, left + 1))
    return low + (place - left) * (high - low)
