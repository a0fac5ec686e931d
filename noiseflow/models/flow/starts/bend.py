"""Whether a camera's response bends: the variance of its shot noise over the signal, tried on held-out bands."""

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
"""Parts of the bands: each is scored by a bend that was fitted to the other."""

SURE = 3.0
"""Standard errors of the held-out gain from which a bend is kept: 1 in 700 by chance, were the gain 0."""

WORTH = 1e-4
"""Least held-out gain for which a bend is kept, nats/dim: rows that flicker by 0.4 % gain half of it."""

MOST = 2048
"""Most patches that decide."""

BATCH = 256
"""Patches that are scored at a time."""

WIDE = 5
"""Side of the squares of pixels over which the clean signal is averaged."""

CELLS = 256
"""Cells of signal from black to white."""

SMOOTH = 100.0
"""Weight of the squared steps of the bend from knot to knot: where no value is, it goes on as it was."""

STEPS = 60
"""Steps of the maximisation."""


@dataclass(frozen=True, eq=False)
class ChosenBend:
    """What was found.

    Parameters
    ----------
    head : ShotReadScale
        The head with its bend; the given one where none was found.
    note : str
        In words.
    """

    head: ShotReadScale
    note: str


@dataclass(frozen=True, eq=False)
class _Cells:
    """Values, and the sums of their shot variance, read variance and squares, in cells of signal; each (CELLS,)."""

    count: Tensor
    shot: Tensor
    read: Tensor
    square: Tensor


@torch.no_grad()
def choose_bend(head: ShotReadScale, noise: Tensor, cond: Resolved, bands: Tensor, *, planes: int) -> ChosenBend:
    """Fit a bend for each camera at each of its ISOs, and keep it if held-out bands gain by it.

    It is kept if the log-density gains by `SURE` standard errors and `WORTH` over a straight line fitted to the
    same bands; always by a head that is a `BentScale`.

    Parameters
    ----------
    head : ShotReadScale
        Shot and read noise, fitted to the variance as a line over the signal.
    noise : Tensor, shape (B, C, H, W)
        Normalised noise.
    cond : Resolved
        Resolved conditions of the noise.
    bands : Tensor of int, shape (B,) or (B, 2)
        Equal for patches on the same sensor rows.
    planes : int
        Planes of the noise.
    """
    cameras, isos = head.log_beta1.shape
    some = torch.arange(0, len(noise), -(-len(noise) // MOST))
    observed = None if cond.observed is None else cond.observed[some]
    # A clean signal from other frames has noise of its own, which is large where that of the frame is: in the dark
    # a pixel above black would seem to have shot noise.
    clean = functional.avg_pool2d(cond.clean[some], WIDE, 1, WIDE // 2, count_include_pad=False)
    cond = Resolved(clean, cond.iso[some], cond.camera[some], observed)
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
                own = (cond.camera == owner) & (knot == place)
                train = own & (fold != each)
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
        return ChosenBend(head, "bend: none")
    bent = _like(head, planes).to(noise)
    for owner in range(cameras):
        for place in range(isos):
            own = (cond.camera == owner) & (knot == place)
            if bool(own.any()):
                _set(bent, head, owner, place, _fitted(_cells(head, noise, cond, own), bends=True))
    return ChosenBend(bent, f"a response that bends: {worth}")


def _lit(head: ShotReadScale, cond: Resolved) -> Tensor:
    """Observed pixels with more shot noise than read noise.

    Others know of no bend, and where codes are coarse the variance of those at black is not that of noise and rounding.
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
    """Log factors of β₁ and β₂, and the bend at the knots, by the likelihood of normal noise, (2 + PARTS + 1,)."""
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
    """The bend with its first knot as its second: in the dark there is no shot noise that would tell it.

    A free knot there does not show in the means of cells, but in each pixel a little above black.
    """
    return torch.cat([bend[1:2], bend[1:]])


def _set(scale: BentScale, head: ShotReadScale, owner: int, place: int, found: Tensor) -> None:
    scale.log_beta1[owner, place] = head.log_beta1[owner, place] + found[0]
    scale.log_beta2[owner, place] = head.log_beta2[owner, place] + found[1]
    scale.bend[owner, place] = found[2:]


def _density(head: ShotReadScale, found: Tensor, noise: Tensor, cond: Resolved) -> Tensor:
    """Log-density of normal noise of each patch, a constant left out, float64, by what was `_fitted` for each."""
    beta1, beta2 = head.betas(cond)
    log1, log2 = found[:, :2].to(noise).T[..., None, None, None]
    shot = beta1 * cond.clean * (log1 + at_signal(found[:, 2:].to(noise), cond.clean)).exp()
    read = beta2 * log2.exp()
    variance = torch.maximum(shot + read, 0.1 * read)
    each = -0.5 * (variance.log() + noise.square() / variance)
    if cond.observed is not None:
        each = each * cond.observed
    return each.sum((1, 2, 3), dtype=torch.float64)
