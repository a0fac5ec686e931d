"""Temporary files of one scene in the folder of an unfinished store, used to compute the mean of its frames.

A frame's planes are complete once its note exists; a scene's mean and mask once its facts exist.
"""

import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import RawError, StoreError
from noiseflow.core.reading.system import refused_by_system
from noiseflow.patches.assembly.cut import patches_at
from noiseflow.patches.assembly.parts import write_fully, write_whole
from noiseflow.patches.checksums import patch_crcs, pixel_checksum
from noiseflow.patches.pairings.frames.blocks import Blocks
from noiseflow.patches.pairings.frames.defects import Defects
from noiseflow.patches.pairings.frames.motion import Shift
from noiseflow.patches.pairings.frames.packed_frames import PackedFrame, PackedFrames
from noiseflow.patches.pairings.frames.sums import Strip
from noiseflow.patches.schema import CLEAN_TYPE, NOISY_TYPE
from noiseflow.raw.bayer import offsets, one_plane
from noiseflow.raw.image import RawImage
from noiseflow.raw.inspection.fractions import what_to_do

__all__ = ["SceneFiles", "SceneMean", "place_mean"]

ROWS_AT_ONCE = 32
"""Rows of the planes packed at a time; this many fit into the processor's cache."""

SETTING = frozenset(field.name for field in fields(RawImage)) - {"mosaic", "levelled_by"}
"""What a note says of a frame."""


@dataclass(frozen=True)
class SceneMean:
    """File with the mean of a scene's frames.

    Parameters
    ----------
    path : Path
        Bare float32 values in DN.
    shape : tuple of int
        (C, h, w) of the mean.
    parts : sequence of int
        Numbers of the parts whose clean signals are computed from it.
    """

    path: Path
    shape: tuple[int, int, int]
    parts: Sequence[int]


