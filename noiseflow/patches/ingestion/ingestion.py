"""`ingest`: turn raw files into a patch store by planning, reading, cutting and assembling."""

import importlib
import os
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path
from typing import Any

from noiseflow.core.errors import NoiseflowError, RawError, StoreError
from noiseflow.core.output.checks import check_output, partial_of, writing
from noiseflow.core.output.leftovers import note_leaves
from noiseflow.core.output.manifest import discard, listing, set_aside
from noiseflow.core.output.whole import deferred, place_file
from noiseflow.core.progress import Progress, silent
from noiseflow.core.version import __version__
from noiseflow.patches.assembly.parts import PartNote, intact, part_file, read_note
from noiseflow.patches.assembly.scene_files import SceneFiles, SceneMean
from noiseflow.patches.assembly.unfinished import begin_folder, clear, list_parts, on_disk
from noiseflow.patches.ingestion.believed import believed_of_ingest, doubtful_clean, layout_of_all
from noiseflow.patches.ingestion.executors import SMALL_BYTES, Pool, executor, processors
from noiseflow.patches.ingestion.plan import Plan, Task, difference, make_plan
from noiseflow.patches.ingestion.tasks import Call, cut_frames, preparation
from noiseflow.patches.options import IngestOptions, IngestResult
from noiseflow.patches.pairings import PAIRINGS
from noiseflow.patches.pairings.frames.packed_frames import same_exposure_twice
from noiseflow.patches.schema import SPLITS, StoreHeader
from noiseflow.patches.sources import Collection, Scene, collect
from noiseflow.raw.inspection import gathered

__all__ = ["ingest"]

NEEDED_AT_THE_END = "noiseflow.patches.assembly.store_assembly"
"""Imported late, since it imports HDF5, which takes long."""

BYTES_AT_ONCE = 1 << 24
"""Approximate size in bytes of the files that one call processes."""


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
    """Make a patch store from raw files, folders or data sets.

    Finished frames are kept in the folder ``OUT.partial`` until the store is complete.  An ingest
    that was killed resumes from there when it is called again with the same sources and
    options; the resulting store is the same, byte for byte.

    Parameters
    ----------
    sources : sequence of path
        Raw files, folders of them, or known data sets.
    out : path
        The store to write; it appears under this name only once it is complete.
    options : IngestOptions, optional
        Patch size, pairing, splits, masks and settings.
    overwrite : bool
        Replace an existing store, or what an ingest with other sources or options left.
    jobs : int, optional
        Number of processes; by default all processors, or one for less than 64 MiB of files.
    scheduler : str, optional
        Address of a Dask scheduler to run on instead; its workers must reach the sources
        and the folder of `out` under the same paths.
    progress : Progress
        Called with the number of finished frames.

    Returns
    -------
    IngestResult
        Counts, the chosen pairing with its reason, and remarks.

    Raises
    ------
    RawError
        If a source is missing, damaged, unsupported, or cannot be combined with the others.
    OutputError
        If `out` exists, may not be replaced, is one of the sources, or is being written by another process.
    StoreError
        If `out` cannot be written, or would contain no patch.
    """
    options = options or IngestOptions()
    if not sources:
        raise RawError("no source given; expected raw files, folders or data sets")
    inputs = [*sources, *([options.body] if options.body else [])]
    with writing(out, inputs=inputs, overwrite=overwrite) as out:
        if options.body is not None:
            # Imported here because calibration takes a second to import.  Read now to fail before any frame is read.
            from noiseflow.calibrate.body.body_file import read_body

            read_body(options.body)
        collections = [collect(source, options.settings, skip_bad=options.skip_bad) for source in sources]
        folder = partial_of(out)
        with executor(jobs or _processes(collections), scheduler) as pool:
            plan = make_plan(sources, collections, options)
            if PAIRINGS[plan.pairing].stacking is not None:
                # Imported once, before processes are forked.
                importlib.import_module("scipy.special")
            with on_disk(out):
                resumed = _begin(folder, plan, overwrite=overwrite)
            notes, known, whole = _make(pool, folder, out, sources, plan, progress)
            # Hours may have passed: check again whether a file has appeared under this name.
            check_output(out, overwrite=overwrite)
            with on_disk(out):
                done_with = _place(whole, out, folder, overwrite=overwrite)
        discard(done_with)
    return _result(out, plan, notes, known, resumed)


def _place(whole: Path, path: Path, folder: Path, *, overwrite: bool) -> Path:
    """Move the store to its final name and set its folder aside for removal: both or neither; return that folder."""
    note_leaves(folder, whole, path)
    with deferred():
        place_file(whole, path, replace=overwrite)
        return set_aside(folder)


def _result(
    out: Path, plan: Plan, notes: Sequence[PartNote], known: Sequence[Mapping[str, Any]], resumed: int
) -> IngestResult:
    counts: Counter[str] = Counter()
    for note in notes:
        counts[SPLITS[note.split]] += note.patches
    return IngestResult(
        path=out,
        believed=believed_of_ingest(notes, plan),
        patches=dict(counts),
        clipped=sum(note.clipped for note in notes),
        masked=sum(note.masked for note in notes),
        frames=len(notes),
        resumed=resumed,
        pairing=plan.pairing,
        split_by=plan.split_by,
        reason=plan.reason,
        notes=(
            *plan.notes,
            *gathered([caution for note in notes for caution in note.cautions]),
            *dict.fromkeys(caution for each in known for caution in each["cautions"]),
            *_repeats(notes),
            *doubtful_clean(PAIRINGS[plan.pairing], notes),
        ),
    )


