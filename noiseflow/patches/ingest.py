"""Raw files → patch store, one frame in memory at a time."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow._version import __version__
from noiseflow.errors import DataError, RawError
from noiseflow.patches.pairings import PAIRINGS, Pair, choose_pairing
from noiseflow.patches.scenes import Scene, collect
from noiseflow.patches.splits import assign_splits
from noiseflow.patches.store import SPLITS, StoreWriter, fields
from noiseflow.progress import Progress, silent

__all__ = ["IngestOptions", "IngestResult", "ingest"]


@dataclass(frozen=True)
class IngestOptions:
    """How patches are taken.

    Parameters
    ----------
    patch_size : int
        Height and width in pixels of a plane.
    patches_per_frame : int or None
        Take so many, drawn without replacement from the frame's grid; all of them if None.
    pairing : str
        ``"auto"`` or a name in `noiseflow.patches.pairings.PAIRINGS`.
    split_by : str
        ``"auto"`` (frames for bursts, scenes otherwise), ``"scene"`` or ``"frame"``.
    fractions : tuple of float
        Of train, val, test.
    max_clipped : float
        A patch with a larger part of its pixels at code 0 or at the white level is left out.
    max_masked : int
        A patch with more pixels that are defective, or where the scene moves, is left out.
    iso : float or None
        ISO of frames whose file does not say it.
    seed : int
        Of the splits and the draw of patches.
    """

    patch_size: int = 32
    patches_per_frame: int | None = None
    pairing: str = "auto"
    split_by: str = "auto"
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
    max_clipped: float = 0.0
    max_masked: int = 0
    iso: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class IngestResult:
    """What was stored: where, patches per split, patches left out as clipped or masked, pairing and why."""

    path: Path
    patches: dict[str, int]
    clipped: int
    frames: int
    pairing: str
    split_by: str
    masked: int = 0
    reason: str = ""
    cautions: tuple[str, ...] = ()


def ingest(
    sources: Sequence[str | Path],
    out: str | Path,
    options: IngestOptions | None = None,
    *,
    overwrite: bool = False,
    progress: Progress = silent,
) -> IngestResult:
    """Make a patch store of raw files, folders or data sets.

    Parameters
    ----------
    sources : sequence of path
        Each a raw file, a folder of them, or a data set that we know.
    out : path
        The store to write; it takes this name only when it is whole.
    options : IngestOptions, optional
    overwrite : bool
        Whether `out` may be replaced.
    progress : Progress
        Told of frames done.

    Raises
    ------
    RawError
        A source that is missing, damaged, not supported, or mixed where it may not be.
    StoreError
        `out` exists, cannot be written, or would hold no patch.
    """
    options = options or IngestOptions()
    _check(options)
    collections = [collect(source) for source in sources]
    if not collections:
        raise RawError("no source given; expected raw files, folders or data sets")
    scenes = [scene for collection in collections for scene in collection.scenes]
    if len(collections) > 1:
        # Two folders may name a scene alike.
        scenes = [
            replace(scene, name=f"{source}/{scene.name}", subject=f"{source}/{scene.subject}")
            for source, collection in zip(sources, collections, strict=True)
            for scene in collection.scenes
        ]
    truth = _merged([collection.truth for collection in collections])
    choice = choose_pairing(scenes, options.pairing)
    scenes, pairing = list(choice.scenes), choice.pairing
    cautions: list[str] = []
    split_by = options.split_by
    if split_by == "auto":
        split_by = "scene" if pairing in ("gt", "none") else "frame"
    usable = PAIRINGS[pairing].usable
    groups = {(scene.name, n): _group(scene, n, split_by) for scene in scenes for n in usable(scene)}
    splits = assign_splits(list(groups.values()), options.fractions, options.seed)
    layout = scenes[0].frames[0].read().layout
    provenance = {
        "tool": f"noiseflow {__version__}",
        "sources": [str(source) for source in sources],
        "options": asdict(options),
        "split_by": split_by,
    }
    counts: Counter[str] = Counter()
    clipped = masked = 0
    with StoreWriter(
        out,
        layout=layout,
        patch_size=options.patch_size,
        pairing=pairing,
        provenance=provenance,
        truth=truth,
        overwrite=overwrite,
    ) as writer:
        done = 0
        for scene in scenes:
            reference = PAIRINGS[pairing].prepare(scene)
            cautions += reference.cautions
            for number in usable(scene):
                pair = PAIRINGS[pairing].pair(scene, number, reference)
                split = splits[groups[scene.name, pair.number]]
                kept, ended, invalid = _append(writer, scene, pair, split, layout, options, index=done)
                counts[SPLITS[split]] += kept
                clipped += ended
                masked += invalid
                done += 1
                progress(done, len(groups), f"{len(writer)} patches")
        frames = done
    return IngestResult(
        Path(out), dict(counts), clipped, frames, pairing, split_by, masked, choice.reason, tuple(cautions)
    )


def _merged(truths: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One truth per camera, over the ISOs of all; none for a camera that they contradict each other about."""
    merged: dict[str, Any] = {}
    for camera in {camera for truth in truths for camera in truth}:
        told = [truth[camera] for truth in truths if camera in truth]
        columns = [name for name, value in told[0].items() if isinstance(value, list)]
        fixed = [{name: value for name, value in each.items() if name not in columns} for each in told]
        rows = {row[0]: row for each in told for row in zip(*(each[name] for name in columns), strict=True)}
        agree = all(rows[row[0]] == row for each in told for row in zip(*(each[name] for name in columns), strict=True))
        if agree and all(each == fixed[0] for each in fixed) and columns[0] == "isos":
            by_column = zip(*(rows[iso] for iso in sorted(rows)), strict=True)
            merged[camera] = {
                **fixed[0],
                **{name: list(values) for name, values in zip(columns, by_column, strict=True)},
            }
    return merged


