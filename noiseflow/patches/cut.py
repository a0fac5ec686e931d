"""Cut a pair of frames into patches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.errors import RawError
from noiseflow.patches.options import IngestOptions
from noiseflow.patches.pairings import Pair
from noiseflow.patches.schema import CFAS, CLEAN_TYPE, NOISY_TYPE, fields
from noiseflow.raw.bayer import offsets

__all__ = ["Cut", "cut"]


Grid = Callable[[tuple[int, ...], int], NDArray[Any]]
"""(H, W) of the planes, patch size → corners (y, x), shape (n, 2)."""


@dataclass(frozen=True, eq=False)
class Cut:
    """Patches of one frame.

    Parameters
    ----------
    noisy : ndarray of uint16, shape (n, C, h, w)
        DN.
    clean : ndarray of float32, shape (n, C, h, w), or None
        DN; None if it is not known.
    table : structured ndarray of `fields`, shape (n,)
        Without names and checksums.
    clipped, masked : int
        Patches left out.
    """

    noisy: NDArray[np.uint16]
    clean: NDArray[np.float32] | None
    table: NDArray[Any]
    clipped: int
    masked: int


def cut(pair: Pair, options: IngestOptions, split: int, draw: int, grid: Grid | None = None) -> Cut:
    """Take a pair's patches on a grid.

    Parameters
    ----------
    pair : Pair
    options : IngestOptions
    split : int
        Index in `SPLITS`.
    draw : int
        Beside the seed, which patches are drawn where not all are taken.
    grid : callable, optional
        Where the patches are, if the data set says so: see `Scene`.

    Raises
    ------
    RawError
        The ISO is not known, the codes do not fit into 16 bits, or the clean signal has
        NaN in some places.
    """
    image, size = pair.noisy, options.patch_size
    iso = image.iso
    if iso is None:
        raise RawError(f"{image.source}: the file does not say its ISO; give it with --iso")
    if not image.whole:
        raise RawError(
            f"{image.source}: holds fractions or codes beyond 16 bits; a store holds the converter's own codes, "
            "whole numbers 0…65535"
        )
    # Views of the mosaic: packing it to planes first would copy it once more.
    height, width = (length // 2 for length in image.mosaic.shape)
    planes = [image.mosaic[y : 2 * height : 2, x : 2 * width : 2] for y, x in offsets(image.cfa)]
    corners = (grid or _side_by_side)((height, width), size)
    if options.patches_per_frame is not None and options.patches_per_frame < len(corners):
        rng = np.random.default_rng((options.seed, draw))
        corners = corners[np.sort(rng.choice(len(corners), options.patches_per_frame, replace=False))]
    noisy = _patches(planes, corners, size, NOISY_TYPE)
    keep = _clipped(noisy, image.white) <= options.max_clipped
    clipped, masked = len(keep) - int(keep.sum()), 0
    if pair.valid is not None and not pair.valid.all():
        invalid = 1 - _patches(pair.valid, corners, size, np.dtype(bool)).mean((1, 2, 3))
        masked = int((keep & (invalid > options.max_masked)).sum())
        keep &= invalid <= options.max_masked
    if not keep.all():
        noisy, corners = noisy[keep], corners[keep]
    black, white = image.levels()
    table = np.zeros(len(corners), fields(len(planes)))
    table["iso"] = iso
    table["frame"] = pair.number
    table["y"], table["x"] = corners.T
    table["split"] = split
    table["black"] = black.ravel()
    table["white"] = white
    table["cfa"] = CFAS.index(image.cfa)
    table["clean_variance"] = pair.clean_variance
    clean = None
    if pair.clean is not None:
        clean = _patches(pair.clean, corners, size, CLEAN_TYPE)
        if not np.isfinite(clean.sum((1, 2, 3))).all():
            raise RawError(f"{image.source}: NaN or infinite values in its clean signal")
    return Cut(noisy, clean, table, clipped, masked)


def _clipped(noisy: NDArray[Any], white: float) -> NDArray[np.float64]:
    """Part of each patch at code 0 or at the white level."""
    found = np.zeros(len(noisy))
    # Few are: the extremes tell of most patches that none of their pixels is.
    some = np.flatnonzero((noisy.min((1, 2, 3), initial=1) == 0) | (noisy.max((1, 2, 3), initial=0) >= white))
    found[some] = ((noisy[some] == 0) | (noisy[some] >= white)).mean((1, 2, 3))
    return found


def _side_by_side(shape: tuple[int, ...], size: int) -> NDArray[Any]:
    """Corners of all patches that fit, row by row."""
    rows, columns = (np.arange(length // size) * size for length in shape)
    return np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)


def _patches(
    planes: Sequence[NDArray[Any]] | NDArray[Any], corners: NDArray[Any], size: int, dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Patches at these corners, shape (n, C, size, size)."""
    rows, columns = corners.T // size
    height, width = planes[0].shape
    found: NDArray[Any] = np.empty((len(corners), len(planes), size, size), dtype)
    aligned = not (corners % size).any()
    whole = aligned and len(corners) == (height // size) * (width // size)
    for plane, values in enumerate(planes):
        grid = values[: height // size * size, : width // size * size]
        grid = grid.reshape(height // size, size, width // size, size).swapaxes(1, 2)
        if whole:
            # One pass instead of two.
            found.reshape(*grid.shape[:2], len(planes), size, size)[:, :, plane] = grid
        elif aligned:
            found[:, plane] = grid[rows, columns]
        else:
            for patch, (y, x) in zip(found, corners.tolist(), strict=True):
                patch[plane] = values[y : y + size, x : x + size]
    return found
