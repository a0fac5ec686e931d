"""What an ingest will do, decided before it is done, so that it can be stopped and gone on with."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from noiseflow.core.errors import RawError
from noiseflow.core.version import __version__
from noiseflow.patches.ingestion.duplicates import repeated
from noiseflow.patches.ingestion.splits import assign_splits
from noiseflow.patches.options import IngestOptions
from noiseflow.patches.pairings import PAIRINGS, choose_pairing
from noiseflow.patches.schema import SHARED
from noiseflow.patches.sources import Collection, Scene
from noiseflow.patches.store.simulation_truth import agreed_truth

__all__ = ["Plan", "Task", "difference", "make_plan", "stamp"]


@dataclass(frozen=True)
class Task:
    """One frame to cut.

    Parameters
    ----------
    part : int
        Number of the part that it makes.
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
    tasks : tuple of Task
        In the order in which their patches will stand in the store.
    pairing, split_by : str
    options : IngestOptions
    truth : mapping
    reason : str
        Why that pairing.
    notes : tuple of str
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
        """What must be the same for one ingest to go on where another stopped, as JSON.

        Every source file is in it with its size and time of change.
        """
        known = {
            "tool": __version__,
            # What is left of an ingest that made another kind of store cannot be gone on with.
            "schema": SHARED,
            "options": asdict(self.options),
            "pairing": self.pairing,
            "split_by": self.split_by,
            "tasks": [list(asdict(task).values()) for task in self.tasks],
            "files": {
                str(frame.path): stamp(frame.path)
                for scene in self.scenes
                for frame in (*scene.frames, *([scene.clean] if scene.clean else []))
            },
        }
        return json.dumps(known, indent=0)


def difference(stated: str, wanted: str) -> str:
    """In words, by what one `Plan.identity` differs from another.

    >>> difference('{"tool": "0.1", "files": {"a.dng": [1, 2]}}', '{"tool": "0.1", "files": {"a.dng": [1, 3]}}')
    'files: a.dng'
    """
    try:
        old, new = json.loads(stated), json.loads(wanted)
        told = []
        for key in new:
            a, b = old.get(key), new[key]
            if a == b:
                continue
            inner = isinstance(a, dict) and isinstance(b, dict)
            names = [name for name in {**a, **b} if a.get(name) != b.get(name)] if inner else []
            told.append(key + (f": {', '.join(names[:3])}" + (", …" if len(names) > 3 else "") if names else ""))
        return "; ".join(told)
    except (ValueError, AttributeError):
        return "its plan cannot be read"


def stamp(path: Path) -> tuple[int, int]:
    """Size in bytes and time of the last change in ns: two that differ tell of a file that changed.

    Raises
    ------
    RawError
        The file is gone.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise RawError(f"{path}: cannot be read ({error.strerror})") from error
    return status.st_size, status.st_mtime_ns


def make_plan(sources: Sequence[str | Path], collections: Sequence[Collection], options: IngestOptions) -> Plan:
    """Decide pairing, splits and the order of the frames.

    Parameters
    ----------
    sources : sequence of path
    collections : sequence of Collection
        What was found in each.
    options : IngestOptions

    Raises
    ------
    RawError
        No source, or scenes that do not allow the pairing.
    """
    scenes = [scene for collection in collections for scene in collection.scenes]
    if len(collections) > 1:
        # Two folders may name a scene alike.
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
    split_by = options.split_by
    if split_by == "auto":
        # A denoiser is not to be judged by a scene that it was trained on.
        apart = pairing == "noisy-pair" and len({scene.subject or scene.name for scene in scenes}) > 1
        split_by = "scene" if apart or pairing in ("gt", "none") else "frame"
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


def _group(scene: Scene, number: int, split_by: str) -> str:
    return f"{scene.name}/{number}" if split_by == "frame" else (scene.subject or scene.name)


def _without_repeats(scenes: Sequence[Scene]) -> tuple[list[Scene], list[str]]:
    """The scenes without frames whose file repeats an earlier one."""
    again = repeated(frame.path for scene in scenes for frame in scene.frames)
    if not again:
        return list(scenes), []
    kept = []
    for scene in scenes:
        frames = tuple(frame for frame in scene.frames if frame.path not in again)
        if frames:
            kept.append(replace(scene, frames=frames))
    first, original = next(iter(again.items()))
    return kept, [f"{len(again)} file(s) left out that repeat another: {first} is {original}"]