def _check(options: IngestOptions) -> None:
    if options.patch_size < 1:
        raise DataError(f"patch size: expected 1 or more; got {options.patch_size}")
    if options.patches_per_frame is not None and options.patches_per_frame < 1:
        raise DataError(f"patches per frame: expected 1 or more; got {options.patches_per_frame}")
    if options.split_by not in ("auto", "scene", "frame"):
        raise DataError(f"split by: expected auto, scene or frame; got {options.split_by!r}")
    if not 0 <= options.max_clipped <= 1:
        raise DataError(f"max clipped: expected a part from 0 to 1; got {options.max_clipped}")


def _group(scene: Scene, number: int, split_by: str) -> str:
    return f"{scene.name}/{number}" if split_by == "frame" else (scene.subject or scene.name)


def _append(
    writer: StoreWriter, scene: Scene, pair: Pair, split: int, layout: str, options: IngestOptions, index: int
) -> tuple[int, int, int]:
    """Store a pair's patches; how many were kept and how many left out as clipped, as masked."""
    image = pair.noisy
    if image.layout != layout:
        raise RawError(f"{image.source}: {image.cfa} cannot go into one store with {layout!r} frames")
    iso = image.iso or options.iso
    if iso is None:
        raise RawError(f"{image.source}: the file does not say its ISO; give it with --iso")
    size = options.patch_size
    noisy = image.planes()
    if not np.isfinite(pair.clean).all() and not np.isnan(pair.clean).all():
        raise RawError(f"{image.source}: NaN or infinite values in its clean signal")
    corners = _corners(noisy.shape[1:], size)
    if options.patches_per_frame is not None and options.patches_per_frame < len(corners):
        draw = np.random.default_rng((options.seed, index))
        corners = corners[np.sort(draw.choice(len(corners), options.patches_per_frame, replace=False))]
    if not len(corners):
        return 0, 0, 0
    noisy_patches = np.stack([noisy[:, y : y + size, x : x + size] for y, x in corners])
    clean_patches = np.stack([pair.clean[:, y : y + size, x : x + size] for y, x in corners])
    at_end = (noisy_patches <= 0) | (noisy_patches >= image.white)
    unclipped = at_end.mean((1, 2, 3)) <= options.max_clipped
    keep = unclipped
    if pair.valid is not None:
        valid = np.stack([pair.valid[:, y : y + size, x : x + size] for y, x in corners])
        keep = unclipped & ((~valid).sum((1, 2, 3)) <= options.max_masked)
    if keep.any():
        black, white = image.levels()
        table = np.zeros(int(keep.sum()), fields(noisy.shape[0]))
        table["camera"] = writer.label("cameras", image.camera)
        table["iso"] = iso
        table["scene"] = writer.label("scenes", scene.name)
        table["frame"] = pair.number
        table["source"] = writer.source(str(pair.frame.path), _checksum(pair.frame.path))
        table["y"], table["x"] = corners[keep].T
        table["split"] = split
        table["black"] = black.ravel()
        table["white"] = white
        table["clean_variance"] = pair.clean_variance
        writer.append(noisy_patches[keep], clean_patches[keep], table)
    return int(keep.sum()), int((~unclipped).sum()), int((unclipped & ~keep).sum())


def _corners(shape: tuple[int, ...], size: int) -> NDArray[Any]:
    """Corners (y, x) of the grid of whole patches, shape (n, 2)."""
    rows, columns = (range(0, length - size + 1, size) for length in shape)
    return np.array([(y, x) for y in rows for x in columns], dtype=np.int64).reshape(-1, 2)


def _checksum(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
