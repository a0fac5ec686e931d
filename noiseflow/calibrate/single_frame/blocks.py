"""Blocks of a picture and their energy by spatial frequency."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn

__all__ = ["HIGH", "MIDDLE", "SIDE", "Blocks", "block_energies", "coefficients_at", "stride_for"]

Array = NDArray[np.float64]

SIDE = 8
"""Of a block, in pixels of a plane."""

MANY = 40_000
"""Blocks beyond which they no longer overlap: more would not narrow the error bars."""

_ROWS, _COLUMNS = np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="ij")
_INNER = (_ROWS >= 1) & (_COLUMNS >= 1)

HIGH: NDArray[np.bool_] = _INNER & (_ROWS + _COLUMNS >= 7)
"""Cosine coefficients that noise is measured in: 34 of high frequency, which no offset of a row or column enters."""

MIDDLE: NDArray[np.bool_] = _INNER & (_ROWS + _COLUMNS >= 3) & (_ROWS + _COLUMNS <= 6)
"""Fourteen of middle frequency: white noise has as much in them, what is left of a scene's texture has more."""

ACTIVE: NDArray[np.bool_] = _ROWS + _COLUMNS >= 2
"""All but the mean and the gradient: how much happens in a block."""


@dataclass(frozen=True, eq=False)
class Blocks:
    """Blocks of one plane, in raster order of their grid.

    Parameters
    ----------
    grid : tuple of int
        Rows and columns of blocks.
    stride : int
        Pixels from one block to the next.
    mean : ndarray, shape (B,)
        DN above black.
    high, middle, active : ndarray, shape (B,)
        Mean squared cosine coefficient in `HIGH`, `MIDDLE` and `ACTIVE`, DN²: the variance, if the block holds
        nothing but independent noise.
    """

    grid: tuple[int, int]
    stride: int
    mean: Array
    high: Array
    middle: Array
    active: Array


@cache
def _weights() -> NDArray[np.float32]:
    """(64, 3): means over the three sets of coefficients."""
    sets = np.stack([HIGH, MIDDLE, ACTIVE]).reshape(3, -1).astype(np.float32)
    return np.ascontiguousarray((sets / sets.sum(1, keepdims=True)).T)


def stride_for(shape: tuple[int, ...]) -> int:
    """Pixels from block to block: half a block, or a whole one where there are plenty."""
    return SIDE // 2 if 4 * shape[-2] * shape[-1] <= MANY * SIDE**2 else SIDE


def _bands(plane: NDArray[Any], stride: int) -> Iterator[NDArray[Any]]:
    """Rows of blocks, each (columns, 8, 8)."""
    windows = np.lib.stride_tricks.sliding_window_view(plane, (SIDE, SIDE))[::stride, ::stride]
    yield from windows


def block_energies(plane: NDArray[Any], black: float) -> Blocks:
    """Mean and energies of all blocks of a plane.

    Parameters
    ----------
    plane : ndarray, shape (H, W)
        DN; H and W at least `SIDE`.
    black : float
        DN.
    """
    stride = stride_for(plane.shape)
    means, energies = [], []
    for band in _bands(plane, stride):
        block = band.astype(np.float32) - np.float32(black)
        coefficients = dctn(block, axes=(1, 2), norm="ortho").reshape(len(block), -1)
        means.append(coefficients[:, 0] / SIDE)
        energies.append(np.square(coefficients) @ _weights())
    energy = np.concatenate(energies).astype(np.float64)
    grid = (len(means), len(means[0]))
    return Blocks(grid, stride, np.concatenate(means).astype(np.float64), *energy.T)


def coefficients_at(plane: NDArray[Any], blocks: Blocks, chosen: NDArray[np.intp]) -> NDArray[np.float32]:
    """Cosine coefficients of some blocks, shape (len(chosen), 8, 8), DN."""
    windows = np.lib.stride_tricks.sliding_window_view(plane, (SIDE, SIDE))[:: blocks.stride, :: blocks.stride]
    taken = windows[chosen // blocks.grid[1], chosen % blocks.grid[1]].astype(np.float32)
    return np.asarray(dctn(taken, axes=(1, 2), norm="ortho"))
