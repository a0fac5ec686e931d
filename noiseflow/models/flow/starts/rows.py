"""Which row noise a camera has: independent rows, rows that follow the light, or rows that remember those above.

Found from whole bands of sensor rows, of which the sums along each row hold all that their density depends on.
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
    "less_offsets",
    "measure_lines",
    "start_lines",
    "within_lines",
]

MOST_BANDS = 400
"""Bands on which rows with a memory are fitted and tried."""

FOLDS = 2
"""Parts of the bands: each is scored by a memory that was fitted to the others."""

FEWEST = 2 * FOLDS
"""Bands from which a memory is tried."""

SURE = 3.0
"""Standard errors of the held-out gain from which a component is kept: 1 in 700 by chance, were the gain 0."""

WORTH = 1e-5
"""Least held-out gain for which a component is kept, nats/dim."""

LEAST_LEFT = 0.01
"""Least share of the read variance that is not line noise."""

STEPS = 30
"""Steps of the maximisation."""

TALL = 256
"""Sensor rows of a band on which a memory is fitted in the end: what drifts over more rows is not told by 64."""

MOST_TALL, STEPS_TALL = 32, 12
"""Most of these bands, and steps."""


@dataclass(frozen=True, eq=False)
class ChosenRows:
    """Row noise of a camera, and what its memory is worth.

    Parameters
    ----------
    rows : LineNoise
        The transform, started.
    options : dict of str to bool
        Options of the spec that it stands for.
    notes : tuple of str
        What was found, in words.
    """

    rows: LineNoise
    options: dict[str, bool]
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Bands:
    """Sums along the rows of bands, (5, N, 2 or 1, 1, H, 1), their ISO and camera, and their number of values.

    Where frames are known, `tall` are such bands as lie below each other, as one.
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
    """Start the row noise that the data show, and subtract it from the read noise.

    Flicker is taken from `RowNoise.start_from`; a memory is kept if held-out bands gain by `SURE` standard errors
    and `WORTH`.

    Parameters
    ----------
    head : ShotReadScale
        Shot and read noise, fitted to the total variance.
    plain : LineNoise
        Independent rows, to be started; with a flicker or memory of their own they stay what they are.
    noise : Tensor, shape (B, C, H, W)
        Normalised noise.
    cond : Resolved
        Resolved conditions of the noise.
    bands : Tensor of int, shape (B,) or (B, 2), optional
        Equal for patches on the same sensor rows: frame and topmost row of each patch, or a number alone, by which
        nothing is known of whole frames.
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
        # Offsets that took in the light have left too little read noise.
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
            left = torch.maximum(
                total.exp() - memory.offset_variance() * head.log_beta2.exp(), LEAST_LEFT * total.exp()
            )
            memory.scale_offsets(head.log_beta2 - left.log())
            head.log_beta2.copy_(left.log())
            found = f"rows that remember the rows above{_frames(memory)}"
            return ChosenRows(memory, {"row_memory": True}, (f"{found}: worth {worth}",))
    if not flickers or flickering is plain:
        name = "row noise" if seen else "rows: none"
        return ChosenRows(plain, {}, (name,))
    return ChosenRows(flickering, {"row_flicker": True}, ("rows that follow the light",))


@torch.no_grad()
def start_lines(
    head: ShotReadScale,
    lines: LineNoise,
    noise: Tensor,
    cond: Resolved,
    bands: Tensor | None = None,
    rounds: int = 5,
) -> None:
    """Start line noise from its moments, and subtract it from the read noise.

    The read variance found so far contains the line noise: it is β₂(1 + r), with r in units of β₂.
    """
    total = head.log_beta2.clone()
    for _ in range(rounds):
        measure_lines(head, lines, noise, cond, bands)
        # Not by 1 + r: with rows of three read noises that takes dozens of rounds.
        offsets = lines.offset_variance() * head.log_beta2.exp()
        head.log_beta2.copy_(torch.maximum(total.exp() - offsets, LEAST_LEFT * total.exp()).log())


@torch.no_grad()
def measure_lines(
    head: ShotReadScale, lines: LineNoise, noise: Tensor, cond: Resolved, bands: Tensor | None = None
) -> None:
    """Start line noise from its moments, with shot and read noise as they are."""
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
    """What all rows of a frame share, in words."""
    names = [
        name
        for name, table in zip(("offset", "light"), memory.log_frame, strict=True)
        if bool((table.exp() > 2 * NO_FLICKER).any())
    ]
    return f", {' and '.join(names)} of whole frames" if names else ""


def _bands(head: ShotReadScale, rows: RowNoise, noise: Tensor, cond: Resolved, bands: Tensor) -> tuple[_Bands, Tensor]:
    """Sums along the rows of some bands, and what whole frames share."""
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
    """Gain over independent rows of bands that neither was fitted to, and its standard error, nats/dim."""
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
    """Fit a memory to all bands by maximum likelihood, from that of a fold if there is one; whether one was found."""
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
    """Fit independent rows, from those of `start`; in float64 from here on."""
    memory.double()
    memory.log_variance.copy_(start.log_variance)
    memory.log_flicker.copy_(start.log_flicker)
    _maximise(memory, data, _independent(start), memory=False)


def _add_memory(memory: RowMemory, start: RowNoise, data: _Bands) -> bool:
    """Give fitted independent rows a memory and fit both; false if it went to parameters that are not finite."""
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
    """Logit of the frequency, over π, at which the rows' offsets vary most, slow drifts left out."""
    offset, _, norm = data.sums[:3]
    rows = offset / norm.clamp(min=1e-30).sqrt()
    rows = rows[:, :, 0, :, 0].transpose(1, 2).flatten(1)
    power = torch.fft.rfft(rows - rows.mean(1, keepdim=True)).abs().square().mean(0)
    least = min(3, len(power) - 1)
    place = (least + int(power[least:].argmax())) / (len(power) - 1)
    return float(torch.logit(torch.tensor(min(max(place, 0.02), 0.98))))


def within_lines(noise: Tensor, planes: int, observed: Tensor | None = None, axis: str = "row") -> Tensor:
    """Noise about the mean of its sensor row or column in the patch, times √(n/(n − 1)), so that its variance stays.

    n is the number of the line's values that are observed; the others have no part in its mean.

    Parameters
    ----------
    noise : Tensor, shape (B, C, H, W)
        Noise.
    planes : int
        Planes of the noise, those of a square cell.
    observed : Tensor of bool, shape (B, C, H, W), optional
        As of `Conditions`.
    axis : str
        ``"row"`` or ``"column"``.
    """
    side = math.isqrt(planes)
    cells = noise.reshape(len(noise), side, side, *noise.shape[2:])
    seen = torch.ones_like(cells) if observed is None else observed.to(noise).reshape(cells.shape)
    along = ROWS if axis == "row" else COLUMNS
    count = seen.sum(along, keepdim=True)
    about = cells - (cells * seen).sum(along, keepdim=True) / count.clamp(min=1)
    return (about * (count / (count - 1).clamp(min=1)).sqrt()).reshape(noise.shape)


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
