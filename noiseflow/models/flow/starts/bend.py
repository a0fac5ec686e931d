"""Decide whether a camera's response is non-linear, from its shot-noise variance over the signal on held-out bands."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from noiseflow.flows.camera.bent_scale import PARTS, BentScale
from noiseflow.flows.camera.line_noise import numbered
from noiseflow.flows.camera.shot_read_scale import ShotReadScale
from noiseflow.flows.conditions import Resolved
from noiseflow.flows.iso_table import at_signal

__all__ = ["ChosenBend", "choose_bend"]

FOLDS = 2
"""Folds of the bands for cross-validation: each fold is scored with the bend fitted to the other."""

SURE = 3.0
"""A bend is kept if its held-out gain exceeds this many standard errors; if the true gain is 0, 1 in 700 does."""

WORTH = 1e-4
"""Smallest held-out gain for which a bend is kept, nats/dim; rows that flicker by 0.4 % gain half of that."""

MOST = 2048
"""Most patches used for the decision."""

BATCH = 256
"""Patches scored at a time."""

WIDE = 5
"""Side in pixels of the squares over which the clean signal is averaged."""

ROUGH, OWN = 0.02, 1.0
"""Pixels count if their clean signal differs from the average by at most this fraction of it, or so many σ of noise.

Between a dark and a bright side of an edge, the average is a signal that neither has.
"""

LEAST = 1 / WIDE**2
"""Part of a square that is at least taken as observed."""

CELLS = 256
"""Number of signal cells from black to white."""

SMOOTH = 100.0
"""Weight of the squared steps of the bend from knot to knot; where there are no values, the bend stays constant."""

STEPS = 60
"""Most iterations of the maximisation."""


@dataclass(frozen=True, eq=False)
class ChosenBend:
    """Result of the decision.

    Parameters
    ----------
    head : ShotReadScale
        The head with its bend, or the given head if no bend was found.
    note : str
        The finding in words, for users.
    """

    head: ShotReadScale
    note: str


@dataclass(frozen=True, eq=False)
class _Cells:
    """Number of values per signal cell, and sums of their shot variance, read variance and squares; each (CELLS,)."""

    count: Tensor
    shot: Tensor
    read: Tensor
    square: Tensor


@torch.no_grad()
def choose_bend(head: ShotReadScale, noise: Tensor, cond: Resolved, bands: Tensor, *, planes: int) -> ChosenBend:
    """Fit a bend per camera and ISO, and keep it if it improves held-out bands.

    It is kept if the log-density gains more than `SURE` standard errors and `WORTH` over a linear variance fitted to
    the same bands, and always if the head already is a `BentScale`.

    Parameters
    ----------
    head : ShotReadScale
        Shot and read noise, fitted with a variance linear in the signal.
    noise : Tensor, shape (B, C, H, W)
        Normalised noise.
    cond : Resolved
        Clean signal, ISO and camera of the noise.
    bands : Tensor of int, shape (B,) or (B, 2)
        Equal for patches on the same sensor rows.
    planes : int
        Planes of the noise.
    """
    cameras, isos = head.log_beta1.shape
    some = torch.arange(0, len(noise), -(-len(noise) // MOST))
    observed = None if cond.observed is None else cond.observed[some]
    # A clean signal estimated from other frames is noisy itself, most where the frame is noisy too.  Without the
    # averaging, dark pixels that happen to lie above black would seem to have shot noise.
    own = cond.clean[some]
    clean = (
        _averaged(own) if observed is None else _averaged(own * observed) / _averaged(observed.to(own)).clamp(min=LEAST)
    )
    cond = Resolved(clean, cond.iso[some], cond.camera[some], observed)
    cond = replace(cond, observed=_smooth(head, cond, own))
    noise, band = noise[some], numbered(bands[some])[1]
    knot = (cond.iso.log()[:, None] - head.log_isos.to(noise.dtype)).abs().argmin(1)
    seen = _lit(head, cond)
    lit = replace(cond, observed=seen)
    straight, trial = torch.zeros(2, cameras, isos, 3 + PARTS, dtype=torch.float64)
    gains = torch.zeros(int(band.max()) + 1, dtype=torch.float64)
    sizes = torch.bincount(band).double() * noise[0].numel()
    fold = band % FOLDS
    for each in range(FOLDS):
        for owner in range(cameras):
            for place in range(isos):
                both = (cond.camera == owner) & (knot == place)
                train = both & (fold != each)
                if bool(seen[train].any()):
                    cells = _cells(head, noise, lit, train)
                    straight[owner, place], trial[owner, place] = (
                        _fitted(cells, bends=bends) for bends in (False, True)
                    )
        for number in torch.split((fold == each).nonzero()[:, 0], BATCH):
            part = _part(lit, number)
            without, within = (
                _density(head, found[part.camera, knot[number]], noise[number], part) for found in (straight, trial)
            )
            gains.index_add_(0, band[number], within - without)
    gain = gains / sizes.clamp(min=1)
    mean, error = float(gain.mean()), float(gain.std() / len(gain) ** 0.5)
    worth = f"worth {mean:.5f} ± {2 * error:.5f} nats/dim on held-out rows"
    kept = len(gain) >= 2 * FOLDS and mean > SURE * error and mean > WORTH
    if not kept and not isinstance(head, BentScale):
        return ChosenBend(head, "non-linear response: none")
    bent = _like(head, planes).to(noise)
    for owner in range(cameras):
        for place in range(isos):
            own = (cond.camera == owner) & (knot == place)
            if bool(own.any()):
                _set(bent, head, owner, place, _fitted(_cells(head, noise, cond, own), bends=True))
    return ChosenBend(bent, f"non-linear response: {worth}")


def _averaged(values: Tensor) -> Tensor:
    return functional.avg_pool2d(values, WIDE, 1, WIDE // 2, count_include_pad=False)


def _smooth(head: ShotReadScale, cond: Resolved, clean: Tensor) -> Tensor:
    """Mask of observed pixels whose own clean signal is about the averaged one, as it is not at edges."""
    beta1, beta2 = head.betas(cond)
    sigma = (beta1 * cond.clean).clamp(min=0).add(beta2).sqrt()
    smooth = (clean - cond.clean).abs() <= torch.maximum(ROUGH * cond.clean, OWN * sigma)
    return smooth if cond.observed is None else smooth & cond.observed


def _lit(head: ShotReadScale, cond: Resolved) -> Tensor:
    """Mask of observed pixels with more shot noise than read noise.

    Other pixels do not show a bend.  Where codes are coarse, the variance of pixels at black is also not the sum of
    noise and rounding.
    """
    beta1, beta2 = head.betas(cond)
    lit = beta1 * cond.clean > beta2
    return lit if cond.observed is None else lit & cond.observed


def _like(head: ShotReadScale, planes: int) -> BentScale:
    cameras, isos = head.log_beta1.shape[0], head.log_isos.exp().tolist()
    bent = BentScale(planes, cameras, isos, shares_features=head.shares_features)
    bent.load_state_dict({**bent.state_dict(), **head.state_dict()})
    torch.nn.init.zeros_(bent.bend)
    return bent


def _part(cond: Resolved, rows: Tensor) -> Resolved:
    observed = None if cond.observed is None else cond.observed[rows]
    return Resolved(cond.clean[rows], cond.iso[rows], cond.camera[rows], observed)


def _cells(head: ShotReadScale, noise: Tensor, cond: Resolved, rows: Tensor) -> _Cells:
    given = _part(cond, rows.nonzero()[:, 0])
    beta1, beta2 = head.betas(given)
    cell = (given.clean.clamp(0, 1) * CELLS).long().clamp(max=CELLS - 1)
    seen = torch.ones_like(cell, dtype=torch.bool) if given.observed is None else given.observed
    square = noise[rows].square()
    values = (torch.ones_like(square), beta1 * given.clean, beta2.expand_as(square), square)
    sums = [torch.bincount(cell[seen], each[seen].double(), CELLS) for each in values]
    return _Cells(*sums)


def _fitted(cells: _Cells, *, bends: bool) -> Tensor:
    """Maximum-likelihood log factors of β₁ and β₂ and the bend at the knots, for normal noise, (2 + PARTS + 1,)."""
    seen = cells.count > 0
    count = cells.count[seen]
    shot, read, square = (each[seen] / count for each in (cells.shot, cells.read, cells.square))
    place = (torch.arange(CELLS, dtype=torch.float64)[seen] + 0.5) * PARTS / CELLS
    left = place.floor().long().clamp(max=PARTS - 1)
    weight = place - left
    found = torch.zeros(3 + PARTS, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([found], max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        bend = _level_in_the_dark(found[2:]) * float(bends)
        log = (1 - weight) * bend[left] + weight * bend[left + 1]
        variance = ((found[0] + log).exp() * shot + found[1].exp() * read).clamp(min=0.1 * read)
        value = (count * (variance.log() + square / variance)).sum() / count.sum()
        value = value + SMOOTH * (bend.diff().square().sum() + bend[:1].square().sum()) / count.sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    with torch.enable_grad():
        optimiser.step(loss)  # type: ignore[no-untyped-call]
    result = found.detach()
    if not bends:
        return torch.cat([result[:2], torch.zeros(PARTS + 1, dtype=torch.float64)])
    bend = _level_in_the_dark(result[2:])
    return torch.cat([result[:1] + bend[:1], result[1:2], bend - bend[0]])


def _level_in_the_dark(bend: Tensor) -> Tensor:
    """Set the first knot of the bend to the second: in the dark there is no shot noise to determine it.

    A free knot there would hardly affect the means of cells, but would affect pixels slightly above black.
    """
    return torch.cat([bend[1:2], bend[1:]])


def _set(scale: BentScale, head: ShotReadScale, owner: int, place: int, found: Tensor) -> None:
    scale.log_beta1[owner, place] = head.log_beta1[owner, place] + found[0]
    scale.log_beta2[owner, place] = head.log_beta2[owner, place] + found[1]
    scale.bend[owner, place] = found[2:]


def _density(head: ShotReadScale, found: Tensor, noise: Tensor, cond: Resolved) -> Tensor:
    """Log-density of each patch under normal noise with its `_fitted` parameters, nats without a constant, float64."""
    beta1, beta2 = head.betas(cond)
    log1, log2 = found[:, :2].to(noise).T[..., None, None, None]
    shot = beta1 * cond.clean * (log1 + at_signal(found[:, 2:].to(noise), cond.clean)).exp()
    read = beta2 * log2.exp()
    variance = torch.maximum(shot + read, 0.1 * read)
    each = -0.5 * (variance.log() + noise.square() / variance)
    if cond.observed is not None:
        each = each * cond.observed
    return each.sum((1, 2, 3), dtype=torch.float64)
