"""Cut a pair of frames into patches."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import RawError
from noiseflow.patches.options import IngestOptions
from noiseflow.patches.pairings import Pair
from noiseflow.patches.schema import CFAS, NOISY_TYPE, fields
from noiseflow.raw.bayer import offsets, one_plane
from noiseflow.raw.image import RawImage

__all__ = ["Cut", "Grid", "Sink", "corners_of", "cut", "patches_at"]


Grid = Callable[[tuple[int, ...], int], NDArray[Any]]
"""(H, W) of the planes, patch size → corners (y, x), shape (n, 2)."""

Rows = Callable[[int, slice], NDArray[Any]]
"""Number of a plane, some of its rows → their values, shape (rows, w)."""

Sink = Callable[[NDArray[np.uint16], NDArray[np.float32] | None], None]
"""Takes some patches, noisy and clean, DN, shape (k, C, h, w); they are overwritten afterwards."""


@dataclass(frozen=True, eq=False)
class Cut:
    """Patches of one frame.

    Parameters
    ----------
    table : structured ndarray of `fields`, shape (n,)
        Without names and checksums.
    clipped, masked : int
        Patches left out.
    """

    table: NDArray[Any]
    clipped: int
    masked: int


def nowhere(noisy: NDArray[np.uint16], clean: NDArray[np.float32] | None) -> None:
    """Keep nothing."""


def cut(
    pair: Pair,
    options: IngestOptions,
    split: int,
    draw: int,
    grid: Grid | None = None,
    *,
    sink: Sink = nowhere,
    codes: Rows | None = None,
    shared: bool = False,
) -> Cut:
    """Take a pair's patches on a grid, one row of patches at a time.

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
    sink : callable, optional
        Where the pixels go, in the order of the table.
    codes : callable, optional
        The pixels, if they are not in `pair.noisy`.
    shared : bool
        Whether the table has the columns of a shared clean signal.

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
    if codes is None and not image.whole:
        raise RawError(
            f"{image.source}: holds fractions or codes beyond 16 bits; a store holds the converter's own codes, "
            "whole numbers 0…65535"
        )
    corners = corners_of(image, options, draw, grid)
    black, white = image.levels()
    keep = np.zeros(len(corners), bool)
    clipped = masked = 0
    for span, noisy in patches_at(codes or _mosaic_rows(image), len(black), corners, size, NOISY_TYPE):
        kept = _clipped(noisy, white) <= options.max_clipped
        clipped += len(kept) - int(kept.sum())
        if pair.valid is not None:
            kept, left_out = _unmasked(pair.valid, corners[span], size, options.max_masked, kept)
            masked += left_out
        clean = None
        if pair.clean is not None:
            clean = next(_of(pair.clean, corners[span], size))
            clean = clean if kept.all() else clean[kept]
            if not np.isfinite(clean.sum((1, 2, 3))).all():
                raise RawError(f"{image.source}: NaN or infinite values in its clean signal")
        keep[span] = kept
        sink(noisy if kept.all() else noisy[kept], clean)
    corners = corners[keep]
    table = np.zeros(len(corners), fields(len(black), shared))
    table["iso"] = iso
    table["frame"] = pair.number
    table["y"], table["x"] = corners.T
    table["split"] = split
    table["black"] = black.ravel()
    table["white"] = white
    table["cfa"] = CFAS.index(image.cfa)
    table["clean_variance"] = pair.clean_variance
    return Cut(table, clipped, masked)


def corners_of(image: RawImage, options: IngestOptions, draw: int, grid: Grid | None = None) -> NDArray[Any]:
    """Where a frame's patches are, (y, x) in pixels of a plane, shape (n, 2): those left out too."""
    height, width = (length // 2 for length in image.mosaic.shape)
    corners = (grid or _side_by_side)((height, width), options.patch_size)
    if options.patches_per_frame is not None and options.patches_per_frame < len(corners):
        rng = np.random.default_rng((options.seed, draw))
        corners = corners[np.sort(rng.choice(len(corners), options.patches_per_frame, replace=False))]
    return corners


def _mosaic_rows(image: RawImage) -> Rows:
    """Rows of the planes from the mosaic: packing it first would copy it once more."""
    where = offsets(image.cfa)
    return lambda plane, rows: one_plane(image.mosaic[2 * rows.start : 2 * rows.stop], where[plane])


def _of(planes: NDArray[Any], corners: NDArray[Any], size: int) -> Iterator[NDArray[Any]]:
    for _, patches in patches_at(lambda plane, rows: planes[plane, rows], len(planes), corners, size, planes.dtype):
        yield patches


def _unmasked(
    valid: NDArray[np.bool_], corners: NDArray[Any], size: int, most: float, kept: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], int]:
    """Which of the patches kept have no more than a part of their pixels masked, and how many have."""
    top = int(corners[0, 0])
    if valid[:, top : top + size].all():
        return kept, 0
    invalid = 1 - next(_of(valid, corners, size)).mean((1, 2, 3)) > most
    return kept & ~invalid, int((kept & invalid).sum())


def _clipped(noisy: NDArray[Any], white: float) -> NDArray[np.float64]:
    """Part of each patch at code 0 or at the white level."""
    found = np.zeros(len(noisy))
    # Few are: the extremes tell of most pieces, and of most patches, that none of their pixels is.
    if noisy.size and noisy.min() > 0 and noisy.max() < white:
        return found
    some = np.flatnonzero((noisy.min((1, 2, 3), initial=1) == 0) | (noisy.max((1, 2, 3), initial=0) >= white))
    found[some] = ((noisy[some] == 0) | (noisy[some] >= white)).mean((1, 2, 3))
    return found


def _side_by_side(shape: tuple[int, ...], size: int) -> NDArray[Any]:
    """Corners of all patches that fit, row by row."""
    rows, columns = (np.arange(length // size) * size for length in shape)
    return np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)


def patches_at(
    rows: Rows, planes: int, corners: NDArray[Any], size: int, dtype: np.dtype[Any]
) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Patches, those beside each other in one piece: which of the corners, and shape (k, C, size, size).

    Their pixels stay in the processor's cache from one step to the next; the array is used
    again for the next piece.

    Parameters
    ----------
    rows : callable
        Gives rows of a plane.
    planes : int
        C.
    corners : ndarray, shape (n, 2)
        y, x.
    size : int
    dtype : dtype
    """
    starts = np.flatnonzero(np.diff(corners[:, 0], prepend=-1)) if len(corners) else np.empty(0, np.intp)
    found = np.empty((0, planes, size, size), dtype)
    line = np.dtype((np.void, size * dtype.itemsize))
    for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(corners)], strict=True):
        top, columns = int(corners[start, 0]), corners[start:stop, 1].astype(np.intp)
        if len(found) != len(columns):
            found = np.empty((len(columns), planes, size, size), dtype)
        # Side by side they are one block of the rows.
        together = bool((np.diff(columns) == size).all())
        for plane in range(planes):
            values = rows(plane, slice(top, top + size))
            if together:
                strip = values[:, columns[0] : columns[0] + size * len(columns)]
                if strip.dtype != dtype or strip.strides[1] != dtype.itemsize:
                    strip = np.ascontiguousarray(strip, dtype)
                # A patch's line is moved as one thing, not pixel by pixel.
                found.view(line)[:, plane, :, 0] = strip.view(line).T
            else:
                for patch, left in zip(found, columns.tolist(), strict=True):
                    patch[plane] = values[:, left : left + size]
        yield slice(start, stop), found
