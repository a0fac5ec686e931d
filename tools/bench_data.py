"""How fast frames are stored and patches read, against what the machine does at best.

Every figure is a ratio to a measure of the same run: `rawpy`'s own decode of the same
files on all processors, and plain `numpy.memmap` reads of the same bytes.
"""

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np
import rawpy

from noiseflow.patches import IngestOptions, PatchStore, ingest
from noiseflow.patches.executors import processors
from noiseflow.raw.dng import write_dng
from noiseflow.raw.image import RawImage

BATCH = 128
MEASURE_PEAK = """
import sys
from noiseflow.patches import IngestOptions, ingest
ingest([sys.argv[1]], sys.argv[2], IngestOptions(pairing=sys.argv[3]), jobs=1, overwrite=True)
print(next(int(line.split()[1]) // 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def decode(path: str) -> int:
    """Decode a raw file as `rawpy` does, and take a copy of its pixels; how many."""
    with rawpy.imread(path) as raw:
        return int(np.array(raw.raw_image_visible, copy=True).size)


def best_of(call: Callable[[], object], times: int = 3) -> float:
    """Shortest time of some calls, s."""
    spent = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        spent.append(time.perf_counter() - began)
    return min(spent)


def copies(source: Path, folder: Path, count: int) -> list[Path]:
    """The same raw frame under several names, with a few bytes after its end so that no checksum repeats."""
    folder.mkdir()
    files = []
    for number in range(count):
        files.append(folder / f"{number:02d}{source.suffix}")
        shutil.copy(source, files[-1])
        files[-1].chmod(0o644)
        with files[-1].open("ab") as file:
            file.write(number.to_bytes(4, "little"))
    return files


def large_frames(folder: Path, count: int) -> list[Path]:
    """Frames of 24 megapixels, as uncompressed DNG."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    files = []
    for number in range(count):
        mosaic = rng.integers(600, 4000, (4000, 6000), np.uint16)
        image = RawImage(mosaic, "RGGB", (512.0,) * 4, 16383.0, iso=100.0, exposure_s=0.01, make="Made", model="24MP")
        files.append(folder / f"{number:02d}.dng")
        write_dng(files[-1], image)
    return files


def measure_ingest(files: list[Path], folder: Path, pairing: str) -> dict[str, float]:
    """Pixels a second of an ingest on all processors, and of decoding alone."""
    jobs, names = processors(), [str(file) for file in files]
    pixels = sum(map(decode, names))

    def decode_all() -> None:
        # The start of the processes counts on both sides.
        with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
            list(pool.map(decode, names))

    decoding = best_of(decode_all)
    out = folder / "s.h5"
    options = IngestOptions(pairing=pairing)
    storing = best_of(lambda: ingest([files[0].parent], out, options, jobs=jobs, overwrite=True))
    return {
        "decode_mpix_s": pixels / decoding / 1e6,
        "ingest_mpix_s": pixels / storing / 1e6,
        "ratio": decoding / storing,
    }


def peak_mb(files: list[Path], folder: Path, pairing: str) -> int:
    """Largest resident memory of one process that ingests the files, MiB."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", MEASURE_PEAK, str(files[0].parent), str(folder / "peak.h5"), pairing]
    return int(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def measure_read(path: Path) -> dict[str, float]:
    """Patches a second in shuffled batches, from the page cache, beside plain gathers of the same bytes."""
    with PatchStore(path) as store:
        rows = np.random.default_rng(0).permutation(store.indices("train"))
        batches = [rows[start : start + BATCH] for start in range(0, len(rows) - BATCH + 1, BATCH)]
        maps = store._noisy, store._clean

        def plain() -> None:
            for batch in batches:
                for values in maps:
                    values[batch]

        def read() -> None:
            for batch in batches:
                store.read(batch)

        count = BATCH * len(batches)
        first = count / best_of(read, 1)
        ours, theirs = count / best_of(read), count / best_of(plain)
    return {"first_patches_s": first, "patches_s": ours, "memmap_patches_s": theirs, "ratio": ours / theirs}


@click.command()
@click.argument("raw", type=click.Path(exists=True, path_type=Path))
@click.option("--frames", default=8, show_default=True, help="Copies of RAW, and frames of 24 megapixels.")
@click.option(
    "--scratch", type=click.Path(path_type=Path), help="Where files are made; a folder of its own if not given."
)
@click.option("--json", "json_out", type=click.Path(path_type=Path), help="Write the figures there.")
def main(raw: Path, frames: int, scratch: Path | None, json_out: Path | None) -> None:
    """Measure ingest and reading, with copies of the raw file RAW and frames made for it."""
    with TemporaryDirectory(dir=scratch) as name:
        folder = Path(name)
        own = copies(raw, folder / "copies", frames)
        large = large_frames(folder / "large", frames)
        figures: dict[str, object] = {"processors": processors()}
        for label, files in (("camera file", own), ("24 MP uncompressed DNG", large)):
            for pairing in ("none", "burst"):
                found = measure_ingest(files, folder, pairing)
                peak = peak_mb(files, folder, pairing)
                figures[f"{label}, {pairing}"] = {**found, "peak_mib": peak}
                click.echo(
                    f"{label}, pairing {pairing}: decode {found['decode_mpix_s']:.0f} Mpix/s, ingest "
                    f"{found['ingest_mpix_s']:.0f} Mpix/s, ratio {found['ratio']:.2f}; peak {peak} MiB"
                )
        reading = measure_read(folder / "s.h5")
        figures["reading"] = reading
        click.echo(
            f"reading batches of {BATCH} of 4×32×32: {reading['patches_s']:.0f} patches/s, {reading['ratio']:.2f} of "
            f"memmap's {reading['memmap_patches_s']:.0f}; {reading['first_patches_s']:.0f} with checksums (first time)"
        )
    if json_out is not None:
        json_out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
