"""Decide which row noise a camera has: independent rows, rows with flicker, or rows correlated with the rows above.

The decision uses bands of whole sensor rows.  Their density depends only on a few sums along each row.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from noiseflow.flows.camera.line_noise import NONE, LineNoise, bands_of_rows, numbered
from noiseflow.flows.camera.row_memory import LIGHT, OFFSET, START_DECAYS, WAVE, RowMemory
from noiseflow.flows.camera.row_noise import NO_FLICKER, RowNoise
from noiseflow.flows.camera.shot_read_scale import ShotReadScale
from noiseflow.flows.conditions import Resolved
from noiseflow.models.flow.starts.frame import runs_of_bands, shared_by_frames
from noiseflow.ops.line_noise import COLUMNS, ROWS

__all__ = [
    "ChosenRows",
    "choose_rows",
    "even_signal",
    "hides_read_noise",
    "less_offsets",
    "measure_lines",
    "start_lines",
    "within_lines",
]

FLICKER = "row noise that follows the light (flicker)"
"""Finding for users: rows with flicker."""

MOST_BANDS = 400
"""Most bands on which a memory is fitted and tried."""

FOLDS = 2
"""Folds of the bands for cross-validation: each fold is scored with the memory fitted to the other."""

FEWEST = 2 * FOLDS
"""Fewest bands for trying a memory."""

SURE = 3.0
"""A component is kept if its held-out gain exceeds this many standard errors; if the true gain is 0, 1 in 700 does."""

WORTH = 1e-5
"""Smallest held-out gain for which a component is kept, nats/dim."""

LEAST_LEFT = 0.01
"""Smallest share of the read variance that is not line noise."""

STEPS = 30
"""Most iterations of the maximisation."""

TALL = 256
"""Sensor rows of the tall bands for the final fit of a memory: 64 rows do not show slow drift."""

OF_FRAMES = 0.02
"""Variance of offsets that whole frames share, over the read noise's, from which a few dark frames do not know it."""

MOST_TALL, STEPS_TALL = 32, 12
"""Most tall bands, and most iterations on them."""


@dataclass(frozen=True, eq=False)
class ChosenRows:
    """Row noise of a camera: the result of the decision.

    Parameters
    ----------
    rows : LineNoise
        The initialised transform.
    options : dict of str to bool
        Options of the spec that select it.
    notes : tuple of str
        The findings in words, for users.
    """

    rows: LineNoise
    options: dict[str, bool]
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Bands:
    """Row sums of bands, (5, N, rows of a cell, 1, H, 1), their ISO and camera, and the number of values of a band.

    If frames are known, `tall` holds adjoining bands joined into taller ones.
    """

    sums: Tensor
    cond: Resolved
    values: float
    tall: "_Bands | None" = None

    def at(self, index: Tensor) -> "_Bands":
        iso, camera = self.cond.iso[index], self.cond.camera[index]
        return _Bands(self.sums[:, index], Resolved(self.cond.clean[index], iso, camera), self.values)


