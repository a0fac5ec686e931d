"""What the frames of one scene leave behind while its mean is made, in files of the folder of the ingest.

A frame's planes are there when its note is; a scene's facts say that its mean and its mask are whole.
"""

import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import StoreError
from noiseflow.patches.assembly.parts import write_whole
from noiseflow.patches.pairings.blocks import Blocks
from noiseflow.patches.pairings.defects import Defects
from noiseflow.patches.pairings.shift import Shift
from noiseflow.patches.pairings.stack import PLANES, Packed, Stack, read_packed, write_packed
from noiseflow.patches.pairings.sums import Strip
from noiseflow.patches.schema import CLEAN_TYPE
from noiseflow.raw.image import RawImage

__all__ = ["SceneFiles"]


class SceneFiles:
    """The files of one scene.

    Parameters
    ----------
    folder : Path
        That of the ingest.
    index : int
        Of the scene in the plan.
    """

    def __init__(self, folder: Path, index: int) -> None:
        self._folder, self._name = folder, f"scene-{index:06d}"

    def _file(self, kind: str) -> Path:
        return self._folder / f"{self._name}.{kind}"

    @property
    def mean(self) -> Path:
        """Mean of all frames, float32, (4, h, w)."""
        return self._file("mean")

    def _frame(self, number: int) -> tuple[Path, Path]:
        """A frame's codes, uint16, (4, h, w), and the note that they are whole."""
        return self._file(f"frame-{number:06d}.planes"), self._file(f"frame-{number:06d}.json")

    def packed(self, number: int) -> Packed | None:
        """A frame that was packed, or None."""
        planes, note = self._frame(number)
        return read_packed(planes, note) if note.exists() else None

    def pack(self, number: int, image: RawImage, source_blake3: str) -> None:
        """Pack a frame."""
        write_packed(image, *self._frame(number), source_blake3)

    def forget(self, number: int) -> None:
        """Remove a frame that is no longer wanted."""
        planes, note = self._frame(number)
        note.unlink(missing_ok=True)
        planes.unlink(missing_ok=True)

    def stack(self, count: int) -> Stack:
        """All frames, each of which must have been packed."""
        frames = [self.packed(number) for number in range(count)]
        missing = [number for number, frame in enumerate(frames) if frame is None]
        if missing:
            raise StoreError(f"{self._frame(missing[0])[0]}: not there though it was made; ingest again to make it")
        return Stack([frame for frame in frames if frame is not None])

    def write_strip(self, number: int, blocks: Blocks, strip: Strip) -> None:
        """Keep what some rows show: their pixels in place, the rest by itself."""
        height, width = blocks.shape
        for name, values in (("mean", strip.mean), ("valid", ~strip.defects.mask)):
            path = self._file(name)
            path.touch()
            with path.open("r+b") as file:
                for plane, rows in enumerate(values):
                    file.seek((plane * height + blocks.rows.start) * width * values.itemsize)
                    file.write(np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data)
        content = io.BytesIO()
        told = {"counts": dict(strip.defects.counts), "listed": strip.defects.listed}
        kept: dict[str, Any] = {"told": np.array(json.dumps(told)), **strip.arrays()}
        np.savez(content, **kept)
        write_whole(self._file(f"strip-{number:06d}.npz"), content.getbuffer())

    def strip(self, number: int) -> tuple[dict[str, NDArray[Any]], Defects]:
        """What `write_strip` kept by itself."""
        with np.load(self._file(f"strip-{number:06d}.npz"), allow_pickle=False) as known:
            arrays = {name: known[name] for name in known.files if name != "told"}
            told = json.loads(str(known["told"]))
        listed = tuple((plane, y, x, kind) for plane, y, x, kind in told["listed"])
        return arrays, Defects(np.zeros((0, 0, 0), bool), told["counts"], listed)

    def write_shifts(self, first: int, shifts: Sequence[Sequence[Shift]]) -> None:
        """Keep the shifts of some frames, from number `first` on."""
        content = [[asdict(each) for each in frame] for frame in shifts]
        write_whole(self._file(f"shifts-{first:06d}.json"), json.dumps(content).encode())

    def shifts(self, first: int) -> list[list[Shift]]:
        """What `write_shifts` kept."""
        content = json.loads(self._file(f"shifts-{first:06d}.json").read_text(encoding="utf-8"))
        return [[Shift(**each) for each in frame] for frame in content]

    def mean_of(self, shape: tuple[int, ...], mode: Any = "r") -> NDArray[np.float32]:
        """Pages of the mean, shape (4, h, w)."""
        return np.asarray(np.memmap(self.mean, CLEAN_TYPE, mode, shape=(PLANES, *shape)))

    def valid_of(self, shape: tuple[int, ...], mode: Any = "r") -> NDArray[np.bool_]:
        """Pages of the mask, shape (4, h, w)."""
        return np.asarray(np.memmap(self._file("valid"), np.bool_, mode, shape=(PLANES, *shape)))

    def write_array(self, name: str, values: NDArray[Any]) -> None:
        """Keep an array of a reference."""
        with self._file(f"{name}.npy").open("wb") as file:
            np.save(file, values, allow_pickle=False)

    def array(self, name: str) -> NDArray[Any]:
        """Pages of an array of a reference."""
        return np.asanyarray(np.load(self._file(f"{name}.npy"), mmap_mode="r", allow_pickle=False))

    def write_facts(self, told: dict[str, Any]) -> None:
        """Say that the scene's arrays are whole, and what was found."""
        write_whole(self._file("json"), json.dumps(told).encode())

    def forget_facts(self) -> None:
        """Have all of the scene made again."""
        self._file("json").unlink(missing_ok=True)

    def facts(self) -> dict[str, Any] | None:
        """What `write_facts` was told, or None."""
        file = self._file("json")
        if not file.exists():
            return None
        told: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return told
