"""Whether the scene of a sequence that is given as static stands still."""

import torch
from torch import Tensor

from noiseflow.core.errors import DataError
from noiseflow.fit.sequences.tiles import SequenceTiles

__all__ = ["check_still"]

MOST_SHIFTED = 0.01
"""Largest part of a frame's variance that a shift of the picture may explain."""

MOST_COPIED = 0.03
"""Largest part of the variance that a frame may have in common with the next, elsewhere: 0.025 by chance on darks."""

MOST_MEASURED = 0.5
"""Shift in pixels of a plane from which on slopes do not measure it, only see it."""

SURE = 6.0
"""σ by which a shift or a copy of the frame before must exceed chance, the largest of a thousand places at hand."""

BLOCK = 8
"""Side of the blocks whose means are compared, pixels of a plane."""

WILD = 6.0
"""σ from which a block's step counts as motion."""

MOST_PART = 0.005
"""Fraction of the blocks of any frame, or of all, that may."""

FEWEST_PIXELS = 8
"""Side of a tile from which on its fine structure is looked at."""

MOST_TOGETHER = 4.0
"""Largest ratio of the variance of block means to that of independent pixels; readout rows make it 1.3 at most."""


def check_still(tiles: SequenceTiles) -> None:
    """Refuse a sequence in which something moves: blocks that change by more than noise, frame and light explain.

    Raises
    ------
    DataError
        Naming the frame that changes most.
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
    # Of each block by itself, since noise goes with the signal; the median over time, since what passes is brief.
    steps = _blocks(rest.diff(dim=1)[..., :height, :width].square()).median(1, keepdim=True).values / 2
    z = means / (steps.clamp(min=torch.finfo(means.dtype).tiny) / BLOCK**2).sqrt()
    of_frames = (z.abs() > WILD).double().transpose(0, 1).flatten(1).mean(1)
    together = float(_scale(z).square())
    worst = int(of_frames.argmax())
    if float(of_frames.max()) > MOST_PART:
        part = 100 * float(of_frames[worst])
        raise DataError(
            f"{tiles.source}: something moves: in frame {worst} {part:.1f} % of the blocks of {BLOCK}×{BLOCK} pixels "
            "are not as in the others; take frames of a still scene from a tripod, or leave those out"
        )
    if together > MOST_TOGETHER:
        raise DataError(
            f"{tiles.source}: the whole picture moves, or is banded: from frame to frame means of {BLOCK}×{BLOCK} "
            f"pixels vary {together:.1f} × as much as noise of pixels makes them; expected up to {MOST_TOGETHER:g}"
        )


def _check_fine(tiles: SequenceTiles) -> None:
    """Refuse motion of a texture that is finer than the blocks, whose means it does not change.

    A shift of less than a pixel is seen in each frame's rest as a part of the mean frame's slopes; one of more pixels,
    in that a frame is the one before it at another place.  Rows and columns have noise of their own, and are left out.
    """
    mean = (tiles.noise.double() + tiles.clean).mean(1).transpose(0, 1)
    rest = (tiles.noise - tiles.noise.mean(1, keepdim=True)).double().permute(1, 2, 0, 3, 4)
    if min(mean.shape[-2:]) < FEWEST_PIXELS:
        return
    rest = _without_lines(_without_signal(rest, mean))
    count = rest[0].numel()
    power = rest.square().mean((1, 2, 3, 4)).clamp(min=torch.finfo(rest.dtype).tiny)
    shifts, explained = _shifts(rest, mean)
    # On an even scene a wave that comes with another phase in each frame is a shift of what is left of it in the mean.
    moves = "moves, or has interference" if tiles.scene == "flat" else "moves"
    parts = explained / power
    worst = int(parts.argmax())
    if float(parts[worst]) > max(MOST_SHIFTED, SURE**2 / count):
        size = float(shifts[worst].square().sum().sqrt())
        by = f" by {size:.2g} pixels of a plane" if size < MOST_MEASURED else ""
        raise DataError(
            f"{tiles.source}: something {moves}: frame {worst} is shifted{by}, which makes "
            f"{100 * float(parts[worst]):.0f} % of what changes; take frames of a still scene from a tripod, or leave "
            "those out"
        )
    # Pixels that jump would outweigh all others.
    bound = WILD * _scale(rest)
    rest = rest.clamp(-bound, bound)
    copied = _copied(rest) / rest.square().mean()
    if float(copied.max()) > max(MOST_COPIED, SURE / count**0.5):
        raise DataError(
            f"{tiles.source}: the whole picture {moves}: frame {int(copied.argmax()) + 1} is in part the one before it "
            "at another place; take frames of a still scene from a tripod"
        )


def _without_signal(rest: Tensor, mean: Tensor) -> Tensor:
    """The rest (T, C, B, h, w) less an offset, and a gain of the mean frame (C, B, h, w), of each frame and plane."""
    rest = rest - rest.mean((2, 3, 4), keepdim=True)
    mean = mean - mean.mean((1, 2, 3), keepdim=True)
    gain = (rest * mean).sum((2, 3, 4), keepdim=True) / mean.square().sum((1, 2, 3), keepdim=True).clamp(min=1e-30)
    return rest - gain * mean


def _without_lines(values: Tensor) -> Tensor:
    """Less the means of the rows and columns of each tile."""
    return values - values.mean(-1, keepdim=True) - values.mean(-2, keepdim=True) + values.mean((-2, -1), keepdim=True)


def _shifts(rest: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Shift of each frame in rows and columns, (T, 2), by the mean frame's slopes; the mean square that it explains."""
    inner = rest[..., 1:-1, 1:-1]
    slopes = (
        torch.stack([mean[..., 2:, 1:-1] - mean[..., :-2, 1:-1], mean[..., 1:-1, 2:] - mean[..., 1:-1, :-2]]).flatten(1)
        / 2
    )
    normal = slopes @ slopes.T
    normal = normal + 1e-12 * normal.diagonal().sum() * torch.eye(2, dtype=normal.dtype)
    moments = inner.flatten(1) @ slopes.T
    shifts = torch.linalg.solve(normal, moments.T).T
    return -shifts, (shifts * moments).sum(1) / slopes.shape[1]


