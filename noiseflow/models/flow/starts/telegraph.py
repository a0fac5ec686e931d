"""Decide whether read noise has jumping pixels: a mixture, compared with smooth heavy tails on held-out patches."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from noiseflow.flows.camera.cubic_tails import CubicTails
from noiseflow.flows.camera.sinh_arcsinh import SinhArcsinh
from noiseflow.flows.camera.telegraph_tails import KINDS, TelegraphTails
from noiseflow.flows.conditions import Resolved
from noiseflow.flows.signal_model import NoiseParameters

__all__ = ["ChosenTails", "choose_tails"]

SURE = 3.0
"""The mixture is kept if its held-out gain exceeds this many standard errors; if the true gain is 0, 1 in 700 does."""

WORTH = 1e-4
"""Smallest held-out gain for which it is kept, nats/dim, because its samples take longer."""

HELD_OUT = 4
"""One patch in this many is held out for the decision; the others are fitted."""

MOST = 1024
"""Most patches used for the decision."""

DARK = 0.5
"""The significance of the gain is judged on values with at least this share of read noise in their variance."""

CELLS, SHARES = 120, 12
"""Numbers of cells of |x|, evenly spaced in asinh x, and of the square root of the read-noise share."""

FARTHEST = 60.0
"""Largest |x| in σ; larger values count as this large."""

LEAST_SHARE = 0.1
"""Smallest read-noise share at which a pixel is used in the fit."""

FEWEST = 20_000
"""Fewest values at which an ISO gets its own mixture."""

STARTS = ((2.0, 4.0), (3.0, 8.0), (5.0, 15.0), (10.0, 30.0))
"""Initial jump sizes of the two kinds, in σ; the best result is kept."""

LEAST_JUMP, LEAST_PART = 2.0, 1e-4
"""Smallest jump in σ that counts, and smallest fraction of such pixels.

