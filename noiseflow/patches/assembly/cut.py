"""Cut a pair of frames into patches: first select the patches, then copy their pixels."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import RawError
from noiseflow.patches.assembly.bright import clipping_signals
from noiseflow.patches.options import IngestOptions
from noiseflow.patches.pairings.pairing import FramePair
from noiseflow.patches.schema import CFAS, NOISY_TYPE, fields
from noiseflow.raw.bayer import offsets, one_plane, unpack
from noiseflow.raw.image import RawImage
from noiseflow.raw.inspection.fractions import what_to_do

__all__ = ["Selection", "Sink", "cut_patches", "patches_at", "select_patches"]

MOST_MASKED = 0.5
"""Default of the largest fraction of a patch that may be masked."""

Grid = Callable[[tuple[int, ...], int], NDArray[Any]]
"""(H, W) of the planes, patch size → corners (y, x) of the patches, shape (n, 2)."""

Rows = Callable[[int, slice], NDArray[Any]]
"""Index of a plane, slice of its rows → their values, shape (rows, w)."""

Sink = Callable[[NDArray[np.uint16], NDArray[np.float32] | None, NDArray[np.bool_] | None], None]
"""Receives patches: noisy and clean in DN, and masks that are True where a pixel is masked (None if nowhere), each of
shape (k, C, h, w).  The arrays are overwritten after the call."""


@dataclass(frozen=True, eq=False)
class Selection:
    """The patches of a frame that are kept.

    Parameters
    ----------
    corners : ndarray of int, shape (n, 2)
        y, x of each kept patch in pixels of a plane, row by row.
    clipped : int
        Number of patches left out because too many pixels are at code 0 or clipped.
    masked : int
        Number of patches left out because too many pixels are masked.
    valid : ndarray of bool, shape (C, h, w), or None
        False where a pixel is masked: defective, moving, or with a clean signal at which the frame clips.  None if
        no pixel is masked.
    bright, zeros : int
        Number of values in the kept patches whose clean signal is one at which the frame clips, and number of values
        at code 0.
    """

    corners: NDArray[Any]
    clipped: int
    masked: int
    valid: NDArray[np.bool_] | None = None
    bright: int = 0
    zeros: int = 0


def select_patches(
    pair: FramePair,
    options: IngestOptions,
    draw: int,
    grid: Grid | None = None,
    signal: NDArray[Any] | None = None,
) -> Selection:
    """Select the patches of a frame on a grid.

    With a clean signal, bright, defective and moving pixels are masked, and pixels at code 0 are kept as censored
    observations; by default a patch is left out only if more than half of it is masked or all of it is at code 0.
    Without a clean signal, by default one pixel that is clipped, at code 0, defective or moving excludes the patch.

    Parameters
    ----------
    pair : FramePair
        The frame, with its mask.
    options : IngestOptions
        Patch size, number of patches, and the fraction of a patch that may be clipped or masked.
    draw : int
        Second seed for the choice of patches, different for each frame, if only some are kept.
    grid : callable, optional
        Positions of the patches, if the data set publishes them (see `Scene`); by default side by side.
    signal : ndarray, shape (C, h, w), optional
        The frame's clean signal, or the mean of its scene, DN.
    """
    image, size = pair.noisy, options.patch_size
    _, height, width = image.cube
    corners = (grid or _side_by_side)((height, width), size)
    if options.patches_per_frame is not None and options.patches_per_frame < len(corners):
        rng = np.random.default_rng((options.seed, draw))
        corners = corners[np.sort(rng.choice(len(corners), options.patches_per_frame, replace=False))]
    zero, high = _clipped_parts(pair, corners, size)
    most_clipped, most_masked = (
        default if most is None else most
        for most, default in ((options.max_clipped, float(signal is not None)), (options.max_masked, MOST_MASKED))
    )
    kept = zero + high <= most_clipped
    if options.max_clipped is None:
        kept &= zero < 1
    clipped, masked = len(kept) - int(kept.sum()), 0
    valid, bright = pair.valid, None
    if signal is None:
        most_masked = options.max_masked or 0.0
    elif high.any():
        bright = signal >= clipping_signals(pair, signal)[:, None, None]
        valid = ~bright if valid is None else valid & ~bright
    if valid is not None:
        invalid = _masked_part(valid, corners, size) > most_masked
        masked = int((kept & invalid).sum())
        kept &= ~invalid
    values = len(image.levels()[0]) * size**2
    return Selection(
        corners if kept.all() else corners[kept],
        clipped,
        masked,
        valid,
        0 if bright is None else round(float(_masked_part(~bright, corners[kept], size).sum()) * values),
        round(float(zero[kept].sum()) * values),
    )


def cut_patches(
    pair: FramePair,
    corners: NDArray[Any],
    size: int,
    split: int,
    *,
    sink: Sink,
    shared: bool = False,
    valid: NDArray[np.bool_] | None = None,
) -> NDArray[Any]:
    """Copy the patches of a pair to a sink, one row of patches at a time.

    Parameters
    ----------
    pair : FramePair
        The frame and its clean signal.
    corners : ndarray of int, shape (n, 2)
        y, x of each patch in pixels of a plane, from `Selection`.
    size : int
        Height and width of a patch in pixels of a plane.
    split : int
        Index in `SPLITS`.
    sink : callable
        Receives the pixels, in the order of the table.
    shared : bool
        Whether the table has the columns for a clean signal shared by several frames.
    valid : ndarray of bool, shape (C, h, w), optional
        False where a pixel is masked, from `Selection`.

    Returns
    -------
    structured ndarray of `fields`, shape (n,)
        One row per patch; names and checksums are not filled in.

    Raises
    ------
    RawError
        If the ISO is unknown, the codes are not integers of 16 bits, the clean signal has NaN or infinite values, or
        the frame equals its clean signal.
    """
    image = pair.noisy
    iso = image.iso
    if iso is None:
        raise RawError(f"{image.source}: the file does not say its ISO; give it with --iso")
    if pair.codes is None and not image.whole:
        raise RawError(
            f"{image.source}: contains fractions or codes beyond 16 bits; a store needs the converter's own codes, "
            f"integers 0…65535{what_to_do(image.mosaic)}"
        )
    black, white = image.levels()
    rows = _mosaic_rows(image) if pair.codes is None else _plane_rows(pair.codes)
    noiseless = pair.clean is not None and len(corners) > 0
    for span, noisy in patches_at(rows, len(black), corners, size, NOISY_TYPE):
        clean = None
        if pair.clean is not None:
            planes = pair.clean
            _, clean = next(patches_at(_plane_rows(planes), len(planes), corners[span], size, planes.dtype))
            if not np.isfinite(clean.sum((1, 2, 3))).all():
                raise RawError(f"{image.source}: NaN or infinite values in its clean signal")
            noiseless = noiseless and np.array_equal(noisy, clean)
        sink(noisy, clean, None if valid is None else _masks(valid, corners[span], size))
    if noiseless:
        raise RawError(
            f"{image.source}: equals its clean signal in every pixel, so there is no noise to store; is it the clean "
            "signal itself, or a copy of the other frame?"
        )
    table = np.zeros(len(corners), fields(len(black), shared))
    table["iso"] = iso
    table["frame"] = pair.number
    table["y"], table["x"] = corners.T
    table["split"] = split
    table["black"] = black.ravel()
    table["white"] = white
    table["cfa"] = CFAS.index(image.cfa)
    table["clean_variance"] = pair.clean_variance
    return table


def _masks(valid: NDArray[np.bool_], corners: NDArray[Any], size: int) -> NDArray[np.bool_] | None:
    """Masks of patches with the same y, True where masked, shape (k, C, h, w); None if no pixel is masked."""
    top, left, right = int(corners[0, 0]), int(corners[0, 1]), int(corners[-1, 1]) + size
    if valid[:, top : top + size, left:right].all():
        return None
    _, found = next(patches_at(_plane_rows(valid), len(valid), corners, size, np.dtype(bool)))
    return np.asarray(~found, bool)


def patches_at(
    rows: Rows, planes: int, corners: NDArray[Any], size: int, dtype: np.dtype[Any]
) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Copy patches, one row of patches at a time, so that their pixels stay in the processor's cache.

    Parameters
    ----------
    rows : callable
        (index of a plane, slice of rows) → values.
    planes : int
        Number of planes, C.
    corners : ndarray of int, shape (n, 2)
        y, x of each patch in pixels of a plane, sorted by y.
    size : int
        Height and width of a patch in pixels of a plane.
    dtype : dtype
        Type of the returned pixels.

    Yields
    ------
    span : slice
        The corners of these patches.
    patches : ndarray, shape (k, C, size, size)
        Their pixels; overwritten in the next step.
    """
    found = np.empty((0, planes, size, size), dtype)
    line = np.dtype((np.void, size * dtype.itemsize))
    for span in _spans(corners):
        top, columns = int(corners[span.start, 0]), corners[span, 1].astype(np.intp)
        if len(found) != len(columns):
            found = np.empty((len(columns), planes, size, size), dtype)
        # Patches side by side are one block of the rows.
        together = bool((np.diff(columns) == size).all())
        for plane in range(planes):
            values = rows(plane, slice(top, top + size))
            if together:
                strip = values[:, columns[0] : columns[0] + size * len(columns)]
                if strip.dtype != dtype or strip.strides[1] != dtype.itemsize:
                    strip = np.ascontiguousarray(strip, dtype)
                # Copy each row of a patch as one item instead of pixel by pixel.
                found.view(line)[:, plane, :, 0] = strip.view(line).T
            else:
                for patch, left in zip(found, columns.tolist(), strict=True):
                    patch[plane] = values[:, left : left + size]
        yield span, found