def _copied(rest: Tensor) -> Tensor:
    """Largest covariance of each frame with the next at another place, up to half a tile away, (T − 1,).

    Less that at the same place, which noise has that lasts, and the most negative one, which waves have.
    """
    frames, spectra = len(rest), torch.fft.rfft2(rest)
    products = (spectra[:-1].conj() * spectra[1:]).sum((1, 2))
    # Less the mean of all, frames have −1/T of the noise's own covariance in common.
    own = spectra.abs().square().sum((1, 2)).mean(0) / (frames - 1)
    found = torch.fft.irfft2(products + own, s=rest.shape[-2:]) / rest[0].numel()
    found = found.flatten(1)
    same, away = found[:, 0], found[:, 1:]
    largest: Tensor = away.max(1).values - same.clamp(min=0) - (-away.min(1).values).clamp(min=0)
    return largest


def _blocks(values: Tensor) -> Tensor:
    """Means of blocks, (…, h / 8, w / 8)."""
    split = values.unflatten(-1, (-1, BLOCK)).unflatten(-3, (-1, BLOCK))  # type: ignore[no-untyped-call]
    means: Tensor = split.mean((-1, -3))
    return means


def _without_frame_and_light(means: Tensor, signal: Tensor) -> Tensor:
    """Block means less the offset, and the gain of the light, of each frame and plane."""
    means = means.transpose(0, 1)
    means = means - means.flatten(3).transpose(1, 2).flatten(2).median(2).values[:, None, :, None, None]
    centred = signal.transpose(0, 1)
    centred = centred - centred.mean((1, 3, 4), keepdim=True)
    power = centred.square().sum((1, 3, 4), keepdim=True)
    slope = (means * centred).sum((1, 3, 4), keepdim=True) / power.clamp(min=1e-30)
    return (means - slope * centred).transpose(0, 1)


def _scale(values: Tensor) -> Tensor:
    """Robust σ: 1.4826 times the median of absolute values."""
    some = values.flatten()
    some = some[:: max(1, len(some) // 1_000_000)]
    return 1.4826 * some.abs().median().clamp(min=torch.finfo(values.dtype).tiny)
