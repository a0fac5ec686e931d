"""Cut a pair of frames into patches."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.errors import RawError
from noiseflow.patches.options import IngestOptions
from noiseflow.patches.pairing import Pair
from noiseflow.patches.schema import CFAS, CLEAN_TYPE, NOISY_TYPE, fields

__all__ = ["Cut", "cut"]


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


def cut(pair: Pair, options: IngestOptions, split: int, draw: int) -> Cut:
    """Take a pair's patches on a grid.

    Parameters
    ----------
    pair : Pair
    options : IngestOptions
    split : int
        Index in `SPLITS`.
    draw : int
        Beside the seed, which patches are drawn where not all are taken.

    Raises
    ------
    RawError
        The ISO is not known, the codes do not fit into 16 bits, or the clean signal has
        NaN in some places.
    """
    image, size = pair.noisy, options.patch_size
    iso = image.iso or options.iso
    if iso is None:
        raise RawError(f"{image.source}: the file does not say its ISO; give it with --iso")
    planes = image.planes()
    _must_fit(planes, image.source)
    corners = _corners(planes.shape[1:], size)
    if options.patches_per_frame is not None and options.patches_per_frame < len(corners):
        rng = np.random.default_rng((options.seed, draw))
        corners = corners[np.sort(rng.choice(len(corners), options.patches_per_frame, replace=False))]
    noisy = _patches(planes.astype(NOISY_TYPE, copy=False), corners, size)
    lowest, highest = noisy.min((1, 2, 3), initial=1), noisy.max((1, 2, 3), initial=0)
    keep = (lowest > 0) & (highest < image.white)
    if options.max_clipped:
        at_end = (noisy <= 0) | (noisy >= image.white)
        keep = at_end.mean((1, 2, 3)) <= options.max_clipped
    clipped = len(keep) - int(keep.sum())
    masked = 0
    if pair.valid is not None:
        invalid = 1 - _patches(pair.valid, corners, size).mean((1, 2, 3))
        masked = int((keep & (invalid > options.max_masked)).sum())
        keep &= invalid <= options.max_masked
    corners = corners[keep]
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
    if not np.isnan(pair.clean[..., :1, :1]).all() or not np.isnan(pair.clean).all():
        clean = _patches(pair.clean.astype(CLEAN_TYPE, copy=False), corners, size)
        if not np.isfinite(clean.sum((1, 2, 3))).all():
            raise RawError(f"{image.source}: NaN or infinite values in its clean signal")
    return Cut(noisy if keep.all() else noisy[keep], clean, table, clipped, masked)


def _must_fit(planes: NDArray[Any], source: str) -> None:
    if planes.dtype == NOISY_TYPE:
        return
    low, high = float(planes.min(initial=0)), float(planes.max(initial=0))
    whole = np.issubdtype(planes.dtype, np.integer) or bool((planes == np.rint(planes)).all())
    if not (whole and low >= 0 and high < 2**16):
        raise RawError(
            f"{source}: codes {low:g}…{high:g} of type {planes.dtype}; a store holds whole numbers 0…65535, as the "
            "converter gave them"
        )


def _corners(shape: tuple[int, ...], size: int) -> NDArray[Any]:
    """Corners (y, x) of the grid of whole patches, shape (n, 2)."""
    rows, columns = (np.arange(length // size) * size for length in shape)
    return np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)


def _patches(planes: NDArray[Any], corners: NDArray[Any], size: int) -> NDArray[Any]:
    """Patches of the grid at these corners, shape (n, C, size, size)."""
    count, height, width = planes.shape
    grid = planes[:, : height // size * size, : width // size * size]
    grid = grid.reshape(count, height // size, size, width // size, size).transpose(1, 3, 0, 2, 4)
    rows, columns = corners.T // size
    return np.ascontiguousarray(grid[rows, columns])
