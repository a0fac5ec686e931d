"""Parameters tabulated at a camera's measured ISOs, read at any ISO."""

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
"""d ln β₁ / d ln ISO of a camera that was seen at one ISO: K, and with it β₁ = K/(white − black), goes with the ISO."""

READ_SLOPE = 1.0
"""d ln β₂ / d ln ISO of a camera that was seen at one ISO, a rule.

Read noise after the amplifier stays as it is in DN (slope 0), that before it grows with the gain (slope 2).  Of the
cameras that this package knows at several ISOs the slopes are 0 to 1.8, the median 0.9.
"""

STEP = -0.21
"""Change of ln β₂ from one fitted ISO to the next below which the conversion gain is switched: σ falls to 0.9."""

SAME_ISO = 0.01
"""ISOs that differ by less than this fraction are one."""

STEEPEST = 2.0
"""d ln β₂ / d ln ISO of noise before the amplifier, the largest."""

ONE_ISO_LAW = (
    f"shot variance goes with ISO^{SHOT_SLOPE:g} as in every camera whose gain follows the dial, read variance with "
    f"ISO^{READ_SLOPE:g} by a rule; fit a second ISO to measure both"
)
"""The rule in words."""


def at_iso(table: Tensor, log_knots: Tensor, iso: Tensor, slope: float | Tensor = 0.0) -> Tensor:
    """Interpolate a table linearly in log ISO; beyond its ends go on with the last slope.

    Parameters
    ----------
    table : Tensor, shape (B, K) or (K,)
        Values at the knots, for each element or shared.
    log_knots : Tensor, shape (K,)
        Natural log of the ISOs, rising.
    iso : Tensor, shape (B,)
        ISO of each element.
    slope : float or Tensor, shape (B,)
        Change per unit of log ISO that a table with one knot is given.

    Returns
    -------
    Tensor, shape (B,)

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
    """Where ISOs lie among the knots of tables: found once, for all the tables that are read there.

    Parameters
    ----------
    log_knots : Tensor, shape (K,)
        Natural log of the ISOs of the knots, rising.
    log_iso : Tensor, shape (B,)
        Natural log of the ISOs.
    left : Tensor of int, shape (B,)
        Index of the knot to the left of each; of the first or the last but one beyond the ends.
    weight : Tensor, shape (B,)
        Part of the way to the next knot: below 0 and above 1 beyond the ends.  Of one knot the log ISO above it.
    """

    log_knots: Tensor
    log_iso: Tensor
    left: Tensor
    weight: Tensor

    @classmethod
    def of(cls, log_knots: Tensor, iso: Tensor) -> "IsoPlace":
        """The place of ISOs, shape (B,), in the dtype of the knots."""
        if log_knots.shape[0] == 1:
            # As the knot was computed, so that nothing is added at the fitted ISO itself.
            log_iso = iso.double().log().to(log_knots.dtype)
            return cls(log_knots, log_iso, torch.zeros_like(iso, dtype=torch.long), log_iso - log_knots)
        log_iso = iso.to(log_knots.dtype).log()
        # Counted, not searched: a table has few knots, and ONNX has no searchsorted.
        left = (torch.sum(log_iso.detach()[:, None] > log_knots, 1) - 1).clamp(0, log_knots.shape[0] - 2)
        start = log_knots[left]
        return cls(log_knots, log_iso, left, (log_iso - start) / (log_knots[left + 1] - start))

    def ends(self, table: Tensor) -> tuple[Tensor, Tensor]:
        """Values at the knots to the left and to the right, each (B, ...), of a table (B, ..., K)."""
        index = self.left.reshape(-1, *[1] * (table.ndim - 1)).expand(*table.shape[:-1], 1)
        return table.gather(-1, index)[..., 0], table.gather(-1, index + 1)[..., 0]

    def read(self, table: Tensor, slope: float | Tensor = 0.0) -> Tensor:
        """A table (B, K) at the place, shape (B,): see `at_iso`."""
        if self.log_knots.shape[0] == 1:
            return table[:, 0] + slope * self.weight
        return _mix(*self.ends(table), self.weight)

    def held(self, table: Tensor) -> Tensor:
        """A table (B, C, K) at the place, shape (B, C): constant beyond its ends."""
        if self.log_knots.shape[0] == 1:
            return table[..., 0]
        return _mix(*self.ends(table), self.weight.clamp(0.0, 1.0)[:, None])


def _mix(low: Tensor, high: Tensor, weight: Tensor) -> Tensor:
    # (1 − w)·low + w·high is exact at both knots, where low + w·(high − low) is not.
    return (1 - weight) * low + weight * high


def falls(table: Tensor) -> Tensor:
    """Where ln β₂ falls from a fitted ISO to the next: one chain of amplifier and converter has σ that only grows.

    Parameters
    ----------
    table : Tensor, shape (..., K)
        Ln β₂ at the knots.

    Returns
    -------
    Tensor of bool, shape (..., K − 1)
    """
    return table.diff(dim=-1) < STEP


def conversion_steps(tables: Sequence[tuple[Tensor, Sequence[float]]]) -> list[tuple[int, float, float, float]]:
    """Where the read noise falls while the ISO rises: the conversion gain is switched there (dual gain).

    Parameters
    ----------
    tables : sequence of (Tensor, sequence of float)
        For each camera ln β₂ at the knots, (K,), and the knots, rising.

    Returns
    -------
    list of tuple
        Number of the camera, the ISOs below and above, and σ above over σ below.
    """
    return [
        (camera, isos[knot], isos[knot + 1], float((0.5 * table.detach().diff()[knot]).exp()))
        for camera, (table, isos) in enumerate(tables)
        for knot in falls(table.detach()).nonzero()[:, 0].tolist()
    ]


def switch_caution(isos: Tensor, step: Sequence[float], camera: str, model: str) -> str | None:
    """Warning where one of some ISOs lies in a step of `conversion_steps`; None if none does.

    Parameters
    ----------
    isos : Tensor, shape (N,)
        ISOs of one camera's samples.
    step : sequence of float
        The ISOs below and above, and σ above over σ below.
    camera, model : str
        Their names, for the text.
    """
    below, above, factor = step
    inside = isos[(isos > (1 + SAME_ISO) * below) & (isos < (1 - SAME_ISO) * above)]
    if not len(inside):
        return None
    return (
        f"ISO {float(inside[0]):g} lies between ISO {below:g} and {above:g}, where the read noise of {camera} falls "
        f"to {factor:.2f} of itself: the conversion gain is switched there (dual gain). This {model} takes the law of "
        f"ISO {below:g} up to {above:g}; fit an ISO in between to know where it is switched"
    )


def range_caution(isos: Tensor, fitted: tuple[float, float], model: str, one_iso_rule: str) -> str | None:
    """Warning where an ISO is outside the fitted range; None if none is.

    Parameters
    ----------
    isos : Tensor, shape (N,)
        ISOs of the samples.
    fitted : tuple of float
        Lowest and highest fitted ISO.
    model : str
        Its name, for the text.
    one_iso_rule : str
        What the model does where it was fitted at one ISO.
    """
    low, high = fitted
    if not ((isos < 0.99 * low) | (isos > 1.01 * high)).any():
        return None
    outside = sorted({f"{iso:g}" for iso in isos.tolist() if not 0.99 * low <= iso <= 1.01 * high})
    rule = "its parameters are extrapolated in log ISO" if low < high else one_iso_rule
    return f"ISO {', '.join(outside[:3])} is outside {low:g}…{high:g}, at which this {model} was fitted; {rule}"


def read_at_iso(table: Tensor, log_knots: Tensor, iso: Tensor, switched: Tensor | None = None) -> Tensor:
    """`at_iso` of ln β₂, with a switch of the conversion gain (dual gain) where it falls from a knot to the next.

    Between these two β₂ follows the law of the lower one: cameras switch at an ISO of their dial, and the upper knot
    is the first that is known to lie above; an ISO less than `SAME_ISO` below it is that knot's.  The law is the slope
    from the knot before, within 0 to `STEEPEST`, or `READ_SLOPE` where there is none; beyond the ends of the table it
    is `READ_SLOPE` if the last step falls.

    Parameters
    ----------
    table : Tensor, shape (B, K) or (K,)
        Ln β₂ at the knots.
    log_knots : Tensor, shape (K,)
        Natural log of the ISOs, rising.
    iso : Tensor, shape (B,)
        ISO of each element.
    switched : Tensor of bool, shape (K − 1,), optional
        From which knots to the next the conversion gain is switched; where the table `falls` if None.

    Returns
    -------
    Tensor, shape (B,)

    Examples
    --------
    >>> knots, table = torch.tensor([400.0, 800.0]).log(), torch.tensor([2.0, 1.0])
    >>> read_at_iso(table, knots, torch.tensor([400.0, 500.0, 800.0, 1600.0])) - torch.tensor([2.0, 2.0, 1.0, 1.0])
    tensor([0.0000, 0.2231, 0.0000, 0.6931])
    """
    place = IsoPlace.of(log_knots.to(table.dtype), iso)
    return read_variance_at(place, table.expand(iso.shape[0], -1), switched)


def read_variance_at(place: IsoPlace, table: Tensor, switched: Tensor | None = None) -> Tensor:
    """`read_at_iso` of a table, shape (B, K), at a place that is known."""
    if table.shape[1] == 1:
        return place.read(table, READ_SLOPE)
    low, high = place.ends(table)
    inside = high - low < STEP if switched is None else switched[place.left]
    return torch.where(inside, _law_below(place, table, low, high), _mix(low, high, place.weight))


def _law_below(place: IsoPlace, table: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Ln β₂ by the law of the knot to the left, up to the one to the right."""
    knots, left = place.log_knots, place.left
    earlier, start = (left - 1).clamp(min=0), knots[left]
    width = (start - knots[earlier]).clamp(min=1e-6)
    slope = ((low - table.gather(1, earlier[:, None])[:, 0]) / width).clamp(0.0, STEEPEST)
    slope = torch.where(left > 0, slope, READ_SLOPE)
    rest = knots[left + 1] - place.log_iso
    reached = high - READ_SLOPE * rest.clamp(max=0.0)
    return torch.where(rest < -math.log1p(-SAME_ISO), reached, low + slope * (place.log_iso - start))


def at_signal(table: Tensor, clean: Tensor) -> Tensor:
    """Interpolate a table over the signal linearly, its knots evenly from black to white; constant beyond.

    Parameters
    ----------
    table : Tensor, shape (B, K)
        Values at the knots, for each element.
    clean : Tensor, shape (B, C, H, W)
        Normalised signal.

    Returns
    -------
    Tensor, shape (B, C, H, W)
    """
    parts = table.shape[1] - 1
    place = (clean * parts).clamp(0, parts)
    left = place.detach().floor().clamp(max=parts - 1).long()
    low, high = (table.gather(1, index.flatten(1)).reshape(place.shape) for index in (left, left + 1))
    return low + (place - left) * (high - low)
