"""Raw files → patch store: plan, read, cut, put together."""

import os
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path
from typing import Any

from noiseflow._version import __version__
from noiseflow.errors import NoiseflowError, RawError, StoreError
from noiseflow.patches.executors import Pool, executor, processors
from noiseflow.patches.options import IngestOptions, IngestResult
from noiseflow.patches.parts import PartNote, read_note, write_whole
from noiseflow.patches.plan import Plan, Task, difference, make_plan
from noiseflow.patches.schema import SPLITS
from noiseflow.patches.sources import collect
from noiseflow.patches.work import cut_frames, prepare_scene
from noiseflow.patches.writer import StoreHeader, assemble, clear, may_write, on_disk, partial_folder
from noiseflow.progress import Progress, silent

__all__ = ["ingest"]

SMALL_BYTES = 1 << 28
"""Sources of less than 256 MiB are read in this process: others would take longer to start."""

PIXELS_AT_ONCE = 1 << 24
"""Frames are given to a process so many pixels at a time."""


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
        Processes; all processors if None, one for less than 256 MiB.
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
    plan = make_plan(sources, [collect(source, options.settings) for source in sources], options)
    first = plan.scenes[0].frames[0].read()
    layout = first.layout
    pixels = first.mosaic.size
    del first
    folder = partial_folder(out)
    with on_disk(out):
        resumed = _begin(folder, plan, overwrite=overwrite)
    try:
        with on_disk(out), executor(jobs or _processes(plan), scheduler) as pool:
            told = _run(pool, folder.absolute(), plan, layout, max(1, PIXELS_AT_ONCE // pixels), progress)
    except BrokenProcessPool as error:
        raise NoiseflowError(
            f"{out}: a process of the ingest was killed, perhaps for want of memory; what is done is kept in "
            f"{folder.name}: give the same command again, with fewer --jobs"
        ) from error
    except NoiseflowError as error:
        # A disk that is full keeps what is done; files that are bad will be other files when they are mended.
        if not isinstance(error, StoreError):
            clear(folder)
        raise
    notes = [_known(folder, task) for task in plan.tasks]
    header = StoreHeader(layout, options.patch_size, plan.pairing, _provenance(sources, plan), plan.truth)
    facts = {scene.name: {**scene.facts, **each["facts"]} for scene, each in zip(plan.scenes, told, strict=True)}
    try:
        assemble(folder, len(notes), out, header, facts)
    except StoreError:
        if not any(note.patches for note in notes):
            clear(folder)
        raise
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


def _processes(plan: Plan) -> int:
    files = {frame.path for scene in plan.scenes for frame in scene.frames}
    return processors() if sum(os.path.getsize(file) for file in files) >= SMALL_BYTES else 1


def _begin(folder: Path, plan: Plan, *, overwrite: bool) -> int:
    """Make the folder of a plan, or find what was done of it; the number of frames done."""
    identity = plan.identity().encode()
    stated = folder / "plan.json"
    if folder.exists():
        if stated.is_file() and stated.read_bytes() == identity:
            return sum(read_note(folder, task.part) is not None for task in plan.tasks)
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


def _run(pool: Pool, folder: Path, plan: Plan, layout: str, at_once: int, progress: Progress) -> list[dict[str, Any]]:
    """Do what is not done yet; what was told of each scene."""
    todo: dict[int, list[Task]] = {}
    for task in plan.tasks:
        if read_note(folder, task.part) is None:
            todo.setdefault(task.scene, []).append(task)
    finished, patches = len(plan.tasks) - sum(map(len, todo.values())), 0
    told: dict[int, dict[str, Any]] = {}
    waiting: dict[Future[Any], int | None] = {}
    ready: deque[Sequence[Task]] = deque()
    scenes = iter(enumerate(plan.scenes))
    while True:
        # No more than the workers are busy with: a scene's frames are cut while they are still in memory.
        while len(waiting) < 2 * pool.workers - 1:
            if ready:
                tasks = ready.popleft()
                scene = plan.scenes[tasks[0].scene]
                waiting[pool.submit(cut_frames, folder, scene, tasks, plan.pairing, layout, plan.options)] = None
            elif (following := next(scenes, None)) is not None:
                index, scene = following
                waiting[pool.submit(prepare_scene, folder, index, scene, plan.pairing)] = index
            else:
                break
        if not waiting:
            return [told[index] for index in range(len(plan.scenes))]
        for future in wait(waiting, return_when=FIRST_COMPLETED).done:
            prepared = waiting.pop(future)
            if prepared is None:
                done = future.result()
                finished, patches = finished + len(done), patches + sum(kept for _, kept in done)
                progress(finished, len(plan.tasks), f"{patches} patches")
            else:
                told[prepared] = future.result()
                left = todo.get(prepared, [])
                ready += [left[start : start + at_once] for start in range(0, len(left), at_once)]


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