def _make(
    pool: Pool, folder: Path, out: Path, sources: Sequence[str | Path], plan: Plan, progress: Progress
) -> tuple[list[PartNote], list[dict[str, Any]], Path]:
    """Run a plan and assemble the store; return the notes of its parts, the facts of its scenes, and its file."""
    try:
        with on_disk(out):
            scenes = _run(pool, folder.absolute(), plan, progress)
            notes = [_known(folder, task) for task in plan.tasks]
            if not any(note.patches for note in notes):
                raise StoreError(f"{out}: there are no patches to store{_why_none(notes, scenes)}")
            layout = layout_of_all(notes)
            header = StoreHeader(
                layout,
                plan.options.patch_size,
                plan.pairing,
                _provenance(sources, plan),
                plan.truth,
                believed_of_ingest(notes, plan),
            )
            known = zip(plan.scenes, scenes, strict=True)
            facts = {scene.name: {**scene.facts, **each["facts"]} for scene, each in known}
            means = _means(folder.absolute(), plan, scenes)
            # `_run` has imported it already.
            from noiseflow.patches.assembly.store_assembly import assemble

            whole = assemble(folder.absolute(), len(notes), out, header, facts, means, pool.executor)
    except BrokenProcessPool as error:
        raise NoiseflowError(
            f"{out}: a process of the ingest was killed, perhaps because memory ran out; finished frames are kept "
            f"in {folder.name}: give the same command again, with fewer --jobs"
        ) from error
    except NoiseflowError as error:
        # After a full disk the parts can be reused.  After a bad input they cannot, since repaired files differ.
        if not isinstance(error, StoreError) or _nothing(folder, plan):
            clear(folder)
        raise
    return notes, scenes, whole


def _why_none(notes: Sequence[PartNote], known: Sequence[Mapping[str, Any]]) -> str:
    """Explain why no patch is left, as the end of a message."""
    clipped, masked = (sum(getattr(note, name) for note in notes) for name in ("clipped", "masked"))
    if not clipped + masked:
        said = next((caution for note in notes for caution in note.cautions), "")
        return "; are the frames smaller than a patch?" + (f" {said}" if said else "")
    cautions = dict.fromkeys(caution for each in known for caution in each["cautions"])
    return f": {clipped} left out as clipped, {masked} as masked. " + " ".join(list(cautions)[:2])


def _repeats(notes: Sequence[PartNote]) -> Iterator[str]:
    """Caution about files with the same exposure, for the pairing without a clean signal; others refuse them."""
    first: dict[str, str] = {}
    sources = [(note.pixels, note.sources[0]) for note in notes if note.pixels]
    same = [source for pixels, source in sources if first.setdefault(pixels, source) != source]
    if same:
        yield f"{same[0]}: has the same pixels as another file (and so {len(same) - 1} more): they count twice"


def _processes(collections: Sequence[Collection]) -> int:
    scenes = [scene for collection in collections for scene in collection.scenes]
    return processors() if _size(scenes) >= SMALL_BYTES else 1


def _size(scenes: Sequence[Scene]) -> int:
    """Size of the scenes' files in bytes, each file counted once."""
    return sum(os.path.getsize(file) for file in {frame.path for scene in scenes for frame in scene.frames})


def _begin(folder: Path, plan: Plan, *, overwrite: bool) -> int:
    """Create the folder of a plan, or find what an earlier ingest finished; return the number of finished frames."""
    check_output(folder, folder=True, goes_on=True)
    identity = plan.identity().encode()
    stated = folder / "plan.json"
    if folder.exists():
        if _is_file(stated) and stated.read_bytes() == identity:
            list_parts(folder)
            return sum(_done(folder, plan, task) for task in plan.tasks)
        if not overwrite and listing(folder) is not None:
            other = difference(stated.read_text(encoding="utf-8"), plan.identity())
            raise StoreError(
                f"{folder}: was left by an ingest with other sources or options ({other}); give its own command again "
                "to resume it, or --overwrite to start anew"
            )
        if any(folder.iterdir()):
            clear(folder)
        else:
            folder.rmdir()
    begin_folder(folder, identity)
    return 0


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _done(folder: Path, plan: Plan, task: Task) -> bool:
    """Whether a part exists and is intact; a damaged one is removed."""
    note = read_note(folder, task.part)
    if note is None:
        return False
    shared = PAIRINGS[plan.pairing].stacking is not None
    if intact(folder, task.part, note, plan.options.patch_size, shared=shared):
        return True
    part_file(folder, task.part, "json").unlink()
    SceneFiles(folder, task.scene).forget_facts()
    return False


