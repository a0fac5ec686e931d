"""Raw files → patch store: plan, read, cut, put together."""

import importlib
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path
from typing import Any

from noiseflow.core.errors import NoiseflowError, RawError, StoreError
from noiseflow.core.progress import Progress, silent
from noiseflow.core.version import __version__
from noiseflow.patches.assembly.copy_into_store import SceneMean, intact
from noiseflow.patches.assembly.parts import PartNote, part_file, read_note, write_whole
from noiseflow.patches.assembly.scene_files import SceneFiles
from noiseflow.patches.assembly.writer import StoreHeader, assemble, clear, may_write, on_disk, partial_folder
from noiseflow.patches.ingestion.executors import SMALL_BYTES, Pool, executor, processors
from noiseflow.patches.ingestion.plan import Plan, Task, difference, make_plan
from noiseflow.patches.ingestion.tasks import cut_frames, find_shifts, pack_frames, prepare_scene, sum_strips
from noiseflow.patches.options import IngestOptions, IngestResult
from noiseflow.patches.pairings import PAIRINGS
from noiseflow.patches.pairings.sums import strips
from noiseflow.patches.schema import SPLITS
from noiseflow.patches.sources import Collection, Scene, collect

__all__ = ["ingest"]

WANTED_AT_THE_END = "noiseflow.patches.assembly.hdf5_layout"
"""It takes HDF5, which is long to import."""

BYTES_AT_ONCE = 1 << 24
"""Frames are given to a process so many bytes of their files at a time."""


def ingest(
    sources: Sequence[str | Path],
    out: str | Path,
    options: IngestOptions | None = None,
    *,
    overwrite: bool = False,
    jobs: int | None = None,
    scheduler: str | None = None,
    progress: Progress = silent,
) -> IngestResult:
    """Make a patch store of raw files, folders or data sets.

    What is done stands in the folder ``OUT.partial`` until the store is whole.  An ingest
    that was killed goes on from there when it is called again with the same sources and
    options; the store is the same, byte for byte.

    Parameters
    ----------
    sources : sequence of path
        Each a raw file, a folder of them, or a data set that we know.
    out : path
        The store to write; it takes this name only when it is whole.
    options : IngestOptions, optional
    overwrite : bool
        Whether `out`, or what another ingest left, may be replaced.
    jobs : int, optional
        Processes; all processors if None, one for less than 64 MiB.
    scheduler : str, optional
        Address of a Dask scheduler to work on instead; its workers must reach the sources
        and the folder of `out` under the same names.
    progress : Progress
        Told of frames done.

    Raises
    ------
    RawError
        A source that is missing, damaged, not supported, or mixed where it may not be.
    StoreError
        `out` exists, cannot be written, or would hold no patch.
    """
    options, out = options or IngestOptions(), Path(out)
    may_write(out, overwrite=overwrite)
    if not sources:
        raise RawError("no source given; expected raw files, folders or data sets")
    collections, folder = [collect(source, options.settings) for source in sources], partial_folder(out)
    with executor(jobs or _processes(collections), scheduler) as pool:
        plan = make_plan(sources, collections, options)
        if PAIRINGS[plan.pairing].stacking is not None:
            # Once, before processes are started as copies of this one.
            importlib.import_module("scipy.special")
        with on_disk(out):
            resumed = _begin(folder, plan, overwrite=overwrite)
        notes, told = _make(pool, folder, out, sources, plan, progress)
    clear(folder)
    counts: Counter[str] = Counter()
    for note in notes:
        counts[SPLITS[note.split]] += note.patches
    return IngestResult(
        path=out,
        patches=dict(counts),
        clipped=sum(note.clipped for note in notes),
        masked=sum(note.masked for note in notes),
        frames=len(notes),
        resumed=resumed,
        pairing=plan.pairing,
        split_by=plan.split_by,
        reason=plan.reason,
        notes=(*plan.notes, *dict.fromkeys(caution for each in told for caution in each["cautions"])),
    )


