"""Summary of the real data: cameras, ISOs, scenes, and ranges of noise and signal."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.core.errors import DataError
from noiseflow.core.progress import Progress
from noiseflow.evaluate.statistics.noise_curve import KNOTS, LOOKUP, NoiseCurve, add_to_knots, curve_through
from noiseflow.flows.observed import imputed
from noiseflow.patches.store.patches import PatchBatch
from noiseflow.patches.store.store import PatchStore
from noiseflow.raw.bayer import plane_names

__all__ = [
    "CLOSE_VALUES",
    "COARSE",
    "FEWEST_SCENES",
    "SIGNAL_BINS",
    "Cell",
    "Survey",
    "read_whole",
    "scale_dn",
    "signal_bins",
    "signal_dn",
    "survey",
]

FEWEST_SCENES = 8
"""Fewest scenes for intervals over scenes; with fewer, intervals are over frames."""

CLOSE_VALUES = 2**22
"""Largest number of values per source that expensive metrics use."""

COARSE = 0.02
"""Fraction of the smallest noise variance; codes are coarse where 1/12 DN² exceeds it, that is where σ < 2 DN."""

MOST_PAIRS = 512
"""Largest number of pairs of patches in successive frames."""

PLACE = ("camera", "iso", "scene", "y", "x")
"""Fields that the two patches of a pair share."""

SIGNAL_BINS = 6
"""Bins of a patch's mean signal."""


