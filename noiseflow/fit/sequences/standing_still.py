"""Check that the scene of a sequence does not move."""

import torch
from torch import Tensor

from noiseflow.core.errors import DataError
from noiseflow.fit.sequences.tiles import SequenceTiles

__all__ = ["check_still"]

MOST_SHIFTED = 0.01
"""Largest fraction of a frame's variance that a shift of the picture may explain."""

MOST_IN_FEW = 0.1
"""The same for a shift of an even scene that few spatial frequencies show, as interference does by chance.  A wave of
0.38 σ with another phase in each frame is refused in 0 of 160 sequences of 2 to 16 frames, one of 0.8 σ in 31 of
80."""

MOST_TEXTURE = 2.0
"""Largest mean square of slopes in the mean of the frames, relative to that of their noise, of an even scene."""

MOST_COPIED = 0.03
"""Largest fraction of the variance that a frame may share with the next one at another position; darks reach 0.025 by
chance."""

MOST_MEASURED = 0.5
"""Larger shifts, in pixels of a plane, are detected by slopes but not measured well enough to be reported."""

SURE = 6.0
"""A shift or a copy must exceed chance by this many σ; the copy is the largest of about a thousand positions."""

BLOCK = 8
"""Side of the blocks whose means are compared, in pixels of a plane."""

WILD = 6.0
"""A block that departs by more than this many σ counts as moving."""

MOST_PART = 0.005
"""Largest fraction of moving blocks in a frame."""

FEWEST_PIXELS = 8
"""Smallest side of a tile, in pixels of a plane, whose fine structure is checked."""

MOST_TOGETHER = 4.0
"""Largest ratio of the variance of block means to that of independent pixels; row noise raises it to at most 1.3."""