class SceneFiles:
    """Reads and writes the temporary files of one scene.

    Parameters
    ----------
    folder : Path
        Folder of the unfinished store.
    index : int
        Number of the scene in the plan.
    """

    def __init__(self, folder: Path, index: int) -> None:
        self._folder, self._name = folder, f"scene-{index:06d}"

    def _file(self, kind: str) -> Path:
        return self._folder / f"{self._name}.{kind}"

    @property
    def mean(self) -> Path:
        """File of the mean of all frames, float32 in DN, (C, h, w)."""
        return self._file("mean")

    def _frame(self, number: int) -> tuple[Path, Path]:
        """Files of a frame: its codes, uint16 in DN, (C, h, w), and the note that marks them as complete."""
        return self._file(f"frame-{number:06d}.planes"), self._file(f"frame-{number:06d}.json")

    def pack(self, number: int, image: RawImage, source_blake3: str) -> None:
        """Write a frame's planes to a file, and its levels and metadata to a note.

        Parameters
        ----------
        number : int
            Number of the frame in the scene.
        image : RawImage
            The frame.
        source_blake3 : str
            Checksum of its file.

        Raises
        ------
        RawError
            If the codes are not integers of 16 bits, or the frame is smaller than a cell.
        """
        planes, note = self._frame(number)
        # Not truncated: another worker may have mapped the same file, if this one seemed lost.
        file = os.open(planes, os.O_WRONLY | os.O_CREAT, 0o666)
        try:
            levels = _write_planes(image, file)
        finally:
            os.close(file)
        # All frames of a scene have the same black map, so the remainders of levelling are in their mean too.
        setting = {name: value for name, value in vars(image).items() if name in SETTING}
        facts = {"setting": setting, "shape": image.mosaic.shape, "levels": levels.tolist(), "blake3": source_blake3}
        facts["pixels"] = pixel_checksum(image.mosaic)
        write_whole(note, json.dumps(facts).encode())

    def packed(self, number: int) -> PackedFrame | None:
        """Map a frame that `pack` wrote; None if it has not been packed.

        Raises
        ------
        RawError
            If the file is missing or too short, or the note is damaged.
        """
        planes, note = self._frame(number)
        if not note.exists():
            return None
        try:
            frame = _noted(note.read_bytes())
            # A plain array, since every view of a memmap costs extra checks.
            pages = np.asarray(np.memmap(planes, NOISY_TYPE, "r", shape=frame.image.cube))
            return replace(frame, planes=pages)
        except (OSError, ValueError, KeyError, TypeError) as error:
            refused = refused_by_system(note, error)
            damaged = f"damaged ({error}); delete the folder {note.parent.name} and ingest again"
            raise RawError(f"{note}: {refused or damaged}") from error

    def forget(self, number: int) -> None:
        """Remove the files of a frame."""
        planes, note = self._frame(number)
        note.unlink(missing_ok=True)
        planes.unlink(missing_ok=True)

    def stack(self, count: int) -> PackedFrames:
        """Map all frames, numbered from 0 to `count` − 1.

        Raises
        ------
        StoreError
            If a frame has not been packed.
        """
        frames = [self.packed(number) for number in range(count)]
        missing = [number for number, frame in enumerate(frames) if frame is None]
        if missing:
            raise StoreError(f"{self._frame(missing[0])[0]}: was written but is missing now; ingest again")
        return PackedFrames([frame for frame in frames if frame is not None])

    def write_strip(self, number: int, blocks: Blocks, strip: Strip) -> None:
        """Save the results of a strip of rows: mean and mask into the scene's files, the rest into one of its own.

        Parameters
        ----------
        number : int
            Number of the strip.
        blocks : Blocks
            The rows that it covers.
        strip : Strip
            The results.
        """
        height, width = blocks.shape
        for name, values in (("mean", strip.mean), ("valid", ~strip.defects.mask)):
            path = self._file(name)
            path.touch()
            with path.open("r+b") as file:
                for plane, rows in enumerate(values):
                    file.seek((plane * height + blocks.rows.start) * width * values.itemsize)
                    file.write(np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data)
        content = io.BytesIO()
        defects = {"counts": dict(strip.defects.counts), "listed": strip.defects.listed}
        kept: dict[str, Any] = {"defects": np.array(json.dumps(defects)), **strip.arrays()}
        np.savez(content, **kept)
        write_whole(self._file(f"strip-{number:06d}.npz"), content.getbuffer())

    def strip(self, number: int) -> tuple[dict[str, NDArray[Any]], Defects]:
        """Read what `write_strip` saved in the strip's own file: sums by name, and defects without their mask."""
        with np.load(self._file(f"strip-{number:06d}.npz"), allow_pickle=False) as known:
            arrays = {name: known[name] for name in known.files if name != "defects"}
            defects = json.loads(str(known["defects"]))
        listed = tuple((plane, y, x, kind) for plane, y, x, kind in defects["listed"])
        return arrays, Defects(np.zeros((0, 0, 0), bool), defects["counts"], listed)

    def write_shifts(self, first: int, shifts: Sequence[Sequence[Shift]]) -> None:
        """Save the shifts of consecutive frames, starting with frame number `first`."""
        content = [[vars(each) for each in frame] for frame in shifts]
        write_whole(self._file(f"shifts-{first:06d}.json"), json.dumps(content).encode())

    def shifts(self, first: int) -> list[list[Shift]]:
        """Read what `write_shifts` saved under `first`."""
        content = json.loads(self._file(f"shifts-{first:06d}.json").read_text(encoding="utf-8"))
        return [[Shift(**each) for each in frame] for frame in content]

    def mean_of(self, shape: tuple[int, ...], mode: Any = "r") -> NDArray[np.float32]:
        """Map the mean, shape (C, h, w), DN."""
        return np.asarray(np.memmap(self.mean, CLEAN_TYPE, mode, shape=tuple(shape)))

    def valid_of(self, shape: tuple[int, ...], mode: Any = "r") -> NDArray[np.bool_]:
        """Map the mask, shape (C, h, w); False where a pixel is masked."""
        return np.asarray(np.memmap(self._file("valid"), np.bool_, mode, shape=tuple(shape)))

    def write_array(self, name: str, values: NDArray[Any]) -> None:
        """Save an array of the reference frame under a name."""
        with self._file(f"{name}.npy").open("wb") as file:
            np.save(file, values, allow_pickle=False)

    def array(self, name: str) -> NDArray[Any]:
        """Map an array that `write_array` saved."""
        return np.asanyarray(np.load(self._file(f"{name}.npy"), mmap_mode="r", allow_pickle=False))

    def write_facts(self, facts: dict[str, Any]) -> None:
        """Save the scene's facts, which marks its arrays as complete."""
        write_whole(self._file("json"), json.dumps(facts).encode())

    def forget_facts(self) -> None:
        """Remove the scene's facts, so that the scene is computed again."""
        self._file("json").unlink(missing_ok=True)

    def facts(self) -> dict[str, Any] | None:
        """Read what `write_facts` saved; None if the scene is not complete."""
        file = self._file("json")
        if not file.exists():
            return None
        facts: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return facts


