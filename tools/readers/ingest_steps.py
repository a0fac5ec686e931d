"""What one frame of an ingest costs, step by step, in milliseconds of processor time; printed as JSON.

python -m tools.readers.ingest_steps FILE FILE…      (frames of one setting; of a burst, the more the better)
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import rawpy
from numpy.typing import NDArray

from noiseflow.patches.assembly.cut import Sink, cut_patches, select_patches
from noiseflow.patches.assembly.parts import PartWriter
from noiseflow.patches.assembly.scene_files import SceneFiles
from noiseflow.patches.checksums import file_checksum, patch_crcs
from noiseflow.patches.ingestion.executors import keep_memory
from noiseflow.patches.options import IngestOptions
from noiseflow.patches.pairings import PAIRINGS, FramePair
from noiseflow.patches.pairings.frames.motion import frame_shifts
from noiseflow.patches.pairings.frames.sums import Sums, strips, sum_strip
from noiseflow.patches.sources.scene import Scene, file_frame
from noiseflow.raw.settings import RawSettings

TIMES = 5


def processor_ms(call: Callable[[], Any], times: int = TIMES) -> tuple[float, Any]:
    """Least processor time of some calls of a function, ms, and what the last gave."""
    spent, found = [], None
    for _ in range(times):
        began = time.process_time()
        found = call()
        spent.append(time.process_time() - began)
    return 1e3 * min(spent), found


def decode(path: Path) -> Any:
    """What `rawpy` alone does."""
    with rawpy.imread(str(path)) as raw:
        return np.array(raw.raw_image_visible, copy=True)


def of_frames(scene: Scene, folder: Path) -> dict[str, float]:
    """The steps that any pairing has."""
    frame, options = scene.frames[0], IngestOptions(pairing="none")
    found = {"decode by rawpy": processor_ms(lambda: decode(frame.path))[0]}
    found["read"], image = processor_ms(frame.read)
    found["BLAKE3 of the file"] = processor_ms(lambda: file_checksum(frame.path))[0]
    pair = FramePair(frame, 0, image, None, 0.0)

    def summed(noisy: NDArray[Any], *_: NDArray[Any] | None) -> None:
        patch_crcs(noisy)

    def kept(sink: Sink) -> None:
        cut_patches(pair, select_patches(pair, options, 0).corners, options.patch_size, 0, sink=sink)

    def written() -> None:
        with PartWriter(folder, 0, 0) as part:
            kept(part.append)

    found["cut"] = processor_ms(lambda: kept(lambda *_: None))[0]
    with_checksums = processor_ms(lambda: kept(summed))[0]
    found["CRC-32 of the patches"] = with_checksums - found["cut"]
    found["write to their place"] = processor_ms(written)[0] - with_checksums
    return found


def of_a_burst(scene: Scene, folder: Path) -> dict[str, float]:
    """The steps that a burst has beside, per frame, and the floor under them."""
    files, stacking, count = SceneFiles(folder, 0), PAIRINGS["burst"].stacking, len(scene.frames)
    assert stacking is not None
    image = scene.frames[0].read()
    found = {"keep the frame": processor_ms(lambda: files.pack(0, image, ""), 3)[0]}
    for number in range(1, count):
        files.pack(number, scene.frames[number].read(), "")
    stack = files.stack(count)
    known = strips(stack.shape)
    found["sums and defects"], sums = processor_ms(
        lambda: [sum_strip(stack, blocks, structured=True) for blocks in known], 2
    )
    for number, (blocks, strip) in enumerate(zip(known, sums, strict=True)):
        files.write_strip(number, blocks, strip)
    mean = files.mean_of(stack.cube)
    found["shifts"], shifts = processor_ms(lambda: frame_shifts(stack, mean, range(count)), 2)
    whole = Sums(stack, [strip.arrays() for strip in sums], [strip.defects for strip in sums])
    found["drift and motion"] = processor_ms(lambda: stacking.conclude(scene, whole, shifts), 2)[0]

    def added() -> None:
        total = np.empty(mean[0].size, np.uint32)
        for plane in range(len(mean)):
            total[:] = 0
            for start in range(0, len(total), 1 << 16):
                for frame in stack.frames:
                    total[start : start + (1 << 16)] += frame.planes[plane].reshape(-1)[start : start + (1 << 16)]

    found["floor: numpy's addition of the frames"] = processor_ms(added, 2)[0]
    return {name: ms if name == "keep the frame" else ms / count for name, ms in found.items()}


def main() -> None:
    """Print the steps of the files named."""
    keep_memory()
    frames = tuple(file_frame(Path(name), RawSettings()) for name in sys.argv[1:])
    scene = Scene("frames", frames)
    with TemporaryDirectory(dir=frames[0].path.parent.parent) as name:
        print(json.dumps({**of_frames(scene, Path(name)), **of_a_burst(scene, Path(name))}))


if __name__ == "__main__":
    main()