Mixtures of smaller jumps also describe the kurtosis of few photons.
"""

FAR_JUMP, FAR_PART = 6.0, 2e-5
"""The same for jumps that no kurtosis of photons describes."""

ROUNDS = 2
"""Fits of the mixture, each behind the skew that the one before it leaves."""

STEPS = 60
"""Most iterations of each search."""

NEVER = -20.0
"""Log rate of jumps if no value shows any."""

LARGEST = 6.0
"""Largest |log| of a size or a spread."""


@dataclass(frozen=True, eq=False)
class ChosenTails:
    """Result of the decision.

    Parameters
    ----------
    tails : CubicTails or TelegraphTails
        The initialised transform.
    note : str
        The finding in words, for users; empty if the mixture is not kept.
    """

    tails: CubicTails | TelegraphTails
    note: str


@dataclass(frozen=True, eq=False)
class _Cells:
    """Mean |x|, mean read-noise share and number of values of each cell, each (N,), float64."""

    x: Tensor
    share: Tensor
    count: Tensor


@dataclass(frozen=True, eq=False)
class _Values:
    """Observed values, each as an element of a batch, (N, 1, 1, 1), and the index of its patch, (N,)."""

    x: Tensor
    cond: Resolved
    noise: NoiseParameters
    patch: Tensor


@torch.no_grad()
def choose_tails(
    cubic: CubicTails, skew: SinhArcsinh, x: Tensor, cond: Resolved, noise: NoiseParameters, *, always: bool = False
) -> ChosenTails:
    """Fit a mixture with jumps, and keep it if it improves the log-density of held-out patches.

    Parameters
    ----------
    cubic : CubicTails
        Initialised tails that the mixture would replace.
    skew : SinhArcsinh
        The transform before the tails, which depends on their excess kurtosis.
    x : Tensor, shape (B, C, H, W)
        Noise of unit variance without line noise, as it enters `skew`.
    cond : Resolved
        Clean signal, ISO and camera of the noise.
    noise : NoiseParameters
        Its noise parameters, without excess kurtosis of the read noise.
    always : bool
        Whether to keep the mixture in any case.
    """
    some = torch.arange(0, len(x), -(-len(x) // MOST))
    out = torch.arange(len(some)) % HELD_OUT == 0
    train, held_out = (_values(x, cond, noise, some[each]) for each in (~out, out))
    tails = TelegraphTails(len(cubic.kurtosis), cubic.log_isos.exp().tolist()).to(x)
    _fit(tails, skew, train)
    gain = _density(tails, skew, held_out) - _density(cubic, skew, held_out)
    # Only dark values show jumps; including bright ones, the spread over patches would reflect their light.
    dark = held_out.noise.read_share().flatten() > DARK
    mean, error = _mean_and_error(gain[dark], held_out.patch[dark])
    worth, part = float(gain.mean()), float(dark.double().mean())
    rate, size, spread = tails.jumps(cond)
    jumping, far = (float((rate * (size.hypot(spread) > least)).sum(1).mean()) for least in (LEAST_JUMP, FAR_JUMP))
    jumps = jumping > LEAST_PART or far > FAR_PART
    if not always and not (mean > SURE * error and worth > WORTH and jumps):
        return ChosenTails(cubic, "")
    # Rare values are few, so those that decided count too.
    _fit(tails, skew, _values(x, cond, noise, some))
    gained = f"{worth:.5f} ± {2 * part * error:.5f} nats/dim on held-out patches"
    note = f"telegraph pixels, {100 * jumping:.2g} %: worth {gained}"
    return ChosenTails(tails, note)


def _values(x: Tensor, cond: Resolved, noise: NoiseParameters, rows: Tensor) -> _Values:
    kept = torch.ones_like(x[rows], dtype=torch.bool) if cond.observed is None else cond.observed[rows]
    patch = torch.arange(len(rows))[:, None, None, None].expand_as(kept)[kept]
    clean, beta1, beta2, values = (
        each[rows].expand_as(kept)[kept].reshape(-1, 1, 1, 1) for each in (noise.clean, noise.beta1, noise.beta2, x)
    )
    given = Resolved(clean, cond.iso[rows][patch], cond.camera[rows][patch])
    return _Values(values, given, NoiseParameters(clean, beta1, beta2), patch)


def _mean_and_error(gain: Tensor, patch: Tensor) -> tuple[float, float]:
    """Mean over patches, weighted by their numbers of values, and its standard error from their spread."""
    count = torch.bincount(patch).double()
    each, count = torch.bincount(patch, gain)[count > 0], count[count > 0]
    if len(count) < HELD_OUT:
        return 0.0, math.inf
    mean = each.sum() / count.sum()
    return float(mean), float((each - mean * count).square().sum().sqrt() / count.sum())


def _density(tails: CubicTails | TelegraphTails, skew: SinhArcsinh, values: _Values) -> Tensor:
    """Log-density of each value, nats without a constant, (N,), float64."""
    noise = tails.shared_features(values.cond, values.noise)
    x, skewed = skew(values.x, values.cond, noise)
    z, log_det = tails(x, values.cond, noise)
    found: Tensor = skewed.double() + log_det.double() - 0.5 * z.double().square().flatten()
    return found


def _fit(tails: TelegraphTails, skew: SinhArcsinh, values: _Values) -> None:
    """Fit the mixture to the values behind the skew, which depends on its excess kurtosis."""
    noise: NoiseParameters | None = values.noise
    for _ in range(ROUNDS):
        x, _ = skew(values.x, values.cond, noise)
        _fit_mixture(tails, replace(values, x=x))
        noise = tails.shared_features(values.cond, values.noise)


def _fit_mixture(tails: TelegraphTails, values: _Values) -> None:
    """Fit the mixture per camera and ISO; an ISO with few values takes the mixture of all ISOs."""
    cond, x, share = values.cond, values.x.flatten(), values.noise.read_share().clamp(max=1).flatten()
    knot = (cond.iso.log()[:, None] - tails.log_isos.to(cond.iso.dtype)).abs().argmin(1)
    seen = share > LEAST_SHARE
    # Cameras without any values get no jumps.
    tails.log_rate.fill_(NEVER)
    for camera in set(cond.camera.tolist()):
        own = seen & (cond.camera == camera)
        pooled = None
        for place in range(tails.log_rate.shape[2]):
            rows = own & (knot == place)
            if int(rows.sum()) >= FEWEST:
                found = _fitted(_cells(x[rows], share[rows]))
            else:
                pooled = pooled if pooled is not None else _fitted(_cells(x[own], share[own]))
                found = pooled
            for table, each in zip((tails.log_rate, tails.log_size, tails.log_spread), found, strict=True):
                table[camera, :, place] = each.to(table)


def _cells(x: Tensor, share: Tensor) -> _Cells:
    size = x.abs().clamp(max=FARTHEST).double()
    place = (size.asinh() / torch.tensor(FARTHEST).asinh() * CELLS).long().clamp(max=CELLS - 1)
    cell = place * SHARES + (share.sqrt() * SHARES).long().clamp(max=SHARES - 1)
    count = torch.bincount(cell, minlength=CELLS * SHARES).double()
    seen = count > 0
    mean_x, mean_share = (
        torch.bincount(cell, each.double(), CELLS * SHARES)[seen] / count[seen] for each in (size, share)
    )
    return _Cells(mean_x, mean_share, count[seen])


def _fitted(cells: _Cells) -> Tensor:
    """Maximum-likelihood log rate, log size and log spread of the kinds, (3, KINDS), the best of several starts."""
    best, lowest = torch.tensor([[NEVER] * KINDS, [1.0] * KINDS, [0.0] * KINDS], dtype=torch.float64), float("inf")
    if not len(cells.x):
        return best
    for sizes in STARTS:
        begin = torch.tensor([[-5.0, -6.0], list(sizes), [0.5, 0.5]], dtype=torch.float64)
        begin[1].log_()
        begin[2].log_()
        found = begin.requires_grad_()
        optimiser = torch.optim.LBFGS([found], max_iter=STEPS, line_search_fn="strong_wolfe")

        def loss(found: Tensor = found, optimiser: torch.optim.LBFGS = optimiser) -> Tensor:
            optimiser.zero_grad()
            value = _nll(found, cells)
            value.backward()  # type: ignore[no-untyped-call]
            return value

        with torch.enable_grad():
            optimiser.step(loss)  # type: ignore[no-untyped-call]
        value = float(_nll(found.detach(), cells))
        if value < lowest:
            best, lowest = found.detach(), value
    return best


def _nll(found: Tensor, cells: _Cells) -> Tensor:
    """Mean NLL of the values, summarised by cells, nats without a constant."""
    rate, size, spread = found[0].exp(), *found[1:].clamp(-LARGEST, LARGEST).exp()
    rate = rate / (1 + rate.sum())
    variance = 1 + (rate * (size.square() + spread.square())).sum()
    core = 1 - cells.share + cells.share / variance
    root = (cells.share / variance).sqrt()
    terms = [(1 - rate.sum()).log() - 0.5 * cells.x.square() / core - 0.5 * core.log()]
    for kind in range(KINDS):
        mean, own = size[kind] * root, core + (spread[kind] * root).square()
        for sign in (1, -1):
            square = (cells.x - sign * mean).square() / own
            terms.append((0.5 * rate[kind]).log() - 0.5 * square - 0.5 * own.log())
    return -(cells.count * torch.stack(terms).logsumexp(0)).sum() / cells.count.sum()