# Every task of a scene reads the notes of all its frames.
@lru_cache(maxsize=1024)
def _noted(content: bytes) -> PackedFrame:
    """What the note of a frame says, without its planes."""
    facts = json.loads(content.decode("utf-8"))
    setting = facts["setting"] | {
        "black": tuple(facts["setting"]["black"]),
        "noise_profile": tuple(tuple(pair) for pair in facts["setting"]["noise_profile"]),
        "clip": tuple(facts["setting"]["clip"]),
        "taken_from": tuple(tuple(pair) for pair in facts["setting"]["taken_from"]),
        "cautions": tuple(facts["setting"]["cautions"]),
    }
    image = RawImage(np.broadcast_to(NOISY_TYPE.type(0), facts["shape"]), **setting)
    levels = np.array(facts["levels"])
    levels.flags.writeable = False
    return PackedFrame(image, levels, np.zeros((0, 0, 0), NOISY_TYPE), facts["blake3"], facts["pixels"])


def _write_planes(image: RawImage, file: int) -> NDArray[np.float64]:
    """Write a mosaic's planes to a file, some rows at a time; return the mean of each plane, DN."""
    if not np.issubdtype(image.mosaic.dtype, np.integer):
        raise RawError(
            f"{image.source}: contains codes of type {image.mosaic.dtype}; a burst needs integers"
            f"{what_to_do(image.mosaic)}"
        )
    if not image.whole:
        least, most = image.mosaic.min(), image.mosaic.max()
        how = (
            ": was a dark frame or the black level subtracted? Add a constant to all pixels and give it as --black"
            if least < 0
            else ""
        )
        raise RawError(f"{image.source}: contains codes from {least} to {most}; expected integers 0…65535{how}")
    (planes, height, width), side = image.cube, image.side
    if not height or not width:
        raise RawError(f"{image.source}: its {image.mosaic.shape} pixels are less than one {side}×{side} cell")
    sums = [0] * planes
    for top in range(0, height, ROWS_AT_ONCE):
        rows = slice(top, min(top + ROWS_AT_ONCE, height))
        strip = image.mosaic[side * top : side * rows.stop]
        for plane, offset in enumerate(offsets(image.cfa)):
            codes = np.ascontiguousarray(one_plane(strip, offset, side), NOISY_TYPE)
            # Sum each row in 32 bits if it fits, which takes half the time of 64 bits.
            row = np.uint32 if codes.shape[1] <= 1 << 16 else np.uint64
            sums[plane] += int(codes.sum(1, dtype=row).sum(dtype=np.uint64))
            _write_at(file, codes, (plane * height + top) * width * NOISY_TYPE.itemsize)
    return np.asarray(np.array(sums) / (height * width), np.float64)


def _write_at(file: int, values: NDArray[Any], offset: int) -> None:
    content = values.reshape(-1).view(np.uint8).data
    while content:
        written = os.pwrite(file, content, offset)
        content, offset = content[written:], offset + written


def place_mean(store: Path, mean: SceneMean, corners: NDArray[np.int64], size: int, offset: int) -> NDArray[np.uint32]:
    """Cut a scene's mean into patches and write them to the store.

    Parameters
    ----------
    store : Path
        The unfinished store.
    mean : SceneMean
        Mean of the scene.
    corners : ndarray of int, shape (n, 2)
        y, x of each patch in pixels of a plane.
    size : int
        Height and width of a patch in pixels of a plane.
    offset : int
        Byte offset in the store at which the patches begin.

    Returns
    -------
    ndarray of uint32, shape (n,)
        CRC-32 of each patch.
    """
    if not len(corners):
        return np.empty(0, np.uint32)
    pages = np.memmap(mean.path, CLEAN_TYPE, "r", shape=mean.shape)
    crcs = []
    with store.open("r+b", buffering=0) as target:
        target.seek(offset)
        for _, patches in patches_at(lambda plane, rows: pages[plane, rows], len(pages), corners, size, CLEAN_TYPE):
            crcs.append(patch_crcs(patches))
            write_fully(target, patches)
    return np.concatenate(crcs)
