"""Sources of clean signals for which a model samples noise: a patch store, clean frames, or bundled pictures."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from noiseflow.core.errors import DataError
from noiseflow.flows.conditions import Conditions
from noiseflow.models.model import ModelSpec
from noiseflow.patches.store.store import PatchStore
from noiseflow.raw.bayer import pack
from noiseflow.raw.image import fits_layout
from noiseflow.raw.patterns import CELLS, cell_side
from noiseflow.raw.reading import is_raw, read_raw
from noiseflow.simulate.scenes import in_pattern, render, scene_names

__all__ = ["CleanSource", "clean_frames", "clean_patches", "clean_pictures"]

CleanSource = Callable[[np.random.Generator, int], Conditions]
"""(random numbers, count) → conditions with that many clean patches, each with an ISO and a camera of the model."""

SIDE = 32
"""Default side of a patch cut from a frame, in pixels of a plane."""


def clean_patches(store: PatchStore, spec: ModelSpec, split: str = "train") -> CleanSource:
    """Draw clean signals from a store's patches, with their own camera and ISO.

    Parameters
    ----------
    store : PatchStore
        Patches with a clean signal.
    spec : ModelSpec
        Spec of the model that samples the noise.
    split : str
        Split to draw from.

    Raises
    ------
    DataError
        If the store has another plane layout than the model, or none of its cameras.
    """
    if store.layout != spec.layout:
        raise DataError(f"{store.path}: contains {store.layout!r} planes; the model was fitted on {spec.layout!r}")
    known = np.array([name in spec.cameras for name in store.cameras])
    rows = store.indices(split)
    rows = rows[known[store.table["camera"][rows]]]
    if not rows.size:
        raise DataError(f"{store.path}: contains none of the model's cameras, {', '.join(spec.cameras)}")

    def draw(rng: np.random.Generator, count: int) -> Conditions:
        batch = store.read(rng.choice(rows, count))
        return Conditions(batch.clean, batch.iso, [store.cameras[index] for index in batch.camera.tolist()])

    return draw


def clean_frames(folder: str | Path, spec: ModelSpec, side: int = SIDE) -> CleanSource:
    """Draw patches from the raw frames in a folder, with random cameras and ISOs of the model.

    Parameters
    ----------
    folder : path
        Folder of raw files; sub-folders are searched too.
    spec : ModelSpec
        Spec of the model that samples the noise.
    side : int
        Side of a patch in pixels of a plane.

    Raises
    ------
    DataError
        If the folder has no raw frame, or a frame has another layout or is smaller than a patch.
    """
    folder = Path(folder)
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and is_raw(path))
    if not paths:
        raise DataError(f"{folder}: contains no raw frame; expected clean frames for which to sample noise")
    frames = []
    for path in paths:
        image = read_raw(path)
        if not fits_layout(image, spec.layout):
            raise DataError(f"{path}: is a {image.pattern} frame, but the model was fitted on {spec.layout!r} planes")
        frames.append(image.normalised(spec.layout))
        if min(frames[-1].shape[1:]) < side:
            raise DataError(f"{path}: has planes of {frames[-1].shape[1:]} pixels; expected at least {side}×{side}")
    return _crops(frames, spec, side)


def clean_pictures(spec: ModelSpec, count: int = 9, seed: int = 0) -> CleanSource:
    """Draw patches from bundled pictures, with random cameras and ISOs of the model.

    Parameters
    ----------
    spec : ModelSpec
        Spec of the model that samples the noise.
    count : int
        Number of pictures.
    seed : int
        Seed of the crops and exposures of the pictures.
    """
    rng = np.random.default_rng(seed)
    cfa = CELLS.get(spec.layout, "RGGB")
    side = cell_side(cfa)
    height, width = (side * max(length // side, SIDE) for length in (256, 384))
    mosaics = (np.clip(in_pattern(render(name, (height, width), rng), cfa), 0, 1) for name in scene_names(count))
    return _crops([mosaic[None] if spec.layout == "mono" else pack(mosaic, cfa) for mosaic in mosaics], spec)


def _crops(frames: Sequence[NDArray[Any]], spec: ModelSpec, side: int = SIDE) -> CleanSource:
    low, high = np.log(spec.isos[0]), np.log(spec.isos[-1])

    def draw(rng: np.random.Generator, count: int) -> Conditions:
        crops = []
        for frame in rng.integers(len(frames), size=count):
            top, left = (int(rng.integers(size - side + 1)) for size in frames[frame].shape[1:])
            crops.append(frames[frame][:, top : top + side, left : left + side])
        clean = torch.from_numpy(np.stack(crops)).to(torch.float32)
        iso = torch.from_numpy(np.exp(rng.uniform(low, high, count))).to(torch.float32)
        return Conditions(clean, iso, torch.from_numpy(rng.integers(len(spec.cameras), size=count)))

    return draw