def check_still(tiles: SequenceTiles) -> None:
    """Refuse a sequence in which something moves.

    Blocks must not change by more than noise, an offset of each frame, and flicker of the light explain.

    Parameters
    ----------
    tiles : SequenceTiles
        Tiles of the sequence.

    Raises
    ------
    DataError
        If something moves; names the frame that changes most.
    """
    _check_fine(tiles)
    noise = tiles.noise.double()
    height, width = (length // BLOCK * BLOCK for length in noise.shape[-2:])
    if not height or not width:
        return
    rest = noise - noise.mean(1, keepdim=True)
    means = _blocks(rest[..., :height, :width])
    signal = _blocks(tiles.clean.double()[..., :height, :width]).expand_as(means)
    means = _without_frame_and_light(means, signal)
    # For each block separately, since noise depends on the signal; the median over time ignores brief motion.
    steps = _blocks(rest.diff(dim=1)[..., :height, :width].square()).median(1, keepdim=True).values / 2
    z = means / (steps.clamp(min=torch.finfo(means.dtype).tiny) / BLOCK**2).sqrt()
    of_frames = (z.abs() > WILD).double().transpose(0, 1).flatten(1).mean(1)
    together = float(_scale(z).square())
    worst = int(of_frames.argmax())
    if float(of_frames.max()) > MOST_PART:
        part = 100 * float(of_frames[worst])
        raise DataError(
            f"{tiles.source}: something moves: in frame {worst} {part:.1f} % of the blocks of {BLOCK}×{BLOCK} pixels "
            "differ from the other frames; take frames of a static scene from a tripod, or leave such frames out"
        )
    if together > MOST_TOGETHER:
        raise DataError(
            f"{tiles.source}: the whole picture moves, or has banding: from frame to frame the variance of means of "
            f"{BLOCK}×{BLOCK} pixels is {together:.1f} times that expected from pixel noise; expected at most "
            f"{MOST_TOGETHER:g} times"
        )


def _check_fine(tiles: SequenceTiles) -> None:
    """Refuse motion of a fine texture, which does not change block means.

    A shift of less than a pixel adds a multiple of the mean frame's slopes to each frame.  A larger shift makes a
    frame similar to the one before it at another position.  Means of rows and columns are removed, since row and
    column noise would disturb both.
    """
    mean = (tiles.noise.double() + tiles.clean).mean(1).transpose(0, 1)
    rest = (tiles.noise - tiles.noise.mean(1, keepdim=True)).double().permute(1, 2, 0, 3, 4)
    if min(mean.shape[-2:]) < FEWEST_PIXELS:
        return
    rest = _without_lines(_without_signal(rest, mean))
    count = rest[0].numel()
    power = rest.square().mean((1, 2, 3, 4)).clamp(min=torch.finfo(rest.dtype).tiny)
    shifts, explained = _shifts(rest, mean)
    # On an even scene, interference with another phase in each frame looks like a shift of its remainder in the mean.
    even = tiles.scene == "flat" or _without_texture(rest, mean)
    moves = "moves, or has interference" if even else "moves"
    parts = explained / power
    most = torch.full_like(parts, max(MOST_SHIFTED, SURE**2 / count))
    if even:
        most[~_shown_by_many(rest, mean, shifts)] = MOST_IN_FEW
    worst = int((parts / most).argmax())
    if float(parts[worst]) > float(most[worst]):
        size = float(shifts[worst].square().sum().sqrt())
        by = f" by {size:.2g} pixels of a plane" if size < MOST_MEASURED else ""
        raise DataError(
            f"{tiles.source}: something {moves}: frame {worst} is shifted{by}, which explains "
            f"{100 * float(parts[worst]):.0f} % of its change; take frames of a static scene from a tripod, or leave "
            "such frames out"
        )
    # Clamp, so that a few jumping pixels do not dominate.
    bound = WILD * _scale(rest)
    rest = rest.clamp(-bound, bound)
    copied = _copied(rest) / rest.square().mean()
    if float(copied.max()) > max(MOST_COPIED, SURE / count**0.5):
        raise DataError(
            f"{tiles.source}: the whole picture {moves}: frame {int(copied.argmax()) + 1} repeats part of the frame "
            "before it at another position; take frames of a static scene from a tripod"
        )


def _without_signal(rest: Tensor, mean: Tensor) -> Tensor:
    """Subtract an offset and a multiple of the mean frame (C, B, h, w) from each plane of frames (T, C, B, h, w)."""
    rest = rest - rest.mean((2, 3, 4), keepdim=True)
    mean = mean - mean.mean((1, 2, 3), keepdim=True)
    gain = (rest * mean).sum((2, 3, 4), keepdim=True) / mean.square().sum((1, 2, 3), keepdim=True).clamp(min=1e-30)
    return rest - gain * mean


def _without_lines(values: Tensor) -> Tensor:
    """Subtract the means of rows and columns of each tile."""
    return values - values.mean(-1, keepdim=True) - values.mean(-2, keepdim=True) + values.mean((-2, -1), keepdim=True)


def _shifts(rest: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Shift of each frame in rows and columns (T, 2) from the mean frame's slopes, and what mean square it explains."""
    inner = rest[..., 1:-1, 1:-1]
    slopes = _slopes(mean).flatten(1)
    normal = slopes @ slopes.T
    normal = normal + 1e-12 * normal.diagonal().sum() * torch.eye(2, dtype=normal.dtype)
    moments = inner.flatten(1) @ slopes.T
    shifts = torch.linalg.solve(normal, moments.T).T
    return -shifts, (shifts * moments).sum(1) / slopes.shape[1]


def _slopes(values: Tensor) -> Tensor:
    """Slopes in rows and in columns of (…, h, w), (2, …, h − 2, w − 2)."""
    down = values[..., 2:, 1:-1] - values[..., :-2, 1:-1]
    return torch.stack([down, values[..., 1:-1, 2:] - values[..., 1:-1, :-2]]) / 2


def _without_texture(rest: Tensor, mean: Tensor) -> bool:
    """Whether the mean of T frames is hardly steeper than their noise makes it."""
    of_noise = _slopes(rest).square().mean() / max(len(rest) - 1, 1)
    return bool(_slopes(mean).square().mean() < MOST_TEXTURE * of_noise)


def _shown_by_many(rest: Tensor, mean: Tensor, shifts: Tensor) -> Tensor:
    """Whether so many spatial frequencies agree on the shift of each frame, (T, 2), that it is no chance, (T,).

    If the phase at each frequency is random, the sum of their contributions Re A_k has the variance Σ |A_k|²; it must
    exceed `SURE` standard deviations.  A wave is a handful of frequencies, even with the leakage of Hann's window, and
    cannot reach that; a texture has hundreds.
    """
    slopes = _slopes(mean)
    rows, columns = (torch.hann_window(length, periodic=False, dtype=mean.dtype) for length in slopes.shape[-2:])
    window = rows[:, None] * columns
    along, across = (torch.fft.fft2(each * window) for each in slopes)
    found = []
    for frame, (y, x) in zip(rest[..., 1:-1, 1:-1], -shifts, strict=True):
        each = (torch.fft.fft2(frame * window).conj() * (y * along + x * across)).sum((0, 1))
        found.append(each.real.sum().square() > SURE**2 * each.abs().square().sum())
    return torch.stack(found)


def _copied(rest: Tensor) -> Tensor:
    """Largest covariance of each frame with the next one at another position, up to half a tile away, (T − 1,).

    The covariance at the same position, which lasting noise causes, and the size of the most negative one, which waves
    cause, are subtracted.
    """
    frames, spectra = len(rest), torch.fft.rfft2(rest)
    products = (spectra[:-1].conj() * spectra[1:]).sum((1, 2))
    # Subtracting the mean of T frames gave all pairs −1/T of the noise's own covariance: undo this.
    own = spectra.abs().square().sum((1, 2)).mean(0) / (frames - 1)
    found = torch.fft.irfft2(products + own, s=rest.shape[-2:]) / rest[0].numel()
    found = found.flatten(1)
    same, away = found[:, 0], found[:, 1:]
    largest: Tensor = away.max(1).values - same.clamp(min=0) - (-away.min(1).values).clamp(min=0)
    return largest


def _blocks(values: Tensor) -> Tensor:
    """Means of blocks, shape (…, h / 8, w / 8)."""
    split = values.unflatten(-1, (-1, BLOCK)).unflatten(-3, (-1, BLOCK))  # type: ignore[no-untyped-call]
    means: Tensor = split.mean((-1, -3))
    return means


def _without_frame_and_light(means: Tensor, signal: Tensor) -> Tensor:
    """Subtract the offset and the flicker of the light from the block means of each frame and plane."""
    means = means.transpose(0, 1)
    means = means - means.flatten(3).transpose(1, 2).flatten(2).median(2).values[:, None, :, None, None]
    centred = signal.transpose(0, 1)
    centred = centred - centred.mean((1, 3, 4), keepdim=True)
    power = centred.square().sum((1, 3, 4), keepdim=True)
    slope = (means * centred).sum((1, 3, 4), keepdim=True) / power.clamp(min=1e-30)
    return (means - slope * centred).transpose(0, 1)


def _scale(values: Tensor) -> Tensor:
    """Robust σ: 1.4826 times the median absolute value."""
    some = values.flatten()
    some = some[:: max(1, len(some) // 1_000_000)]
    return 1.4826 * some.abs().median().clamp(min=torch.finfo(values.dtype).tiny)