def _make(
    pool: Pool, folder: Path, out: Path, sources: Sequence[str | Path], plan: Plan, progress: Progress
) -> tuple[list[PartNote], list[dict[str, Any]]]:
    """Do what a plan says and put the store together; what its parts and its scenes say of themselves."""
    try:
        with on_disk(out):
            told = _run(pool, folder.absolute(), plan, progress)
            notes = [_known(folder, task) for task in plan.tasks]
            layout = _layout(notes)
            header = StoreHeader(layout, plan.options.patch_size, plan.pairing, _provenance(sources, plan), plan.truth)
            known = zip(plan.scenes, told, strict=True)
            facts = {scene.name: {**scene.facts, **each["facts"]} for scene, each in known}
            means = _means(folder.absolute(), plan, told)
            assemble(folder.absolute(), len(notes), out, header, facts, means, pool)
    except BrokenProcessPool as error:
        raise NoiseflowError(
            f"{out}: a process of the ingest was killed, perhaps for want of memory; what is done is kept in "
            f"{folder.name}: give the same command again, with fewer --jobs"
        ) from error
    except NoiseflowError as error:
        # A disk that is full keeps what is done; files that are bad will be other files when they are mended.
        if not isinstance(error, StoreError) or _nothing(folder, plan):
            clear(folder)
        raise
    return notes, told


def _processes(collections: Sequence[Collection]) -> int:
    scenes = [scene for collection in collections for scene in collection.scenes]
    return processors() if _size(scenes) >= SMALL_BYTES else 1


def _size(scenes: Sequence[Scene]) -> int:
    """Bytes of the scenes' files; one file may hold many frames."""
    return sum(os.path.getsize(file) for file in {frame.path for scene in scenes for frame in scene.frames})


def _layout(notes: Sequence[PartNote]) -> str:
    """The layout of all frames.

    Raises
    ------
    RawError
        They differ.
    """
    first = notes[0]
    for note in notes:
        if note.layout != first.layout:
            raise RawError(
                f"{note.sources[0]}: {note.layout} cannot go into one store with {first.layout} frames such as "
                f"{first.sources[0]}; ingest each kind by itself"
            )
    return first.layout


def _begin(folder: Path, plan: Plan, *, overwrite: bool) -> int:
    """Make the folder of a plan, or find what was done of it; the number of frames done."""
    identity = plan.identity().encode()
    stated = folder / "plan.json"
    if folder.exists():
        if stated.is_file() and stated.read_bytes() == identity:
            return sum(_done(folder, plan, task) for task in plan.tasks)
        if not overwrite and stated.is_file():
            other = difference(stated.read_text(encoding="utf-8"), plan.identity())
            raise StoreError(
                f"{folder}: was left by an ingest of other sources or options ({other}); give its own command again to "
                "go on, or --overwrite to start anew"
            )
        clear(folder)
    folder.mkdir()
    write_whole(stated, identity)
    return 0


def _done(folder: Path, plan: Plan, task: Task) -> bool:
    """Whether a part is there and whole; what is left of one that is not is forgotten."""
    note = read_note(folder, task.part)
    if note is None:
        return False
    shared = PAIRINGS[plan.pairing].stacking is not None
    if intact(folder, task.part, note, plan.options.patch_size, shared=shared):
        return True
    part_file(folder, task.part, "json").unlink()
    SceneFiles(folder, task.scene).forget_facts()
    return False


Call = tuple[Callable[..., Any], tuple[Any, ...]]
"""A function of a module, and what it is called with."""


