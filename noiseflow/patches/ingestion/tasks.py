"""Tasks of an ingest, which run in this process, in other processes or on a cluster.

Each task writes complete files into the folder of the unfinished store.  Their names depend only
on the task, so running a task twice does no harm.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import RawError
from noiseflow.patches.assembly.cut import cut_patches, select_patches
from noiseflow.patches.assembly.parts import PIXELS, PartNote, PartWriter, read_note
from noiseflow.patches.assembly.scene_files import SceneFiles
from noiseflow.patches.assembly.unfinished import PATIENCE_S, patches_before, record_count
from noiseflow.patches.checksums import file_checksum, pixel_checksum
from noiseflow.patches.ingestion.believed import believed_of_frame
from noiseflow.patches.ingestion.plan import Task, stamp
from noiseflow.patches.options import IngestOptions
from noiseflow.patches.pairings import PAIRINGS, FramePair, Reference
from noiseflow.patches.pairings.frames.motion import frame_shifts
from noiseflow.patches.pairings.frames.sums import Sums, noise_shares, strips, sum_strip
from noiseflow.patches.pairings.pairing import FrameByFrame, Stacking
from noiseflow.patches.shared_mean import Share
from noiseflow.patches.sources import Scene
from noiseflow.raw.inspection import loud_words, quiet_words

__all__ = ["Call", "cut_frames", "frame_pair", "preparation"]

PLACED_PIXELS = 1 << 15
"""Smallest frame, in pixels, whose patches are written directly into the store; for smaller ones, waiting for the
previous frames costs more than copying."""

FEW_FRAMES = 64
"""Largest scene, in frames, that is checked for a clean twin that is the mean of its frames; with more frames such a
twin makes the variance less than 1.6 % too small."""

MOVES = 0.01
"""Frames whose noise differs are not reported if so large a part of the scene moves."""

Call = tuple[Callable[..., Any], tuple[Any, ...]]
"""A module-level function and its arguments."""


def preparation(
    folder: Path, index: int, scene: Scene, pairing: str, *, at_once: int = 1, workers: int = 1
) -> Iterator[list[Call]]:
    """Yield the calls that prepare a scene before its frames are cut, step by step.

    The calls of one step may run in parallel; the next step must wait for all of them.  The last
    call returns the facts and cautions of the scene.

    Parameters
    ----------
    folder : Path
        Folder of the unfinished store.
    index : int
        Number of the scene in the plan.
    scene : Scene
        The scene.
    pairing : str
        A name in `PAIRINGS`.
    at_once : int
        Number of frames per call.
    workers : int
        Number of calls that run in parallel.
    """
    stacking, frames = PAIRINGS[pairing].stacking, range(len(scene.frames))
    shifts: list[int] = []
    if stacking is not None and not SceneFiles(folder, index).facts():
        pieces = [frames[start : start + at_once] for start in range(0, len(frames), at_once)]
        yield [(pack_frames, (folder, index, scene, list(piece))) for piece in pieces]
        count = len(strips(SceneFiles(folder, index).stack(len(frames)).shape))
        # Only a few calls, since each opens all frames.
        yield [(sum_strips, (folder, index, scene, pairing, some)) for some in _groups(range(count), workers)]
        if stacking.structured:
            groups = _groups(frames, workers)
            shifts = [group[0] for group in groups]
            yield [(find_shifts, (folder, index, scene, group)) for group in groups]
    yield [(prepare_scene, (folder, index, scene, pairing, shifts))]


def _groups(numbers: Sequence[int], workers: int) -> list[list[int]]:
    """Divide numbers into up to four groups per worker, so that all workers finish at about the same time."""
    size = -(-len(numbers) // (4 * workers))
    return [list(numbers[start : start + size]) for start in range(0, len(numbers), size)]


def pack_frames(folder: Path, index: int, scene: Scene, numbers: Sequence[int]) -> None:
    """Decode frames of a scene and save their planes; frames that are saved already are skipped.

    Parameters
    ----------
    folder : Path
        Folder of the unfinished store.
    index : int
        Number of the scene in the plan.
    scene : Scene
        The scene.
    numbers : sequence of int
        Numbers of the frames in the scene.

    Raises
    ------
    RawError
        If a file is damaged, has fractional codes, or changed while it was read.
    """
    files = SceneFiles(folder, index)
    for number in numbers:
        if files.packed(number) is None:
            frame = scene.frames[number]
            before = stamp(frame.path)
            image, checksum = frame.read(), file_checksum(frame.path)
            _unchanged(frame.path, before)
            files.pack(number, image, checksum)


def sum_strips(folder: Path, index: int, scene: Scene, pairing: str, numbers: Sequence[int]) -> None:
    """Compute the sums over all frames of a scene for some strips of rows, and find defects in them.

    Parameters
    ----------
    folder, index, scene
        As in `pack_frames`.
    pairing : str
        A name in `PAIRINGS`.
    numbers : sequence of int
        Numbers of the strips.
    """
    files, stacking = SceneFiles(folder, index), PAIRINGS[pairing].stacking
    assert stacking is not None
    stack = files.stack(len(scene.frames))
    known = strips(stack.shape)
    for number in numbers:
        files.write_strip(number, known[number], sum_strip(stack, known[number], structured=stacking.structured))


def find_shifts(folder: Path, index: int, scene: Scene, numbers: Sequence[int]) -> None:
    """Measure the shifts of some frames of a scene and save them; arguments as in `pack_frames`."""
    files = SceneFiles(folder, index)
    stack = files.stack(len(scene.frames))
    files.write_shifts(numbers[0], frame_shifts(stack, files.mean_of(stack.cube), numbers))


def prepare_scene(folder: Path, index: int, scene: Scene, pairing: str, shifts: Sequence[int] = ()) -> dict[str, Any]:
    """Compute and save what all pairs of a scene share, from its strips or by reading its frames.

    Parameters
    ----------
    folder : Path
        Folder of the unfinished store.
    index : int
        Number of the scene in the plan.
    scene : Scene
        The scene.
    pairing : str
        A name in `PAIRINGS`.
    shifts : sequence of int
        First frames of the groups given to `find_shifts`.

    Returns
    -------
    dict
        Facts and cautions of the scene.
    """
    files, how = SceneFiles(folder, index), PAIRINGS[pairing].how
    known = files.facts()
    if known is not None:
        return known
    if isinstance(how, Stacking):
        known = _conclude(files, scene, how, shifts)
    else:
        reference = how.prepare(scene)
        for name, values in reference.arrays.items():
            files.write_array(name, values)
        known = {"facts": dict(reference.facts), "cautions": list(reference.cautions), "arrays": [*reference.arrays]}
    files.write_facts(known)
    return known


def _conclude(files: SceneFiles, scene: Scene, stacking: Stacking, shifts: Sequence[int]) -> dict[str, Any]:
    """Evaluate the sums of all strips and mask moving blocks; return the facts and cautions of the scene."""
    stack = files.stack(len(scene.frames))
    found = [files.strip(number) for number in range(len(strips(stack.shape)))]
    sums = Sums(stack, [arrays for arrays, _ in found], [defects for _, defects in found])
    if sums.constant:
        raise RawError(
            f"{scene.name}: no pixel changes over its {sums.count} frames, such as {scene.frames[0].path.name}, so "
            "there is no noise to store; are they copies, or clipped?"
        )
    names, shares = [frame.path.name for frame in scene.frames], noise_shares(stack)
    quiet, loud = quiet_words(names, shares.of_least), loud_words(names, shares.of_most)
    if copied := shares.in_common.refusal(names):
        raise RawError(f"{scene.name}: {copied}")
    if quiet:
        raise RawError(f"{scene.name}: {quiet}, or rename it to …_gt to use it as clean twin of the others")
    conclusion = stacking.conclude(scene, sums, [shift for first in shifts for shift in files.shifts(first)])
    # What moves changes the noise of frames too, and has its own words.
    still = conclusion.facts.get("static_test", {}).get("moving_part", 0.0) < MOVES
    said = (shares.in_common.caution(), loud or (shares.unlike if still else ""))
    valid = files.valid_of(stack.cube, "r+")
    if conclusion.moving is not None and conclusion.moving.any():
        valid &= ~sums.blocks.spread(conclusion.moving)
    return {
        "facts": {**conclusion.facts, "masked_pixels": int(valid.size - valid.sum())},
        "cautions": [*conclusion.cautions, *(f"{scene.name}: {words}" for words in said if words)],
        "shape": list(stack.cube),
    }


def cut_frames(
    folder: Path, scene: Scene, tasks: Sequence[Task], pairing: str, options: IngestOptions
) -> list[PartNote]:
    """Cut frames of one scene and write their parts; existing parts are kept.

    Parameters
    ----------
    folder : Path
        Folder of the unfinished store.
    scene : Scene
        The scene.
    tasks : sequence of Task
        Frames to cut.
    pairing : str
        A name in `PAIRINGS`.
    options : IngestOptions
        Options of the ingest.

    Returns
    -------
    list of PartNote
        Description of each part.

    Raises
    ------
    RawError
        If a file is damaged, or changed while it was read.
    """
    files = SceneFiles(folder, tasks[0].scene)
    done = []
    for task in tasks:
        note = read_note(folder, task.part)
        done.append(note or _cut_frame(folder, files, scene, task, pairing, options))
        files.forget(task.frame)
    return done


@dataclass(frozen=True)
class FrameChecksums:
    """Checksums of a frame.

    Parameters
    ----------
    file : str
        BLAKE3 of the file.
    pixels : str
        `pixel_checksum` of the mosaic.
    """

    file: str
    pixels: str


def frame_pair(
    files: SceneFiles, scene: Scene, number: int, pairing: str
) -> tuple[FramePair, Share | None, FrameChecksums]:
    """Pair a frame with its clean signal.

    Parameters
    ----------
    files : SceneFiles
        Temporary files of the scene.
    scene : Scene
        The scene.
    number : int
        Number of the frame in the scene.
    pairing : str
        A name in `PAIRINGS`.

    Returns
    -------
    pair : FramePair
        The frame; its clean signal is None if `share` is not.
    share : Share or None
        How the clean signal follows from the scene's mean, if it does.
    checksums : FrameChecksums
        Checksums of the frame.
    """
    how, known, frame = PAIRINGS[pairing].how, files.facts(), scene.frames[number]
    assert known is not None
    if isinstance(how, FrameByFrame):
        before = stamp(frame.path)
        arrays = {name: files.array(name) for name in known["arrays"]}
        pair = how.pair(scene, number, Reference(arrays, known["facts"], tuple(known["cautions"])))
        checksums = FrameChecksums(file_checksum(frame.path), pixel_checksum(pair.noisy.mosaic))
        _unchanged(frame.path, before)
        return pair, None, checksums
    packed = files.packed(number)
    assert packed is not None
    share = how.share(known["facts"], number, packed.image)
    valid = files.valid_of(known["shape"])
    pair = FramePair(frame, number, packed.image, None, share.clean_variance, valid, packed.planes)
    return pair, share, FrameChecksums(packed.source_blake3, packed.pixels)


def _cut_frame(
    folder: Path, files: SceneFiles, scene: Scene, task: Task, pairing: str, options: IngestOptions
) -> PartNote:
    """Cut one frame and write its part."""
    pair, share, checksums = frame_pair(files, scene, task.frame, pairing)
    if options.body is not None:
        from noiseflow.patches.assembly.body import with_body

        pair = with_body(pair, options.body, pattern=PAIRINGS[pairing].twin)
    image, size = pair.noisy, options.patch_size
    chosen = select_patches(pair, options, task.part, scene.grid, _signal(files, pair, pairing))
    count = len(chosen.corners)
    record_count(folder, task.part, count)
    before = None
    # HDF5 aligns nothing smaller than a page.
    if image.mosaic.size >= PLACED_PIXELS and count * 2 * image.cube[0] * size**2 >= PIXELS:
        before = patches_before(folder, task.part, patience_s=PATIENCE_S)
    with PartWriter(folder, task.part, before) as part:
        table = cut_patches(
            pair,
            chosen.corners,
            size,
            task.split,
            sink=part.append,
            shared=share is not None,
            valid=chosen.valid,
        )
        for name in ("own", "gain", "offset") if share is not None else ():
            table[name] = getattr(share, name)
        note = PartNote(
            patches=count,
            cameras=[image.camera],
            scenes=[scene.name],
            sources=[str(scene.frames[task.frame].path)],
            source_blake3=[checksums.file],
            split=task.split,
            layout=image.layout,
            clipped=chosen.clipped,
            masked=chosen.masked,
            values=count * len(image.levels()[0]) * size**2,
            masked_values=part.masked_values,
            bright_values=chosen.bright,
            zero_values=chosen.zeros,
            cautions=list(image.cautions),
            believed=believed_of_frame(image),
            pixels=checksums.pixels,
            noise=pair.noise_sample() if PAIRINGS[pairing].twin and 2 <= len(scene.frames) <= FEW_FRAMES else "",
        )
        part.finish(note, table)
    return replace(note, before=before)


def _signal(files: SceneFiles, pair: FramePair, pairing: str) -> NDArray[np.float32] | None:
    """Clean signal in DN by which bright pixels are masked: the frame's own or the mean of its scene; None if none."""
    if PAIRINGS[pairing].clean != "signal":
        return None
    # The scene's facts contain the shape too, but reading their JSON takes a millisecond.
    return files.mean_of(pair.noisy.cube) if pair.clean is None else pair.clean


def _unchanged(path: Path, before: tuple[int, int]) -> None:
    if stamp(path) != before:
        raise RawError(f"{path}: changed while it was read; ingest again when it is complete")
