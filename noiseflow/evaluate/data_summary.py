"""A summary of the real data: what there is, and between which values."""

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
"""Scenes from which on intervals rest on scenes; with fewer they rest on frames."""

CLOSE_VALUES = 2**22
"""Values of each source that the expensive measures look at."""

COARSE = 0.02
"""A code is coarse where 1/12 DN² is more than this fraction of the variance in the dark: where σ is below 2 DN."""

MOST_PAIRS = 512
PLACE = ("camera", "iso", "scene", "y", "x")
SIGNAL_BINS = 6


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
        Number of patches.
    noise_low, noise_high, noise_deviation : float
        Least, largest and standard deviation of the normalised noise.
    signal_low, signal_high : float
        Ends of the signal by which pixels are sorted (`signal_dn`), DN above black.
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
        Scene that each patch is of, at one camera and ISO: patches of one share whatever is
        common to a scene.  With fewer than `FEWEST_SCENES` scenes, frame.
    group_is : str
        ``"scene"`` or ``"frame"``.
    groups : int
        Number of groups, G.
    frames : int
        Distinct frames.
    cell_of_group : ndarray of int, shape (G,)
        Index into `cells` of each group.
    cells : tuple of Cell
        Each camera at each ISO.
    whole : Cell
        All of it.
    brightness, texture : ndarray, shape (N,)
        Mean and standard deviation of each patch's clean signal, normalised.
    clean_variance : ndarray, shape (N,)
        Variance of each patch's clean signal as an estimate, as a fraction of the noise's.
    clipped : float
        Fraction of the pixels at code 0 or at the white level.
    still : int
        Patches whose noise does not vary, clipped throughout.
    curve : NoiseCurve
        σ of the real noise by signal.
    close : ndarray of bool, shape (N,)
        The patches that expensive measures look at: at most `CLOSE_VALUES` values.
    pairs : ndarray of int, shape (P, 2)
        Patches (as positions in `rows`) of the same place in two successive frames of a
        scene, from all scenes evenly.
    patch_shape : tuple of int
        (C, h, w).
    plane_names : tuple of str
        Names of the planes, in their order.
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
        """Smallest σ of the real noise over the signals of each camera at each ISO, DN."""
        smallest = math.inf
        for curve, cell in zip(self.curve.sigma.numpy(), self.cells, strict=True):
            ends = np.array([cell.signal_low, cell.signal_high]) / cell.scale_dn
            first, last = np.rint(np.sqrt(ends.clip(0.0, 1.0)) * (LOOKUP - 1)).astype(int)
            smallest = min(smallest, float(curve[first : last + 1].min()) * cell.scale_dn)
        return smallest

    @property
    def coarse(self) -> bool:
        """Whether a code is coarse against the noise somewhere; see `COARSE`."""
        return COARSE * self.smallest_sigma_dn**2 < 1 / 12

    def scopes(self) -> tuple[tuple[Cell, NDArray[np.bool_]], ...]:
        """The whole, then each cell, with a mask of its groups; a single cell is the whole."""
        whole = (self.whole, np.ones(self.groups, np.bool_))
        if len(self.cells) == 1:
            return (whole,)
        return (whole, *((cell, self.cell_of_group == index) for index, cell in enumerate(self.cells)))

    def by_camera(self) -> tuple[tuple[str | None, NDArray[np.bool_]], ...]:
        """Each camera with a mask of its groups, if there are several and one has several ISOs."""
        names = list(dict.fromkeys(cell.camera for cell in self.cells))
        if not 1 < len(names) < len(self.cells):
            return ()
        camera_of = np.array([names.index(cell.camera) for cell in self.cells])[self.cell_of_group]
        return tuple((name, camera_of == index) for index, name in enumerate(names))


def signal_bins(survey: Survey) -> NDArray[np.int64]:
    """Which of `SIGNAL_BINS` bins of a patch's mean signal, even in its square root, each patch is in."""
    roots = np.sqrt(np.maximum(survey.brightness, 0.0))
    step = max(float(roots.max() - roots.min()) / SIGNAL_BINS, 1e-12)
    bins: NDArray[np.int64] = np.floor((roots - roots.min()) / step).clip(0, SIGNAL_BINS - 1).astype(np.int64)
    return bins


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


def survey(store: PatchStore, rows: NDArray[np.int64], *, batch: int, seed: int, progress: Progress) -> Survey:
    """Read the real data once.

    Parameters
    ----------
    store : PatchStore
        Patches to survey.
    rows : ndarray of int
        Rows to score.
    batch : int
        Patches read at a time.
    seed : int
        Seed of the choice of the patches to look at closely.
    progress : Progress
        Called with the number of patches read.

    Raises
    ------
    DataError
        If the noise is the same everywhere, as in frames that are clipped throughout.
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
            f"{store.path}: the noise of all {len(rows)} patches is {whole.noise_low:g} everywhere; are the frames "
            "clipped throughout, or compared with themselves?"
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
    """Read patches, with ±σ of its neighbours' noise at each masked pixel, so that no outlier stands there."""
    read = store.read(rows)
    return read if read.observed is None else replace(read, noise=imputed(read.noise, read.observed)[0])


FACTS = 10


def _facts(read: PatchBatch, signal: Tensor) -> NDArray[np.float64]:
    """Numbers of each patch, shape (B, FACTS), in the order of `columns`."""
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
    """Fraction of each patch's pixels at code 0 or at the white level."""
    white = torch.from_numpy(read.table["white"].astype(np.float64))[:, None, None, None]
    spread = torch.from_numpy(np.sqrt(1.0 + read.table["clean_variance"].astype(np.float64)))[:, None, None, None]
    black = torch.from_numpy(read.table["black"].astype(np.float64))[:, :, None, None]
    zero, one = (-black / (white - black)).float(), torch.ones_like(black).float()
    noisy = read.noise * spread.float() + read.clean
    # Half a code, for the rounding of float32.
    half = (0.5 / (white - black)).float()
    return ((noisy < zero + half) | (noisy > one - half)).double().mean((1, 2, 3))


def _close(group: NDArray[np.int64], most: int, seed: int) -> NDArray[np.bool_]:
    """At most `most` patches, evenly from all groups, at random within each."""
    shuffled = np.random.default_rng(seed).permutation(len(group))
    order = shuffled[np.argsort(group[shuffled], kind="stable")]
    sizes = np.bincount(group)
    rank_in_group = np.arange(len(group)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    close = np.zeros(len(group), np.bool_)
    close[order[np.argsort(rank_in_group, kind="stable")[:most]]] = True
    return close


def _pairs(table: NDArray[np.void]) -> NDArray[np.int64]:
    """Pairs of patches at one place in successive frames of a scene."""
    order = np.lexsort((table["frame"], table["x"], table["y"], table["scene"], table["iso"], table["camera"]))
    one, next_one = order[:-1], order[1:]
    same = np.logical_and.reduce([table[name][one] == table[name][next_one] for name in PLACE])
    successive = same & (table["frame"][next_one] == table["frame"][one] + 1)
    pairs: NDArray[np.int64] = np.stack([one, next_one], 1)[successive]
    if len(pairs) > MOST_PAIRS:
        pairs = pairs[np.linspace(0, len(pairs) - 1, MOST_PAIRS).round().astype(np.int64)]
    return pairs
