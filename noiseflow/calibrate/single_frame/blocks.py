"""Blocks of a picture and their energies by spatial frequency."""

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
"""Side of a block, in pixels of a plane."""

MANY = 40_000
"""Number of blocks above which they no longer overlap: more would not narrow the error bars."""

_ROWS, _COLUMNS = np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="ij")
_INNER = (_ROWS >= 1) & (_COLUMNS >= 1)

HIGH: NDArray[np.bool_] = _INNER & (_ROWS + _COLUMNS >= 7)
"""The 34 high-frequency cosine coefficients that noise is measured in; row and column offsets do not affect them."""

MIDDLE: NDArray[np.bool_] = _INNER & (_ROWS + _COLUMNS >= 3) & (_ROWS + _COLUMNS <= 6)
"""The 14 middle-frequency coefficients: white noise is as strong in them as in `HIGH`, residual texture is stronger."""

ACTIVE: NDArray[np.bool_] = _ROWS + _COLUMNS >= 2
"""All coefficients but the mean and the gradient: a measure of a block's activity."""


@dataclass(frozen=True, eq=False)
class Blocks:
    """Blocks of one plane, in raster order of their grid.

    Parameters
    ----------
    grid : tuple of int
        Numbers of rows and columns of blocks.
    stride : int
        Distance of neighbouring blocks, pixels.
    mean : ndarray, shape (B,)
        Mean of each block, DN above black.
    high, middle, active : ndarray, shape (B,)
        Mean squared cosine coefficient in `HIGH`, `MIDDLE` and `ACTIVE`, DN².  Each equals the pixel variance if the
        block contains only independent noise.
    """

    grid: tuple[int, int]
    stride: int
    mean: Array
    high: Array
    middle: Array
    active: Array


@cache
def _weights() -> NDArray[np.float32]:
    """Return the weights that average over the three sets of coefficients, shape (64, 3)."""
    sets = np.stack([HIGH, MIDDLE, ACTIVE]).reshape(3, -1).astype(np.float32)
    return np.ascontiguousarray((sets / sets.sum(1, keepdims=True)).T)


def stride_for(shape: tuple[int, ...]) -> int:
    """Return the distance of neighbouring blocks in pixels: half a block, or a whole one if there are many blocks.

    Parameters
    ----------
    shape : tuple of int
        Shape of a plane; the last two are (H, W).
    """
    return SIDE // 2 if 4 * shape[-2] * shape[-1] <= MANY * SIDE**2 else SIDE


def _bands(plane: NDArray[Any], stride: int) -> Iterator[NDArray[Any]]:
    """Yield the rows of blocks, each of shape (columns, 8, 8)."""
    windows = np.lib.stride_tricks.sliding_window_view(plane, (SIDE, SIDE))[::stride, ::stride]
    yield from windows


def block_energies(plane: NDArray[Any], black: float) -> Blocks:
    """Compute mean and energies of all blocks of a plane.

    Parameters
    ----------
    plane : ndarray, shape (H, W)
        Codes, DN; H and W at least `SIDE`.
    black : float
        Black level, DN.

    Returns
    -------
    Blocks
        Means and energies in raster order.
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
    """Compute the cosine coefficients of some blocks.

    Parameters
    ----------
    plane : ndarray, shape (H, W)
        Codes, DN.
    blocks : Blocks
        All blocks of the plane.
    chosen : ndarray of int, shape (K,)
        Indices of the blocks.

    Returns
    -------
    ndarray, shape (K, 8, 8)
        Coefficients of the orthonormal cosine transform, DN.
    """
    windows = np.lib.stride_tricks.sliding_window_view(plane, (SIDE, SIDE))[:: blocks.stride, :: blocks.stride]
    taken = windows[chosen // blocks.grid[1], chosen % blocks.grid[1]].astype(np.float32)
    return np.asarray(dctn(taken, axes=(1, 2), norm="ortho"))