def _spans(corners: NDArray[Any]) -> Iterator[slice]:
    """Yield runs of corners with the same y."""
    if len(corners):
        starts = np.flatnonzero(np.diff(corners[:, 0], prepend=-1)).tolist()
        yield from map(slice, starts, [*starts[1:], len(corners)])


def _side_by_side(shape: tuple[int, ...], size: int) -> NDArray[Any]:
    """Corners of all patches that fit, row by row."""
    rows, columns = (np.arange(length // size) * size for length in shape)
    return np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)


def _mosaic_rows(image: RawImage) -> Rows:
    """Make the function that takes rows of a plane from the mosaic, without packing all of it first."""
    where = offsets(image.cfa)
    side = image.side
    return lambda plane, rows: one_plane(image.mosaic[side * rows.start : side * rows.stop], where[plane], side)


def _plane_rows(planes: NDArray[Any]) -> Rows:
    return lambda plane, rows: planes[plane, rows]


def _clipped_parts(
    pair: FramePair, corners: NDArray[Any], size: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fractions of each patch's pixels that are at code 0, and that clip, each of shape (n,)."""
    mosaic, codes, clip = pair.noisy.mosaic, pair.codes, pair.noisy.clip_levels()
    lowest = clip.min()
    side = pair.noisy.side
    # Clip levels by position in the cell, (1, side·size, side), for a mosaic; planes use `clip` itself.
    cell = np.tile(unpack(clip, pair.noisy.cfa), (size, 1))[None]

    def clipped(top: int) -> NDArray[np.intp] | None:
        """Number of pixels at code 0 and of clipped ones in each column of a row of patches, (2, w); None if none."""
        strip = mosaic[None, side * top : side * (top + size)] if codes is None else codes[:, top : top + size]
        low, high = (strip.min((0, 1)), strip.max((0, 1)))
        some = np.flatnonzero((low == 0) | (high >= lowest))
        if not some.size:
            return None
        few = strip[..., some]
        columns = np.zeros((2, strip.shape[2]), np.intp)
        columns[0, some] = (few == 0).sum((0, 1))
        columns[1, some] = (few >= (cell[..., some % side] if codes is None else clip)).sum((0, 1))
        if codes is not None:
            return columns
        return np.asarray(columns[:, : columns.shape[1] // side * side].reshape(2, -1, side).sum(2))

    zero, high = _parts_of_patches(clipped, corners, size, len(clip), 2)
    return zero, high


def _masked_part(valid: NDArray[np.bool_], corners: NDArray[Any], size: int) -> NDArray[np.float64]:
    """Fraction of each patch's pixels that are not valid, shape (n,)."""

    def masked(top: int) -> NDArray[np.intp] | None:
        strip = valid[:, top : top + size]
        return None if strip.all() else (~strip).sum((0, 1))

    (part,) = _parts_of_patches(masked, corners, size, len(valid), 1)
    return np.asarray(part)


def _parts_of_patches(
    count: Callable[[int], NDArray[np.intp] | None], corners: NDArray[Any], size: int, planes: int, kinds: int
) -> NDArray[np.float64]:
    """Fractions of each patch's pixels of several kinds, shape (kinds, n).

    `count` takes the top of a row of patches and returns the number of pixels of each kind in each column,
    shape (kinds, w), or None if there are none.
    """
    parts = np.zeros((kinds, len(corners)))
    for span in _spans(corners):
        columns = count(int(corners[span.start, 0]))
        if columns is not None:
            sums = np.cumsum(np.pad(columns.reshape(kinds, -1), ((0, 0), (1, 0))), axis=1)
            left = corners[span, 1]
            parts[:, span] = (sums[:, left + size] - sums[:, left]) / (planes * size**2)
    return parts
