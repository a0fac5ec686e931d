"""A first look at the real data: what there is, and between which values."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.errors import DataError
from noiseflow.patches.store import PatchBatch, PatchStore
from noiseflow.progress import Progress
from noiseflow.raw.bayer import plane_names

__all__ = ["Cell", "Survey", "scale_dn", "signal_dn", "survey"]


@dataclass(frozen=True)
class Cell:
    """One camera at one ISO, and the range of its real data.

    Parameters
    ----------
    camera : str or None
        None for the whole of the data.
    iso : float or None
        Likewise.
    patches : int
    noise_low, noise_high, noise_deviation : float
        Of the normalised noise.
    signal_low, signal_high : float
        Of what pixels are sorted by (`signal_dn`), DN above black.
    scale_dn : float
        Mean of white − black over planes and patches.
    """

    camera: str | None
    iso: float | None
    patches: int
    noise_low: float
    noise_high: float
    noise_deviation: float
    signal_low: float
    signal_high: float
    scale_dn: float


@dataclass(frozen=True, eq=False)
class Survey:
    """What is to be scored.

    Parameters
    ----------
    rows : ndarray of int, shape (N,)
        Rows of the store, rising.
    group : ndarray of int, shape (N,)
        Frame that each patch is of.  The groups are the distinct (camera, ISO, scene,
        frame): patches of one share whatever is common to a frame.
    cell_of_group : ndarray of int, shape (G,)
        Index into `cells` of each group.
    cells : tuple of Cell
        Each camera at each ISO.
    whole : Cell
        All of it.
    brightness, texture : ndarray, shape (N,)
        Mean and standard deviation of each patch's clean signal, normalised.
    clean_variance : ndarray, shape (N,)
        Of each patch's clean signal as an estimate, as a part of the noise's.
    patch_shape : tuple of int
        (C, h, w).
    plane_names : tuple of str
    """

    rows: NDArray[np.int64]
    group: NDArray[np.int64]
    cell_of_group: NDArray[np.int64]
    cells: tuple[Cell, ...]
    whole: Cell
    brightness: NDArray[np.float64]
    texture: NDArray[np.float64]
    clean_variance: NDArray[np.float64]
    patch_shape: tuple[int, int, int]
    plane_names: tuple[str, ...]

    @property
    def groups(self) -> int:
        """Number of groups."""
        return len(self.cell_of_group)

    def scopes(self) -> tuple[tuple[Cell, NDArray[np.bool_]], ...]:
        """The whole, then each cell, with a mask of its groups; a single cell is the whole."""
        whole = (self.whole, np.ones(self.groups, np.bool_))
        if len(self.cells) == 1:
            return (whole,)
        return (whole, *((cell, self.cell_of_group == index) for index, cell in enumerate(self.cells)))


def scale_dn(batch: PatchBatch) -> NDArray[np.float64]:
    """White − black in DN, per patch and plane, shape (B, C)."""
    scale: NDArray[np.float64] = batch.table["white"][:, None].astype(np.float64) - batch.table["black"]
    return scale


def signal_dn(batch: PatchBatch) -> Tensor:
    """Signal in DN above black, by which pixels can be sorted, shape (B, C, h, w), float64.

    It is the clean signal; where that is an estimate, the mean of it over the patch and
    plane.  A pixel's own estimate has an error, and sorting by it would sort by that error:
    in a bin above the true signal the estimate is too high and the noise too low.
    """
    clean = batch.clean.double() * torch.from_numpy(scale_dn(batch))[:, :, None, None]
    estimated = torch.from_numpy(batch.table["clean_variance"] > 0)[:, None, None, None]
    return torch.where(estimated, clean.mean((2, 3), keepdim=True), clean)


def survey(store: PatchStore, rows: NDArray[np.int64], *, batch: int, progress: Progress) -> Survey:
    """Read the real data once.

    Parameters
    ----------
    store : PatchStore
    rows : ndarray of int
        Rows to score.
    batch : int
        Patches read at a time.
    progress : Progress
        Told of patches read.

    Raises
    ------
    DataError
        If the noise is the same everywhere, as in frames that are clipped throughout.
    """
    table = store.table[rows]
    keys, group = np.unique(table[["camera", "iso", "scene", "frame"]], return_inverse=True)
    cell_keys, cell_of_group = np.unique(keys[["camera", "iso"]], return_inverse=True)
    cell_of_row = cell_of_group[group]
    brightness, texture = np.empty(len(rows)), np.empty(len(rows))
    # Per patch: noise min, max, mean, mean square; signal min, max; scale.
    facts = np.empty((len(rows), 7))
    for start in range(0, len(rows), batch):
        part = slice(start, start + batch)
        read = store.read(rows[part])
        flat, clean = read.noise.flatten(1), read.clean.flatten(1).double()
        scale = scale_dn(read)
        signal = signal_dn(read)
        brightness[part], texture[part] = clean.mean(1).numpy(), clean.std(1, correction=0).numpy()
        columns = (
            flat.amin(1),
            flat.amax(1),
            flat.mean(1, dtype=torch.float64),
            flat.double().square().mean(1),
            signal.amin((1, 2, 3)),
            signal.amax((1, 2, 3)),
            torch.from_numpy(scale.mean(1)),
        )
        facts[part] = torch.stack([column.double() for column in columns], 1).numpy()
        progress(min(start + batch, len(rows)), len(rows), "survey of the data")
    whole = _cell(None, None, facts)
    if not whole.noise_high > whole.noise_low:
        raise DataError(
            f"{store.path}: the noise of all {len(rows)} patches is {whole.noise_low:g} everywhere; are the frames "
            "clipped throughout, or compared with themselves?"
        )
    cells = tuple(
        _cell(store.cameras[key["camera"]], float(key["iso"]), facts[cell_of_row == index])
        for index, key in enumerate(cell_keys)
    )
    if len(cells) == 1:
        whole = cells[0]
    return Survey(
        rows=rows,
        group=group,
        cell_of_group=cell_of_group,
        cells=cells,
        whole=whole,
        brightness=brightness,
        texture=texture,
        clean_variance=table["clean_variance"].astype(np.float64),
        patch_shape=store.patch_shape,
        plane_names=plane_names(store.layout),
    )


def _cell(camera: str | None, iso: float | None, facts: NDArray[np.float64]) -> Cell:
    mean = facts[:, 2].mean()
    return Cell(
        camera=camera,
        iso=iso,
        patches=len(facts),
        noise_low=float(facts[:, 0].min()),
        noise_high=float(facts[:, 1].max()),
        noise_deviation=float(np.sqrt(max(facts[:, 3].mean() - mean**2, 0.0))),
        signal_low=float(facts[:, 4].min()),
        signal_high=float(facts[:, 5].max()),
        scale_dn=float(facts[:, 6].mean()),
    )