@torch.no_grad()
def choose_rows(
    head: ShotReadScale,
    plain: LineNoise,
    noise: Tensor,
    cond: Resolved,
    bands: Tensor | None,
    *,
    planes: int,
    left_out: Collection[str] = (),
) -> ChosenRows:
    """Initialise the row noise that the data show, and subtract its variance from the read noise.

    Flicker is found by `RowNoise.start_from`.  A memory is kept if its gain on held-out bands exceeds `SURE` standard
    errors and `WORTH`.

    Parameters
    ----------
    head : ShotReadScale
        Shot and read noise, fitted to the total variance.
    plain : LineNoise
        Row noise to initialise.  A `RowNoise` or `RowMemory` is kept as such, whatever the data show.
    noise : Tensor, shape (B, C, H, W)
        Normalised noise.
    cond : Resolved
        Clean signal, ISO and camera of the noise.
    bands : Tensor of int, shape (B,) or (B, 2), optional
        Equal for patches on the same sensor rows: frame and topmost row of each patch, or a single number, which
        does not identify whole frames.
    planes : int
        Planes of the noise.
    left_out : collection of str
        ``"row_memory"`` or ``"row_flicker"``, if the user does not want them.
    """
    total = head.log_beta2.clone()
    start_lines(head, plain, noise, cond, bands)
    size = (planes, *plain.log_variance.shape[:1], plain.log_isos.exp().tolist())
    flickering = plain if isinstance(plain, RowNoise) else RowNoise(*size).to(noise)
    if flickering is not plain:
        measure_lines(head, flickering, noise, cond, bands)
    if "row_flicker" in left_out:
        flickering.log_flicker.fill_(math.log(NO_FLICKER))
        flickering.log_variance.copy_(plain.log_variance)
    flickers = flickering.flickers
    if flickers and flickering is not plain:
        # Offsets that absorbed the light changes left too little read noise, so start from the total again.
        head.log_beta2.copy_(total)
        start_lines(head, flickering, noise, cond, bands)
    seen = bool((plain.log_variance.exp() > 2 * NONE).any()) or flickers
    if bands is not None and seen and "row_memory" not in left_out:
        memory = plain if isinstance(plain, RowMemory) else RowMemory(*size).to(noise)
        data, shared = _bands(head, flickering, noise, cond, bands)
        memory.log_frame.copy_(shared.log())
        gain, error = _held_out_gain(memory, flickering, data)
        worth = f"{gain:.5f} ± {2 * error:.5f} nats/dim on held-out rows"
        kept = gain > SURE * error and gain > WORTH
        if (memory is plain or kept) and _fit_memory(memory, flickering, data):
            # The memory was fitted in units of the read variance that independent rows left.
            left = less_offsets(total, memory.offset_variance() * (head.log_beta2 - total).exp())
            memory.scale_offsets(head.log_beta2 - left)
            head.log_beta2.copy_(left)
            found = f"row noise correlated from row to row{_frames(memory)}"
            return ChosenRows(memory, {"row_memory": True}, (f"{found}: worth {worth}",))
    if not flickers or flickering is plain:
        name = "row noise" if seen else "row noise: none"
        return ChosenRows(plain, {}, (name,))
    return ChosenRows(flickering, {"row_flicker": True}, (FLICKER,))


@torch.no_grad()
def start_lines(
    head: ShotReadScale,
    lines: LineNoise,
    noise: Tensor,
    cond: Resolved,
    bands: Tensor | None = None,
    rounds: int = 5,
) -> None:
    """Initialise line noise from moments, and subtract its variance from the read noise, in a few rounds.

    The read variance of `head` includes the line noise: it is β₂(1 + r), with r in units of β₂.
    """
    total = head.log_beta2.clone()
    for _ in range(rounds):
        measure_lines(head, lines, noise, cond, bands)
        # Dividing by 1 + r instead would take dozens of rounds for rows three times as strong as read noise.
        offsets = lines.offset_variance() * head.log_beta2.exp()
        head.log_beta2.copy_(torch.maximum(total.exp() - offsets, LEAST_LEFT * total.exp()).log())


@torch.no_grad()
def measure_lines(
    head: ShotReadScale, lines: LineNoise, noise: Tensor, cond: Resolved, bands: Tensor | None = None
) -> None:
    """Initialise line noise from moments, without changing shot and read noise."""
    even = even_signal(cond)
    lines.start_from(head(noise, even)[0], even, head.noise_parameters(even), bands)


def even_signal(cond: Resolved) -> Resolved:
    """The conditions at the mean signal of each plane of a patch, at which variances of lines are taken.

    A clean signal estimated from other frames contains part of the noise, and weights correlated with the noise
    would bias products of pixels.
    """
    mean = cond.clean.mean((2, 3), keepdim=True)
    if cond.observed is not None:
        count = cond.observed.sum((2, 3), keepdim=True)
        mean = (cond.clean * cond.observed).sum((2, 3), keepdim=True) / count.clamp(min=1)
    return replace(cond, clean=mean.expand_as(cond.clean))


def _frames(memory: RowMemory) -> str:
    """Words for the offset and light changes of whole frames, if there are any."""
    names = [
        name
        for name, table in zip(("offset", "light"), memory.log_frame, strict=True)
        if bool((table.exp() > 2 * NO_FLICKER).any())
    ]
    return f", and {' and '.join(names)} of whole frames" if names else ""