def _run(pool: Pool, folder: Path, plan: Plan, progress: Progress) -> list[dict[str, Any]]:
    """Do what is not done yet; what was told of each scene."""
    todo: dict[int, list[Task]] = {}
    for task in plan.tasks:
        if read_note(folder, task.part) is None:
            todo.setdefault(task.scene, []).append(task)
    finished, patches = len(plan.tasks) - sum(map(len, todo.values())), 0
    frames = sum(len(scene.frames) for scene in plan.scenes)
    at_once = max(1, BYTES_AT_ONCE * frames // max(1, _size(plan.scenes)))
    made: list[PartNote] = []
    told: dict[int, dict[str, Any]] = {}
    ready: deque[tuple[int, Call]] = deque()
    left: dict[int, int] = {}
    waiting: dict[Future[Any], int] = {}
    steps = {
        index: _steps(folder, plan, index, todo.get(index, []), at_once, pool.workers)
        for index in range(len(plan.scenes))
    }
    scenes = iter(steps)
    while True:
        # No more than the workers are busy with: a scene's frames are cut while they are still in memory.
        while len(waiting) < 2 * pool.workers - 1:
            if ready:
                index, (function, arguments) = ready.popleft()
                waiting[pool.submit(function, *arguments)] = index
            elif (following := next(scenes, None)) is not None:
                _advance(following, steps, ready, left)
            else:
                break
        if not waiting:
            return [told[index] for index in range(len(plan.scenes))]
        if not told and not made:
            # While others read the first frames.
            progress(finished, len(plan.tasks))
            importlib.import_module(WANTED_AT_THE_END)
        for future in wait(waiting, return_when=FIRST_COMPLETED).done:
            index, found = waiting.pop(future), future.result()
            if isinstance(found, dict):
                told[index] = found
            elif found is not None:
                finished, patches = finished + len(found), patches + sum(note.patches for note in found)
                # Said at once, not after all the rest was read.
                made = [*made[:1], *found]
                _layout(made)
                progress(finished, len(plan.tasks), f"{patches} patches")
            left[index] -= 1
            if not left[index]:
                _advance(index, steps, ready, left)


def _advance(
    index: int, steps: Mapping[int, Iterator[list[Call]]], ready: deque[tuple[int, Call]], left: dict[int, int]
) -> None:
    """Make the calls of a scene's next step ready; first of all, so that scenes are finished one by one."""
    for calls in steps[index]:
        if calls:
            left[index] = len(calls)
            ready.extendleft((index, call) for call in reversed(calls))
            return


def _steps(folder: Path, plan: Plan, index: int, todo: list[Task], at_once: int, workers: int) -> Iterator[list[Call]]:
    """What is to be done for a scene: the calls of one step may run at once, and the next step after them all."""
    scene, pairing = plan.scenes[index], plan.pairing
    stacking = PAIRINGS[pairing].stacking
    frames = list(range(len(scene.frames)))
    pieces = [frames[start : start + at_once] for start in range(0, len(frames), at_once)]
    shifts: list[int] = []
    if stacking is not None and not SceneFiles(folder, index).facts():
        yield [(pack_frames, (folder, index, scene, piece)) for piece in pieces]
        count = len(strips(SceneFiles(folder, index).stack(len(frames)).shape))
        # In few calls: each looks up all frames.
        yield [(sum_strips, (folder, index, scene, pairing, some)) for some in _shared_out(range(count), workers)]
        if stacking.structured:
            groups = _shared_out(frames, workers)
            shifts = [group[0] for group in groups]
            yield [(find_shifts, (folder, index, scene, group)) for group in groups]
    yield [(prepare_scene, (folder, index, scene, pairing, shifts))]
    tasks = [todo[start : start + at_once] for start in range(0, len(todo), at_once)]
    yield [(cut_frames, (folder, scene, group, pairing, plan.options)) for group in tasks]


def _shared_out(numbers: Sequence[int], workers: int) -> list[list[int]]:
    """Numbers in up to four groups for each worker, so that none is long alone with the last."""
    size = -(-len(numbers) // (4 * workers))
    return [list(numbers[start : start + size]) for start in range(0, len(numbers), size)]


def _means(folder: Path, plan: Plan, told: Sequence[Mapping[str, Any]]) -> list[SceneMean] | None:
    """Where the scenes' means are, if the pairing is by them."""
    if PAIRINGS[plan.pairing].stacking is None:
        return None
    parts: list[list[int]] = [[] for _ in plan.scenes]
    for task in plan.tasks:
        parts[task.scene].append(task.part)
    return [
        SceneMean(SceneFiles(folder, index).mean, tuple(each["shape"]), parts[index]) for index, each in enumerate(told)
    ]


def _nothing(folder: Path, plan: Plan) -> bool:
    """Whether all frames were cut and not one patch kept."""
    notes = [read_note(folder, task.part) for task in plan.tasks]
    return all(note is not None and not note.patches for note in notes)


def _known(folder: Path, task: Task) -> PartNote:
    note = read_note(folder, task.part)
    if note is None:
        raise StoreError(
            f"{folder}: the part of frame {task.part} is not there though it was made; do the workers of the cluster "
            "reach this folder under the same name?"
        )
    return note


def _provenance(sources: Sequence[str | Path], plan: Plan) -> dict[str, Any]:
    return {
        "tool": f"noiseflow {__version__}",
        "sources": [str(source) for source in sources],
        "options": asdict(plan.options),
        "split_by": plan.split_by,
        "notes": list(plan.notes),
    }
