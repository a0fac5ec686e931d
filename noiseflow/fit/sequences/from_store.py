"""Read sequences from a patch store: patches at the same position in consecutive frames."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from noiseflow.core.errors import DataError
from noiseflow.fit.sequences.standing_still import check_still
from noiseflow.fit.sequences.tiles import LEAST_FRAMES, MOST_TILES, Scene, SequenceTiles, with_clean
from noiseflow.models.model import ModelSpec
from noiseflow.patches.store.store import PatchStore

__all__ = ["sequences_of_store"]

KNOWN: dict[str, Scene] = {"gt": "known", "flat": "flat", "dark": "flat", "burst": "static"}
"""Pairing of a store → what is known about its scenes."""


def sequences_of_store(path: Path, spec: ModelSpec) -> list[SequenceTiles]:
    """Read one sequence for each scene of a store, from the positions that have a patch in every frame.

    The clean signal in stores of bursts, darks and flats is the mean of the other frames, which contains the pattern
    but not the drift; it is not used.  Positions with masked pixels are left out.

    Parameters
    ----------
    path : Path
        Patch store.
    spec : ModelSpec
        Spec of the model of single frames; the store must have its plane layout.

    Raises
    ------
    DataError
        If the store has another layout, no scene with several frames, or missing frames, or a scene moves.
    """
    with PatchStore(path) as store:
        if store.layout != spec.layout:
            raise DataError(f"{path}: contains {store.layout!r} planes; the model was fitted on {spec.layout!r}")
        if store.pairing not in KNOWN:
            raise DataError(f"{path}: contains {store.pairing} patches; noise in time needs frames of one scene")
        found = []
        for scene in np.unique(store.table["scene"]).tolist():
            rows = np.flatnonzero(store.table["scene"] == scene)
            tiles = _sequence(store, rows, str(store.scenes[scene]))
            if tiles is not None:
                check_still(tiles)
                found.append(tiles)
    if not found:
        raise DataError(
            f"{path}: no scene has at least {LEAST_FRAMES} frames with a patch at the same position; noise in time "
            "needs a burst of each scene"
        )
    return found


def _sequence(store: PatchStore, rows: NDArray[np.int64], scene: str) -> SequenceTiles | None:
    table = store.table[rows]
    isos = np.unique(table["iso"])
    if len(isos) > 1:
        raise DataError(f"{store.path}: scene {scene} has frames with ISO {isos[0]:g} and {isos[1]:g}; split it")
    frames = np.unique(table["frame"])
    if len(frames) < LEAST_FRAMES:
        return None
    if int(frames[-1]) - int(frames[0]) + 1 != len(frames):
        missing = sorted(set(range(int(frames[0]), int(frames[-1]))) - set(frames.tolist()))
        raise DataError(f"{store.path}: scene {scene} lacks frame {missing[0]}; ingest the sequence without gaps")
    places = _whole_places(store, rows, len(frames))
    if not places:
        return None
    batches = [store.codes(each) for each in places]
    black, white = table["black"][0][:, None, None], float(table["white"][0])
    scale = white - black
    noisy = torch.from_numpy(np.stack([(codes - black) / scale for codes, _ in batches])).float()
    known = KNOWN[store.pairing]
    twin = None
    if known == "known":
        twin = torch.from_numpy(np.stack([(clean[0] - black) / scale for _, clean in batches])).float()
    corners = np.stack([[int(store.table[name][each[0]]) for name in ("y", "x")] for each in places])
    return with_clean(
        noisy,
        twin,
        torch.from_numpy(corners),
        iso=float(isos[0]),
        camera=str(store.cameras[int(table["camera"][0])]),
        source=f"{store.path}: {scene}",
        scene=known,
    )


def _whole_places(store: PatchStore, rows: NDArray[np.int64], frames: int) -> list[NDArray[np.int64]]:
    """Rows of positions with an unmasked patch in every frame, in frame order; at most `MOST_TILES`, evenly chosen."""
    table = store.table
    order = rows[np.lexsort((table["frame"][rows], table["x"][rows], table["y"][rows]))]
    corners = np.stack([table["y"][order], table["x"][order]], 1)
    starts = np.flatnonzero(np.r_[True, (corners[1:] != corners[:-1]).any(1)])
    groups = [each for each in np.split(order, starts[1:]) if len(each) == frames]
    whole = [each for each in groups if store.masked(each) is None]
    return whole[:: max(1, -(-len(whole) // MOST_TILES))]
