"""Whether the scene of a sequence that is given as static stands still."""

import torch
from torch import Tensor

from noiseflow.core.errors import DataError
from noiseflow.fit.sequences.tiles import SequenceTiles

__all__ = ["check_still"]

BLOCK = 8
"""Side of the blocks whose means are compared, pixels of a plane."""

WILD = 6.0
"""σ from which a block's step counts as motion."""

MOST_PART = 0.005
"""Fraction of the blocks of any frame, or of all, that may."""

MOST_TOGETHER = 4.0
"""Largest ratio of the variance of block means to that of independent pixels; readout rows make it 1.3 at most."""


def check_still(tiles: SequenceTiles) -> None:
    """Refuse a sequence in which something moves: blocks that change by more than noise, frame and light explain.

    Raises
    ------
    DataError
        Naming the frame that changes most.
    """
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