def _run(pool: Pool, folder: Path, plan: Plan, progress: Progress) -> list[dict[str, Any]]:
    """Run the remaining tasks; return the facts of each scene."""
    todo: dict[int, list[Task]] = {}
    finished: list[PartNote] = []
    for task in plan.tasks:
        note = read_note(folder, task.part)
        if note is None:
            todo.setdefault(task.scene, []).append(task)
        else:
            finished.append(note)
    counter = _Counter(len(plan.tasks), plan, progress)
    frames = sum(len(scene.frames) for scene in plan.scenes)
    at_once = max(1, BYTES_AT_ONCE * frames // max(1, _size(plan.scenes)))
    facts: dict[int, dict[str, Any]] = {}
    ready: deque[tuple[int, Call]] = deque()
    left: dict[int, int] = {}
    waiting: dict[Future[Any], int] = {}
    indices = range(len(plan.scenes))
    steps = {index: _steps(folder, plan, index, todo.get(index, []), at_once, pool.workers) for index in indices}
    scenes = iter(steps)
    while True:
        # Only enough calls to keep the workers busy, so that a scene's frames are cut while they are in memory.
        while len(waiting) < 2 * pool.workers - 1:
            if ready:
                index, (function, arguments) = ready.popleft()
                waiting[pool.submit(function, *arguments)] = index
            elif (following := next(scenes, None)) is not None:
                _advance(following, steps, ready, left)
            else:
                break
        if not waiting:
            return [facts[index] for index in indices]
        if not counter.started:
            # Workers are reading the first frames meanwhile.
            counter.start(finished)
            importlib.import_module(NEEDED_AT_THE_END)
        for future in wait(waiting, return_when=FIRST_COMPLETED).done:
            index, found = waiting.pop(future), future.result()
            if isinstance(found, dict):
                facts[index] = found
            elif found is not None:
                counter.add(found)
            left[index] -= 1
            if not left[index]:
                _advance(index, steps, ready, left)


class _Counter:
    """Counts finished frames, and refuses frames that cannot be stored together as soon as they are cut."""

    def __init__(self, total: int, plan: Plan, progress: Progress) -> None:
        self._total, self._plan, self._progress = total, plan, progress
        self._frames = self._patches = 0
        self._first: PartNote | None = None
        self._seen: dict[str, str] = {}
        self.started = False

    def start(self, finished: Sequence[PartNote]) -> None:
        """Count the frames that an earlier ingest finished."""
        self.started = True
        self.add(finished)

    def add(self, notes: Sequence[PartNote]) -> None:
        """Count frames and report progress.

        Raises
        ------
        RawError
            If frames have different layouts, or another file has the same exposure.
        """
        self._first = self._first or next(iter(notes), None)
        if self._first is not None:
            layout_of_all([self._first, *notes])
        for note in notes:
            other = self._seen.setdefault(note.pixels or note.sources[0], note.sources[0])
            if other != note.sources[0] and PAIRINGS[self._plan.pairing].clean != "none":
                raise same_exposure_twice(other, note.sources[0])
        self._frames += len(notes)
        self._patches += sum(note.patches for note in notes)
        self._progress(self._frames, self._total, f"{self._patches} patches" if self._patches else "")


def _advance(
    index: int, steps: Mapping[int, Iterator[list[Call]]], ready: deque[tuple[int, Call]], left: dict[int, int]
) -> None:
    """Put the calls of a scene's next step at the front of the queue, so that scenes are finished one by one."""
    for calls in steps[index]:
        if calls:
            left[index] = len(calls)
            ready.extendleft((index, call) for call in reversed(calls))
            return


def _steps(folder: Path, plan: Plan, index: int, todo: list[Task], at_once: int, workers: int) -> Iterator[list[Call]]:
    """Yield the calls for a scene, step by step; calls of one step may run in parallel."""
    scene, pairing = plan.scenes[index], plan.pairing
    yield from preparation(folder, index, scene, pairing, at_once=at_once, workers=workers)
    groups = [todo[start : start + at_once] for start in range(0, len(todo), at_once)]
    yield [(cut_frames, (folder, scene, group, pairing, plan.options)) for group in groups]


def _means(folder: Path, plan: Plan, facts: Sequence[Mapping[str, Any]]) -> list[SceneMean] | None:
    """Means of the scenes; None if the pairing does not use them."""
    if PAIRINGS[plan.pairing].stacking is None:
        return None
    parts: list[list[int]] = [[] for _ in plan.scenes]
    for task in plan.tasks:
        parts[task.scene].append(task.part)
    return [
        SceneMean(SceneFiles(folder, index).mean, tuple(each["shape"]), parts[index])
        for index, each in enumerate(facts)
    ]


def _nothing(folder: Path, plan: Plan) -> bool:
    """Whether all frames were cut and no patch was kept."""
    notes = [read_note(folder, task.part) for task in plan.tasks]
    return all(note is not None and not note.patches for note in notes)


def _known(folder: Path, task: Task) -> PartNote:
    note = read_note(folder, task.part)
    if note is None:
        raise StoreError(
            f"{folder}: the part of frame {task.part} is missing although it was written; do all workers of the "
            "cluster reach this folder under the same path?"
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
