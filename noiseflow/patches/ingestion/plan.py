"""The plan of an ingest, made before any work starts so that the ingest can be stopped and resumed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from noiseflow.core.errors import DataError, RawError
from noiseflow.core.text import counted
from noiseflow.core.version import __version__
from noiseflow.patches.checksums import repeated_files
from noiseflow.patches.options import IngestOptions
from noiseflow.patches.pairings import PAIRINGS, choose_pairing
from noiseflow.patches.schema import SHARED_MASKED, SPLITS, agreed_truth
from noiseflow.patches.sources import Collection, Scene

__all__ = ["Plan", "Task", "assign_splits", "difference", "make_plan", "stamp"]


@dataclass(frozen=True)
class Task:
    """One frame to cut.

    Parameters
    ----------
    part : int
        Number of the part that it writes.
    scene : int
        Index in the plan's scenes.
    frame : int
        Number of the frame in its scene.
    split : int
        Index in `SPLITS`.
    """

    part: int
    scene: int
    frame: int
    split: int


@dataclass(frozen=True, eq=False)
class Plan:
    """All tasks of an ingest.

    Parameters
    ----------
    scenes : tuple of Scene
        Scenes to read.
    tasks : tuple of Task
        Frames to cut, in the order of their patches in the store.
    pairing : str
        A name in `PAIRINGS`.
    split_by : str
        What is kept together in a split: ``"scene"`` or ``"frame"``.
    options : IngestOptions
        Options of the ingest.
    truth : mapping
        Parameters of simulated cameras, by name.
    reason : str
        Why this pairing was chosen.
    notes : tuple of str
        Remarks for the user: files left out, missing scenes.
    """

    scenes: tuple[Scene, ...]
    tasks: tuple[Task, ...]
    pairing: str
    split_by: str
    options: IngestOptions
    truth: Mapping[str, Any]
    reason: str
    notes: tuple[str, ...]

    def identity(self) -> str:
        """Everything that must be equal for an ingest to resume another one, as JSON.

        It includes the size and modification time of every source file.
        """
        known = {
            "tool": __version__,
            # An ingest into a store of another schema cannot be resumed.
            "schema": SHARED_MASKED,
            "options": asdict(self.options),
            "pairing": self.pairing,
            "split_by": self.split_by,
            "tasks": [list(asdict(task).values()) for task in self.tasks],
            "body": stamp(Path(self.options.body)) if self.options.body else None,
            "files": {
                str(frame.path): stamp(frame.path)
                for scene in self.scenes
                for frame in (*scene.frames, *([scene.clean] if scene.clean else []))
            },
        }
        return json.dumps(known, indent=0)


def difference(stated: str, wanted: str) -> str:
    """Describe how one `Plan.identity` differs from another.

    Parameters
    ----------
    stated, wanted : str
        The earlier and the new identity.

    Examples
    --------
    >>> difference('{"tool": "0.1", "files": {"a.dng": [1, 2]}}', '{"tool": "0.1", "files": {"a.dng": [1, 3]}}')
    'files: a.dng'
    """
    try:
        old, new = json.loads(stated), json.loads(wanted)
        found = []
        for key in new:
            a, b = old.get(key), new[key]
            if a == b:
                continue
            inner = isinstance(a, dict) and isinstance(b, dict)
            names = [name for name in {**a, **b} if a.get(name) != b.get(name)] if inner else []
            found.append(key + (f": {', '.join(names[:3])}" + (", …" if len(names) > 3 else "") if names else ""))
        return "; ".join(found)
    except (ValueError, AttributeError):
        return "its plan cannot be read"


def stamp(path: Path) -> tuple[int, int]:
    """Size in bytes and modification time in ns of a file, which show whether it has changed.

    Raises
    ------
    RawError
        If the file cannot be read.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise RawError(f"{path}: cannot be read ({error.strerror})") from error
    return status.st_size, status.st_mtime_ns