def _bands(head: ShotReadScale, rows: RowNoise, noise: Tensor, cond: Resolved, bands: Tensor) -> tuple[_Bands, Tensor]:
    """Row sums of up to `MOST_BANDS` bands, and the variances of offset and light of whole frames."""
    even = even_signal(cond)
    found = head.noise_parameters(even)
    sums = rows.sums(head(noise, even)[0], found)
    shape = sums.shape[2:]
    knots = head.log_isos.to(noise.dtype)
    index = (cond.iso.log()[:, None] - knots).abs().argmin(1)
    cameras = cond.camera
    shared = torch.full((2, *head.log_beta2.shape), NO_FLICKER, dtype=torch.float64)
    if bands.ndim == 2:
        shared = shared_by_frames(sums, index, cameras, bands, shared)
    joined, knot, camera = bands_of_rows(sums.flatten(2), index, cameras, bands)
    count = joined.shape[1]
    some = torch.arange(0, count, -(-count // MOST_BANDS))
    iso = knots.exp()[knot[some]].double()
    given = Resolved(torch.zeros(len(some), 1, 1, 1, dtype=torch.float64), iso, camera[some])
    values = noise.numel() / count
    tall = None
    if bands.ndim == 2:
        most = TALL // (shape[0] * shape[2])
        runs = runs_of_bands(bands[numbered(bands)[0]], shape[2], most)
        runs = runs[:: max(1, -(-len(runs) // MOST_TALL))]
        if runs.shape[1] > 1:
            stacked = joined[:, runs].double().reshape(5, *runs.shape, *shape).movedim(2, 4).flatten(4, 5)
            first = runs[:, 0]
            blank = torch.zeros(len(runs), 1, 1, 1, dtype=torch.float64)
            of_runs = Resolved(blank, knots.exp()[knot[first]].double(), camera[first])
            tall = _Bands(stacked, of_runs, values * runs.shape[1])
    return _Bands(joined[:, some].double().reshape(5, len(some), *shape), given, values, tall), shared


def _held_out_gain(memory: RowMemory, start: RowNoise, data: _Bands) -> tuple[float, float]:
    """Cross-validated gain of a memory over independent rows, and its standard error, nats/dim."""
    fold = torch.arange(data.sums.shape[1]) % FOLDS
    if len(fold) < FEWEST:
        return 0.0, 0.0
    gains = []
    for each in range(FOLDS):
        train, held_out = (data.at(part.nonzero()[:, 0]) for part in (fold != each, fold == each))
        _fit_independent(memory, start, train)
        without = memory.log_density_of_rows(held_out.sums, held_out.cond, memory=False)
        if not _add_memory(memory, start, train):
            return 0.0, 0.0
        gains.append(memory.log_density_of_rows(held_out.sums, held_out.cond) - without)
    gain = torch.cat(gains) / data.values
    return float(gain.mean()), float(gain.std() / len(gain) ** 0.5)


def _fit_memory(memory: RowMemory, start: RowNoise, data: _Bands) -> bool:
    """Fit a memory to all bands by maximum likelihood, starting from a fold's result; return whether it succeeded."""
    if data.sums.shape[1] < FEWEST:
        _fit_independent(memory, start, data)
        found = _add_memory(memory, start, data)
    else:
        found = _climb(memory, start, data)
    if found and data.tall is not None:
        found = _climb(memory, start, data.tall, STEPS_TALL)
    if not found:
        memory.log_memory.fill_(math.log(NO_FLICKER))
        memory.log_variance.copy_(start.log_variance)
    memory.to(start.log_variance.dtype)
    return found


def _fit_independent(memory: RowMemory, start: RowNoise, data: _Bands) -> None:
    """Fit independent rows, starting from those of `start`; `memory` is float64 from here on."""
    memory.double()
    memory.log_variance.copy_(start.log_variance)
    memory.log_flicker.copy_(start.log_flicker)
    _maximise(memory, data, _independent(start), memory=False)


def _add_memory(memory: RowMemory, start: RowNoise, data: _Bands) -> bool:
    """Add a memory to fitted independent rows and fit both; False if the factorisation fails."""
    memory.log_memory[OFFSET] = memory.log_variance + torch.tensor(0.3).log()
    memory.log_memory[WAVE] = memory.log_variance + torch.tensor(0.1).log()
    memory.log_memory[LIGHT] = memory.log_flicker + torch.tensor(0.5).log()
    memory.log_variance.sub_(torch.tensor(2.0).log())
    memory.logit_decay.copy_(torch.tensor(START_DECAYS)[:, None, None].expand_as(memory.logit_decay))
    memory.logit_frequency.fill_(_peak(data))
    return _climb(memory, start, data)


def _climb(memory: RowMemory, start: RowNoise, data: _Bands, steps: int = STEPS) -> bool:
    names = [*_independent(start), "log_memory", "logit_decay", "logit_frequency"]
    try:
        _maximise(memory, data, names, steps, memory=True)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        return False
    if not start.flickers:
        memory.log_memory[LIGHT] = math.log(NO_FLICKER)
    return True


def _independent(start: RowNoise) -> list[str]:
    return ["log_variance", "log_flicker"] if start.flickers else ["log_variance"]


def _maximise(rows: RowMemory, data: _Bands, names: list[str], steps: int = STEPS, *, memory: bool) -> None:
    parameters = [getattr(rows, name).requires_grad_() for name in names]
    optimiser = torch.optim.LBFGS(parameters, max_iter=steps, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = -rows.log_density_of_rows(data.sums, data.cond, memory=memory).mean()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    with torch.enable_grad():
        optimiser.step(loss)  # type: ignore[no-untyped-call]


def _peak(data: _Bands) -> float:
    """Logit of ω/π at the strongest frequency of the row offsets, slow drift excluded."""
    offset, _, norm = data.sums[:3]
    rows = offset / norm.clamp(min=1e-30).sqrt()
    rows = rows[:, :, 0, :, 0].transpose(1, 2).flatten(1)
    power = torch.fft.rfft(rows - rows.mean(1, keepdim=True)).abs().square().mean(0)
    least = min(3, len(power) - 1)
    place = (least + int(power[least:].argmax())) / (len(power) - 1)
    return float(torch.logit(torch.tensor(min(max(place, 0.02), 0.98))))


def within_lines(
    noise: Tensor, planes: int, observed: Tensor | None = None, axis: str = "row"
) -> tuple[Tensor, Tensor | None]:
    """Subtract the mean of each sensor row or column of a patch, and scale by √(n/(n − 1)) to keep the variance.

    n is the number of observed values of the line; masked values do not enter its mean.

    Parameters
    ----------
    noise : Tensor, shape (B, C, H, W)
        Noise, normalised.
    planes : int
        Number of planes, those of a square CFA cell.
    observed : Tensor of bool, shape (B, C, H, W), optional
        As of `Conditions`.
    axis : str
        ``"row"`` or ``"column"``.

    Returns
    -------
    Tensor, shape (B, C, H, W)
        The noise within lines.
    Tensor of bool, shape (B, C, H, W), or None
        `observed` without the values that are alone in their line: they equal its mean.
    """
    side = math.isqrt(planes)
    cells = noise.reshape(len(noise), side, side, *noise.shape[2:])
    seen = torch.ones_like(cells) if observed is None else observed.to(noise).reshape(cells.shape)
    along = ROWS if axis == "row" else COLUMNS
    count = seen.sum(along, keepdim=True)
    about = cells - (cells * seen).sum(along, keepdim=True) / count.clamp(min=1)
    within = (about * (count / (count - 1).clamp(min=1)).sqrt()).reshape(noise.shape)
    return within, None if observed is None else observed & (count > 1).expand_as(cells).reshape(noise.shape)


def less_offsets(log_beta2: Tensor, offsets: Tensor) -> Tensor:
    """Ln β₂ of a read variance that contained offsets of `offsets` times itself: ln β₂(1 − r), not ln β₂/(1 + r).

    Parameters
    ----------
    log_beta2 : Tensor, shape (cameras, isos)
        Logarithm of the read variance with the offsets in it.
    offsets : Tensor, shape (cameras, isos)
        Variance of the offsets in units of that read variance.
    """
    return log_beta2 + (1 - offsets).clamp(min=LEAST_LEFT).log()


def hides_read_noise(rows: LineNoise, strong: float) -> bool:
    """Whether offsets, of rows from `strong` on, leave too little of the variance to measure the read noise by."""
    frames = isinstance(rows, RowMemory) and bool((rows.log_frame[0].exp() > OF_FRAMES).any())
    return frames or bool((rows.offset_variance() > strong).any())