@dataclass(frozen=True)
class Cell:
    """One camera at one ISO, and the range of its real data.

    Parameters
    ----------
    camera : str or None
        Name of the camera; None for all data.
    iso : float or None
        ISO; None for all data.
    patches : int
        Number of patches.
    noise_low, noise_high, noise_deviation : float
        Minimum, maximum and standard deviation of the normalised noise.
    signal_low, signal_high : float
        Range of the signal by which pixels are binned (`signal_dn`), DN above black.
    scale_dn : float
        Mean of white − black over planes and patches, DN.
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
    """Summary of the patches to be scored.

    Parameters
    ----------
    rows : ndarray of int, shape (N,)
        Rows of the store, rising.
    group : ndarray of int, shape (N,)
        Index of the group of each patch: its scene at one camera and ISO, or, with fewer than `FEWEST_SCENES`
        scenes, its frame.  Patches of one group are not independent.
    group_is : str
        ``"scene"`` or ``"frame"``.
    groups : int
        Number of groups, G.
    frames : int
        Number of distinct frames.
    cell_of_group : ndarray of int, shape (G,)
        Index into `cells` of each group.
    cells : tuple of Cell
        Each camera at each ISO.
    whole : Cell
        All data together.
    brightness, texture : ndarray, shape (N,)
        Mean and standard deviation of each patch's clean signal, normalised.
    clean_variance : ndarray, shape (N,)
        Variance of each patch's clean estimate as a fraction of the noise variance.
    clipped : float
        Fraction of pixels at code 0 or at the white level.
    still : int
        Number of patches whose noise is constant, as when clipped throughout.
    curve : NoiseCurve
        σ of the real noise over the signal.
    close : ndarray of bool, shape (N,)
        The close patches, which expensive metrics are limited to: at most `CLOSE_VALUES` values.
    pairs : ndarray of int, shape (P, 2)
        Pairs of patches (positions in `rows`) at the same place in two successive frames of a
        scene; at most `MOST_PAIRS`, spread evenly over the scenes.
    patch_shape : tuple of int
        (C, h, w).
    plane_names : tuple of str
        Names of the planes in order.
    """

    rows: NDArray[np.int64]
    group: NDArray[np.int64]
    group_is: str
    groups: int
    frames: int
    cell_of_group: NDArray[np.int64]
    cells: tuple[Cell, ...]
    whole: Cell
    brightness: NDArray[np.float64]
    texture: NDArray[np.float64]
    clean_variance: NDArray[np.float64]
    clipped: float
    still: int
    curve: NoiseCurve
    close: NDArray[np.bool_]
    pairs: NDArray[np.int64]
    patch_shape: tuple[int, int, int]
    plane_names: tuple[str, ...]

    @property
    def smallest_sigma_dn(self) -> float:
        """Smallest σ of the real noise at any signal of any camera and ISO, DN."""
        smallest = math.inf
        for curve, cell in zip(self.curve.sigma.numpy(), self.cells, strict=True):
            ends = np.array([cell.signal_low, cell.signal_high]) / cell.scale_dn
            first, last = np.rint(np.sqrt(ends.clip(0.0, 1.0)) * (LOOKUP - 1)).astype(int)
            smallest = min(smallest, float(curve[first : last + 1].min()) * cell.scale_dn)
        return smallest

    @property
    def coarse(self) -> bool:
        """Whether the codes are coarse relative to the noise at any camera and ISO; see `COARSE`."""
        return COARSE * self.smallest_sigma_dn**2 < 1 / 12

    def scopes(self) -> tuple[tuple[Cell, NDArray[np.bool_]], ...]:
        """Return all data and then each cell, each with a mask of its groups; a single cell is returned once."""
        whole = (self.whole, np.ones(self.groups, np.bool_))
        if len(self.cells) == 1:
            return (whole,)
        return (whole, *((cell, self.cell_of_group == index) for index, cell in enumerate(self.cells)))

    def by_camera(self) -> tuple[tuple[str | None, NDArray[np.bool_]], ...]:
        """Return each camera with a mask of its groups; empty unless there are several, and one has several ISOs."""
        names = list(dict.fromkeys(cell.camera for cell in self.cells))
        if not 1 < len(names) < len(self.cells):
            return ()
        camera_of = np.array([names.index(cell.camera) for cell in self.cells])[self.cell_of_group]
        return tuple((name, camera_of == index) for index, name in enumerate(names))


def signal_bins(survey: Survey) -> NDArray[np.int64]:
    """Bin patches by their mean signal, in `SIGNAL_BINS` bins that are equally spaced in its square root.

    Parameters
    ----------
    survey : Survey
        Summary of the patches.

    Returns
    -------
    ndarray of int, shape (N,)
        Bin of each patch.
    """
    roots = np.sqrt(np.maximum(survey.brightness, 0.0))
    step = max(float(roots.max() - roots.min()) / SIGNAL_BINS, 1e-12)
    bins: NDArray[np.int64] = np.floor((roots - roots.min()) / step).clip(0, SIGNAL_BINS - 1).astype(np.int64)
    return bins


def scale_dn(batch: PatchBatch) -> NDArray[np.float64]:
    """Return white − black in DN, per patch and plane, shape (B, C)."""
    scale: NDArray[np.float64] = batch.table["white"][:, None].astype(np.float64) - batch.table["black"]
    return scale


def signal_dn(batch: PatchBatch) -> Tensor:
    """Return the signal by which pixels are binned: the clean signal, or its mean over a patch if it is an estimate.

    A pixel's own estimate has an error that is also in its noise.  Binning by it would bias both: in a high
    bin, the estimates are too high and the noise too low.

    Parameters
    ----------
    batch : PatchBatch
        The patches.

    Returns
    -------
    Tensor of float64, shape (B, C, h, w)
        DN above black.
    """
    clean = batch.clean.double() * torch.from_numpy(scale_dn(batch))[:, :, None, None]
    estimated = torch.from_numpy(batch.table["clean_variance"] > 0)[:, None, None, None]
    return torch.where(estimated, clean.mean((2, 3), keepdim=True), clean)


def survey(store: PatchStore, rows: NDArray[np.int64], *, batch: int, seed: int, progress: Progress) -> Survey:
    """Summarise the real data, reading it once.

    Parameters
    ----------
    store : PatchStore
        Store of the patches.
    rows : ndarray of int, shape (N,)
        Rows to score, rising.
    batch : int
        Number of patches read at a time.
    seed : int
        Seed of the choice of close patches.
    progress : Progress
        Called with the number of patches read.

    Returns
    -------
    Survey
        The summary.

    Raises
    ------
    DataError
        The noise has the same value everywhere, as in frames that are clipped throughout.
    """
    table = store.table[rows]
    group_is = "scene" if len(np.unique(table["scene"])) >= FEWEST_SCENES else "frame"
    of_a_scene = ["camera", "iso", "scene"]
    frames = len(np.unique(table[[*of_a_scene, "frame"]]))
    keys, group = np.unique(table[of_a_scene if group_is == "scene" else [*of_a_scene, "frame"]], return_inverse=True)
    cell_keys, cell_of_group = np.unique(keys[["camera", "iso"]], return_inverse=True)
    cell_of_row = cell_of_group[group]
    facts = np.empty((len(rows), FACTS))
    knots = np.zeros((3, len(cell_keys) * KNOTS))
    for start in range(0, len(rows), batch):
        part = slice(start, start + batch)
        read = read_whole(store, rows[part])
        signal = signal_dn(read)
        facts[part] = _facts(read, signal)
        normalised = signal / torch.from_numpy(scale_dn(read))[:, :, None, None]
        add_to_knots(knots, read.noise, normalised, cell_of_row[part])
        progress(min(start + batch, len(rows)), len(rows), "patches")
    whole = _cell(None, None, facts)
    if not whole.noise_high > whole.noise_low:
        raise DataError(
            f"{store.path}: the noise of all {len(rows)} patches is {whole.noise_low:g} everywhere; expected noise "
            "that varies. Are the frames clipped throughout, or compared with themselves?"
        )
    cells = tuple(
        _cell(store.cameras[key["camera"]], float(key["iso"]), facts[cell_of_row == index])
        for index, key in enumerate(cell_keys)
    )
    return Survey(
        rows=rows,
        group=group,
        group_is=group_is,
        groups=len(keys),
        frames=frames,
        cell_of_group=cell_of_group,
        cells=cells,
        whole=cells[0] if len(cells) == 1 else whole,
        brightness=facts[:, 8],
        texture=facts[:, 9],
        clean_variance=table["clean_variance"].astype(np.float64),
        clipped=float(facts[:, 7].mean()),
        still=int((facts[:, 1] == facts[:, 0]).sum()),
        curve=curve_through(knots.reshape(3, len(cell_keys), KNOTS)),
        close=_close(group, max(CLOSE_VALUES // int(np.prod(store.patch_shape)), 1), seed),
        pairs=_pairs(table),
        patch_shape=store.patch_shape,
        plane_names=plane_names(store.layout),
    )


def read_whole(store: PatchStore, rows: NDArray[np.int64]) -> PatchBatch:
    """Read patches, with noise of ±σ of the neighbours at each masked pixel, so that no outlier remains.

    Parameters
    ----------
    store : PatchStore
        Store of the patches.
    rows : ndarray of int, shape (B,)
        Rows to read.

    Returns
    -------
    PatchBatch
        The patches.
    """
    read = store.read(rows)
    return read if read.observed is None else replace(read, noise=imputed(read.noise, read.observed)[0])


FACTS = 10
"""Number of facts per patch."""


def _facts(read: PatchBatch, signal: Tensor) -> NDArray[np.float64]:
    """Return facts about each patch, shape (B, FACTS), in the order of `columns`."""
    flat, clean = read.noise.flatten(1), read.clean.flatten(1).double()
    columns = (
        flat.amin(1),
        flat.amax(1),
        flat.mean(1, dtype=torch.float64),
        flat.double().square().mean(1),
        signal.amin((1, 2, 3)),
        signal.amax((1, 2, 3)),
        torch.from_numpy(scale_dn(read).mean(1)),
        _clipped(read),
        clean.mean(1),
        clean.std(1, correction=0),
    )
    facts: NDArray[np.float64] = torch.stack([column.double() for column in columns], 1).numpy()
    return facts


def _cell(camera: str | None, iso: float | None, facts: NDArray[np.float64]) -> Cell:
    """Summarise the facts of some patches."""
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


def _clipped(read: PatchBatch) -> Tensor:
    """Return the fraction of each patch's pixels at code 0 or at the white level, shape (B,)."""
    white = torch.from_numpy(read.table["white"].astype(np.float64))[:, None, None, None]
    spread = torch.from_numpy(np.sqrt(1.0 + read.table["clean_variance"].astype(np.float64)))[:, None, None, None]
    black = torch.from_numpy(read.table["black"].astype(np.float64))[:, :, None, None]
    zero, one = (-black / (white - black)).float(), torch.ones_like(black).float()
    noisy = read.noise * spread.float() + read.clean
    # A tolerance of half a code covers the rounding of float32.
    half = (0.5 / (white - black)).float()
    return ((noisy < zero + half) | (noisy > one - half)).double().mean((1, 2, 3))