def make_plan(sources: Sequence[str | Path], collections: Sequence[Collection], options: IngestOptions) -> Plan:
    """Choose the pairing, the splits and the order of the frames.

    Parameters
    ----------
    sources : sequence of path
        Sources as the user gave them.
    collections : sequence of Collection
        Scenes found in each source.
    options : IngestOptions
        Options of the ingest.

    Raises
    ------
    RawError
        If there is no scene, or the scenes do not allow the pairing.
    """
    scenes = [scene for collection in collections for scene in collection.scenes]
    if len(collections) > 1:
        # Scenes in two folders may have the same name.
        scenes = [
            replace(scene, name=f"{source}/{scene.name}", subject=f"{source}/{scene.subject}")
            for source, collection in zip(sources, collections, strict=True)
            for scene in collection.scenes
        ]
    scenes, repeats = _without_repeats(scenes)
    notes = [line for collection in collections for line in collection.report] + repeats
    if not scenes:
        raise RawError("no source given; expected raw files, folders or data sets")
    choice = choose_pairing(scenes, options.pairing)
    pairing, scenes = choice.pairing, list(choice.scenes)
    split_by = PAIRINGS[pairing].split_by(scenes) if options.split_by == "auto" else options.split_by
    usable = PAIRINGS[pairing].usable
    wanted = [(index, number) for index, scene in enumerate(scenes) for number in usable(scene)]
    groups = [_group(scenes[index], number, split_by) for index, number in wanted]
    published = {group: scenes[index].split for (index, _), group in zip(wanted, groups, strict=True)}
    splits = assign_splits(groups, options.fractions, options.seed, published)
    tasks = tuple(
        Task(part, index, number, splits[group])
        for part, ((index, number), group) in enumerate(zip(wanted, groups, strict=True))
    )
    truth = agreed_truth([collection.truth for collection in collections])
    return Plan(tuple(scenes), tasks, pairing, split_by, options, truth, choice.reason, tuple(notes))


def assign_splits(
    groups: Sequence[str],
    fractions: tuple[float, float, float],
    seed: int,
    published: Mapping[str, str | None] | None = None,
) -> dict[str, int]:
    """Assign each group of frames to a split; a group is a scene or a frame, never a patch.

    Parameters
    ----------
    groups : sequence of str
        Name of each frame's group; names may repeat.
    fractions : tuple of float
        Fractions for train, val and test, which sum to 1.
    seed : int
        Seed of the random assignment.
    published : mapping, optional
        Group → the split that its data set publishes, or None.  Published splits are used as they are.

    Returns
    -------
    dict
        Group → index in `SPLITS`.  With at least three groups, no split with a positive
        fraction is empty.  Of two groups one is for training and one for testing; a single
        group is for training.

    Raises
    ------
    DataError
        If the fractions are negative or do not sum to 1, or a published split is unknown.

    Examples
    --------
    >>> sorted(assign_splits(["a", "b", "c"], (0.8, 0.1, 0.1), seed=0).values())
    [0, 1, 2]
    """
    if min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise DataError(f"split fractions {fractions}: expected {len(SPLITS)} numbers of at least 0 that sum to 1")
    fixed = {name: split for name, split in (published or {}).items() if split is not None}
    wrong = sorted(set(fixed.values()) - set(SPLITS))
    if wrong:
        raise DataError(f"split {wrong[0]!r} is not known; expected one of {', '.join(SPLITS)}")
    given = {name: SPLITS.index(fixed[name]) for name in groups if name in fixed}
    names = sorted(set(groups) - given.keys())
    return {**given, **_drawn(names, fractions, seed)}


def _drawn(names: Sequence[str], fractions: tuple[float, float, float], seed: int) -> dict[str, int]:
    """Assign names to splits at random: name → index in `SPLITS`."""
    if not names:
        return {}
    order = [names[index] for index in np.random.default_rng(seed).permutation(len(names))]
    if len(order) == 2:
        return {order[0]: 0, order[1]: 2}
    held_out = [0, *(max(1, round(part * len(order))) if part else 0 for part in fractions[1:])]
    if len(order) == 1:
        held_out = [0, 0, 0]
    held_out[0] = len(order) - sum(held_out)
    return dict(zip(order, np.repeat(range(len(SPLITS)), held_out).tolist(), strict=True))


def _group(scene: Scene, number: int, split_by: str) -> str:
    return f"{scene.name}/{number}" if split_by == "frame" else (scene.subject or scene.name)


def _without_repeats(scenes: Sequence[Scene]) -> tuple[list[Scene], list[str]]:
    """Remove frames whose file duplicates an earlier one; return the scenes left and a note about the duplicates."""
    repeats = repeated_files([frame.path for scene in scenes for frame in scene.frames])
    if not repeats:
        return list(scenes), []
    kept = []
    for scene in scenes:
        frames = tuple(frame for frame in scene.frames if frame.path not in repeats)
        if frames:
            kept.append(replace(scene, frames=frames))
    first, original = next(iter(repeats.items()))
    return kept, [f"{counted(len(repeats), 'file')} left out, the same as another: {first} equals {original}"]
