"""Row noise correlated from row to row: offsets that drift, oscillate or stay down the frame, and drifting light."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from noiseflow.flows.camera.row_noise import (
    NO_FLICKER,
    RowNoise,
    Symmetric,
    _determinant,
    _inverse,
    _plus_one,
    _product,
    _root,
    _times,
)
from noiseflow.flows.camera.row_process import RowProcess, colour, whiten
from noiseflow.flows.conditions import Resolved
from noiseflow.flows.iso_table import at_iso
from noiseflow.flows.signal_model import NoiseParameters
from noiseflow.flows.transform import WHOLE_FRAME
from noiseflow.ops.readable import under_func

__all__ = ["LIGHT", "OFFSET", "START_DECAYS", "WAVE", "RowMemory"]

OFFSET, WAVE, LIGHT = 0, 1, 2
"""Indices of the correlated parts: a decaying offset, an oscillating offset (banding), a decaying relative light."""

START_DECAYS = (2.0, 3.0, 4.0)
"""Initial logit φ of the three parts."""

Pair = tuple[Tensor, Tensor]


class RowMemory(RowNoise):
    """Whiten rows whose offset and relative light change are correlated from row to row.

    The noise of a pixel in row t is s·ε + √β₂·a_t + y·b_t.  The offset a_t and the relative light change b_t each
    have a part that is independent from row to row, as in `RowNoise`, and a stationary Gaussian part with the
    covariances at a distance of l rows

        k_a(l) = v₀φ₀^|l| + v₁φ₁^|l| cos(ωl) + w_a,   k_b(l) = v₂φ₂^|l| + w_b,

    k_a in units of the read-noise variance and k_b relative to the squared signal.  v₀ is memory of the rows
    before, v₁ banding, v₂ the drift of a lamp; w is common to all rows of a frame, such as a black level or a lamp
    that changes from frame to frame.

    First each row is whitened as in `RowNoise`.  A unit offset then has the direction A c_a and a unit light change
    A c_b.  With q₁ = A c_a/|A c_a| and q₂ the unit vector of the part of A c_b orthogonal to q₁, the projections of
    a row are

    û₁ = |A c_a|·a + α·b + ε₁,  û₂ = γ·b + ε₂,  α = q₁ᵀA c_b,  γ = q₂ᵀA c_b.

    Their covariance over all rows is M = I + Σ √D k √D, summed over offset and light.  With M = L Lᵀ

    z = x + Σ q (L⁻¹û − û),  log|det dz/dx| = −Σ log Lₜₜ;  the inverse has L in place of L⁻¹.

    A row depends on the rows above, so a frame can be sampled in strips only after the sums of all its rows are
    known (`whole_frame`).

    Parameters
    ----------
    planes : int
        1, or the planes of a square CFA cell: 4, 16 or 36.
    cameras : int
        Number of cameras.
    isos : sequence of float
        Fitted ISOs, rising; log v, logit φ and ω are linear in log ISO between them.
    start : float
        Initial variance r of the offset part that is independent from row to row.
    flicker : float
        Initial relative variance f of the light part that is independent from row to row.
    memory : float
        Initial v₀ and v₁.
    drift : float
        Initial v₂.
    frame : float
        Initial w_a and w_b.
    """

    whole_frame = True
    sequential_inverse = True

    def __init__(
        self,
        planes: int,
        cameras: int,
        isos: Sequence[float],
        start: float = 3e-3,
        flicker: float = NO_FLICKER,
        memory: float = 1e-3,
        drift: float = NO_FLICKER,
        frame: float = NO_FLICKER,
    ) -> None:
        super().__init__(planes, cameras, isos, start, flicker)
        self.whole_rows, self.reach = False, WHOLE_FRAME
        shape = (3, cameras, len(isos))
        variance = torch.tensor([memory, memory, drift])[:, None, None].expand(shape)
        decay = torch.tensor(START_DECAYS)[:, None, None].expand(shape)
        self.log_memory = nn.Parameter(variance.log().clone())
        self.logit_decay = nn.Parameter(decay.clone())
        self.logit_frequency = nn.Parameter(torch.zeros(cameras, len(isos)))
        self.log_frame = nn.Parameter(torch.full((2, cameras, len(isos)), frame).log())

    def processes(self, cond: Resolved) -> tuple[RowProcess, RowProcess]:
        """The row processes of the offset and of the relative light, without their independent parts."""
        camera, knots = cond.camera, self.log_isos.to(self.log_memory.dtype)

        def at(table: Tensor) -> Tensor:
            return at_iso(table[camera], knots, cond.iso)

        variances = [at(table).clamp(max=LARGEST).exp() for table in self.log_memory]
        decays = [at(table).sigmoid() for table in self.logit_decay]
        frequency = torch.pi * at(self.logit_frequency).sigmoid()
        offset, light = (at(table).clamp(max=LARGEST).exp() for table in self.log_frame)
        still, lasting = torch.zeros_like(frequency), torch.ones_like(frequency)
        return (
            _process([*variances[:2], offset], [*decays[:2], lasting], [still, frequency, still]),
            _process([variances[LIGHT], light], [decays[LIGHT], lasting], [still, still]),
        )

    def offset_variance(self) -> Tensor:
        """Variance of the total offset in units of the read-noise variance, (cameras, isos)."""
        parts = (self.log_variance, self.log_memory[OFFSET], self.log_memory[WAVE], self.log_frame[0])
        return torch.stack([each.exp() for each in parts]).sum(0)

    def light_variance(self) -> Tensor:
        """Relative variance of the total light change at the fitted ISOs, (cameras, isos)."""
        return self.log_flicker.exp() + self.log_memory[LIGHT].exp() + self.log_frame[1].exp()

    def scale_offsets(self, log_factor: Tensor) -> None:
        """Multiply every offset variance by exp(`log_factor`), shape (cameras, isos)."""
        super().scale_offsets(log_factor)
        self.log_memory[OFFSET].add_(log_factor)
        self.log_memory[WAVE].add_(log_factor)
        self.log_frame[0].add_(log_factor)

    def scale_light(self, log_factor: Tensor) -> None:
        """Multiply every relative light variance by exp(`log_factor`), shape (cameras, isos)."""
        super().scale_light(log_factor)
        self.log_memory[LIGHT].add_(log_factor)
        self.log_frame[1].add_(log_factor)

    def coefficients(self, sums: Tensor, cond: Resolved, *, memory: bool = True) -> tuple[Pair, Tensor]:
        """Factors on d and e of each row that map data to latent, and log|det| in nats, (B,).

        Parameters
        ----------
        sums : Tensor, shape (5, B, rows of a cell, 1, H, 1)
            `RowNoise.sums` of the data.
        cond : Resolved
            Camera and ISO of each element.
        memory : bool
            If False, rows are whitened as independent ones.
        """
        return self._coefficients(sums, cond, memory=memory)

    def _coefficients(
        self, sums: Tensor, cond: Resolved, *, memory: bool, one: bool | None = None
    ) -> tuple[Pair, Tensor]:
        """As `coefficients`; for `one` see `_projections`."""
        p, gram, sizes, s = self._given(sums, cond)
        root = _root(s)
        within = _inverse(_product(root, _plus_one(root)))
        found = _minus(_scaled(sizes, _times(within, _scaled(sizes, p))))
        log_det = -0.5 * _determinant(s).log().flatten(1).sum(1)
        if not memory:
            return found, log_det
        p = _plus(p, _times(gram, found))
        seen = self._projections(p, gram, sizes, within, cond, one=one)
        moved, log = whiten(seen.u, seen.sizes, seen.processes, each=len(seen.along))
        return _plus(found, seen.step(moved, p[0])), log_det + log

    def resolve(self, sums: Tensor, cond: Resolved) -> Tensor:
        """Factors on d and e that map latent to data, (2, B, rows of a cell, 1, H, 1), from the `sums` of a frame."""
        p, gram, sizes, s = self._given(sums, cond)
        root = _root(s)
        within = _inverse(_product(root, _plus_one(root)))
        seen = self._projections(p, gram, sizes, within, cond, one=False)
        found = seen.step(colour(seen.u, seen.sizes, seen.processes, each=len(seen.along)), p[0])
        p = _plus(p, _times(gram, found))
        rest = _scaled(sizes, _times(_inverse(_plus_one(root)), _scaled(sizes, p)))
        return torch.stack(_plus(found, rest))

    def forward(self, x: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> tuple[Tensor, Tensor]:
        """Map data x to latent z; return z and log|det dz/dx| in nats, shape (B,)."""
        (offset, light), log_det = self.coefficients(self.sums(x, noise), cond)
        return x + self._spread(x, noise, offset, light), log_det

    def inverse(self, z: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> Tensor:
        """Map latent z to data x."""
        return self.inverse_of_part(z, cond, self.resolve(self.sums(z, noise), cond), noise)

    def inverse_of_part(self, z: Tensor, cond: Resolved, sums: Tensor, noise: NoiseParameters | None = None) -> Tensor:
        """Map latent to data on a tile of a frame, given the factors from `resolve` for its rows."""
        return z + self._spread(z, noise, sums[0], sums[1])

    def log_density_of_rows(self, sums: Tensor, cond: Resolved, *, memory: bool = True) -> Tensor:
        """What row noise adds to the log-density of independent pixels, nats, (B,), from the rows' `sums`.

        Correlated light changes enter only by their projection on the offset direction; the result is the exact
        density of that projection.
        """
        found, log_det = self._coefficients(sums, cond, memory=memory, one=True)
        p, gram, *_ = self._given(sums, cond)
        change = 2 * _dot(found, p) + _dot(found, _times(gram, found))
        return log_det - 0.5 * change.flatten(1).sum(1)

    @property
    def lights(self) -> bool:
        """Whether any camera's light change is correlated between rows; True under torch.func, whose weights vary."""
        if under_func():
            return True
        parts = (self.log_memory[LIGHT], self.log_frame[1])
        return any(bool((part.exp() > 2 * NO_FLICKER).any()) for part in parts)

    def _bring_up(self, weights: dict[str, Tensor], prefix: str) -> None:
        """Earlier versions had no offset per frame (w)."""
        weights.setdefault(f"{prefix}log_frame", torch.full_like(self.log_frame, NO_FLICKER).log().detach())

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Accept weights of `LineNoise` and `RowNoise`: rows without memory."""
        none = math.log(NO_FLICKER)
        given = {
            "log_memory": torch.full_like(self.log_memory, none),
            "logit_decay": self.logit_decay,
            "logit_frequency": self.logit_frequency,
        }
        for name, value in given.items():
            state_dict.setdefault(prefix + name, value.detach())
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _projections(
        self, p: Pair, gram: Symmetric, sizes: Pair, within: Symmetric, cond: Resolved, *, one: bool | None
    ) -> "_Projections":
        """Project independently whitened rows onto the directions of offset and light.

        Parameters
        ----------
        p : pair of Tensor
            dᵀx and eᵀx of each row.
        gram, within : Symmetric
            AᵀA of [d, e], and the matrix that whitens a row.
        sizes : pair of Tensor
            √r and √f.
        cond : Resolved
            Camera and ISO of each element.
        one : bool, optional
            Use the projection on the offset only, at an eighth of the cost of both.  If None, one projection is
            used when no row shows light beyond it.  Sampling always uses both, so that a frame's values do not
            depend on the other frames of a batch.
        """
        along, light = (_direction(unit, gram, sizes, within) for unit in _UNITS)
        size = _length(along, gram)
        q = _scaled(_both(1 / size), along)
        offset, lamp = self.processes(cond)
        if not self.lights:
            return _Projections(_ordered(_dot(q, p)), _ordered(size)[..., None], (offset,), (q,))
        alpha = _dot(q, _times(gram, light))
        rest = _plus(light, _minus(_scaled(_both(alpha), q)))
        gamma = _length(rest, gram)
        apart = gamma.square() * lamp.variance.sum(1)[:, None, None, None, None] > APART
        zero = torch.zeros_like(size)
        loads = [(size, zero), (alpha, torch.where(apart, gamma, zero))]
        directions = [q]
        if (under_func() or bool(apart.any())) if one is None else not one:
            directions.append(_scaled(_both(torch.where(apart, 1 / gamma, zero)), rest))
        u = torch.stack([_ordered(_dot(each, p)) for each in directions], 2).flatten(1)
        each_load = [[_ordered(part) for part in load[: len(directions)]] for load in loads]
        loads_of = torch.stack([torch.stack(load, 2).flatten(1) for load in each_load], 2)
        return _Projections(u, loads_of, (offset, lamp), tuple(directions))

    def _given(self, sums: Tensor, cond: Resolved) -> tuple[Pair, Symmetric, Pair, Symmetric]:
        """[d, e]ᵀx, its Gram matrix G, (√r, √f), and S = I + diag(√r, √f) G diag(√r, √f)."""
        first, second, dd, de, ee = sums.unbind()
        a, b = (each.sqrt()[:, None, None, None, None] for each in (self.variance(cond), self.flicker(cond)))
        return (first, second), (dd, de, ee), (a, b), (1 + a * a * dd, a * b * de, 1 + b * b * ee)


_UNITS = ((1.0, 0.0), (0.0, 1.0))
"""Unit vectors along d and along e."""

LARGEST = 10.0
"""Largest log v: beyond any real camera, and safely below where the Cholesky factorisation loses precision."""

LEAST = 1e-30
"""Added to squared lengths, so that rows without observed pixels or without light do not divide by 0."""

APART = 1e-3
"""A row's second projection, light orthogonal to the offset, counts from this ratio of its variance to white noise."""