def _close(group: NDArray[np.int64], most: int, seed: int) -> NDArray[np.bool_]:
    """Choose at most `most` patches, evenly from all groups and at random within each."""
    shuffled = np.random.default_rng(seed).permutation(len(group))
    order = shuffled[np.argsort(group[shuffled], kind="stable")]
    sizes = np.bincount(group)
    rank_in_group = np.arange(len(group)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    close = np.zeros(len(group), np.bool_)
    close[order[np.argsort(rank_in_group, kind="stable")[:most]]] = True
    return close


def _pairs(table: NDArray[np.void]) -> NDArray[np.int64]:
    """Return pairs of patches at the same place in successive frames of a scene, shape (P, 2)."""
    order = np.lexsort((table["frame"], table["x"], table["y"], table["scene"], table["iso"], table["camera"]))
    one, next_one = order[:-1], order[1:]
    same = np.logical_and.reduce([table[name][one] == table[name][next_one] for name in PLACE])
    successive = same & (table["frame"][next_one] == table["frame"][one] + 1)
    pairs: NDArray[np.int64] = np.stack([one, next_one], 1)[successive]
    if len(pairs) > MOST_PAIRS:
        pairs = pairs[np.linspace(0, len(pairs) - 1, MOST_PAIRS).round().astype(np.int64)]
    return pairs