@dataclass(frozen=True, eq=False)
class _Projections:
    """Projections u of rows from top to bottom, (B, N), the √D of each process in them, and their directions."""

    u: Tensor
    sizes: Tensor
    processes: tuple[RowProcess, ...]
    along: tuple[Pair, ...]

    def step(self, moved: Tensor, like: Tensor) -> Pair:
        """Factors on d and e that move the projections from `u` to `moved`; `like` gives the shape of the rows."""
        change = (moved - self.u).reshape(len(moved), -1, len(self.along))
        steps = [
            _scaled(_both(_unordered(each, like)), q) for each, q in zip(change.unbind(2), self.along, strict=True)
        ]
        return steps[0] if len(steps) == 1 else _plus(*steps)


def _process(variances: list[Tensor], decays: list[Tensor], frequencies: list[Tensor]) -> RowProcess:
    return RowProcess(*(torch.stack(each, 1) for each in (variances, decays, frequencies)))


def _direction(unit: tuple[float, float], gram: Symmetric, sizes: Pair, within: Symmetric) -> Pair:
    """Coefficients c for which [d, e] c is a unit offset or light change after its row is whitened."""
    one = torch.ones_like(gram[0])
    k = (unit[0] * one, unit[1] * one)
    lost = _scaled(sizes, _times(within, _scaled(sizes, _times(gram, k))))
    return _plus(k, _minus(lost))


def _length(c: Pair, gram: Symmetric) -> Tensor:
    """Length of the vector with coefficients c on d and e."""
    return (_dot(c, _times(gram, c)).clamp(min=0) + LEAST).sqrt()


def _scaled(sizes: Pair, v: Pair) -> Pair:
    return sizes[0] * v[0], sizes[1] * v[1]


def _both(value: Tensor) -> Pair:
    return value, value


def _plus(one: Pair, other: Pair) -> Pair:
    return one[0] + other[0], one[1] + other[1]


def _minus(v: Pair) -> Pair:
    return -v[0], -v[1]


def _dot(one: Pair, other: Pair) -> Tensor:
    return one[0] * other[0] + one[1] * other[1]


def _ordered(rows: Tensor) -> Tensor:
    """Reorder (B, rows of a cell, 1, H, 1) to the rows of the mosaic from top to bottom, (B, rows of a cell · H)."""
    return rows[:, :, 0, :, 0].transpose(1, 2).reshape(len(rows), -1)


def _unordered(rows: Tensor, like: Tensor) -> Tensor:
    return rows.reshape(len(rows), like.shape[3], like.shape[1]).transpose(1, 2)[:, :, None, :, None]
