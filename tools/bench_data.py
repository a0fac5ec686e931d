"""How fast frames are stored and patches read, against what the machine does at best.

Every figure is a ratio to a measure of the same run: `rawpy`'s own decode of the same
files on all processors, and plain `numpy.memmap` reads of the same bytes.  Decoding and ingest
each run in a fresh process that imports only what it needs, by turns; the median counts.

python -m tools.bench_data FILE.ARW --frames 6 --out docs/results-data.md
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np

from noiseflow.patches import PatchStore, StoreWriter
from noiseflow.patches.executors import processors
from noiseflow.patches.schema import LABELS, fields
from noiseflow.raw.dng import write_dng
from noiseflow.raw.image import RawImage

BATCH = 128
TIMES = 3
DECODE = Path(__file__).with_name("decode_files.py")
INGEST = """
import sys
from noiseflow.patches import IngestOptions, ingest
if __name__ == "__main__":
    ingest([sys.argv[1]], sys.argv[2], IngestOptions(pairing=sys.argv[3]), jobs=int(sys.argv[4]), overwrite=True)
"""
MEASURE_PEAK = """
import sys
from noiseflow.patches import IngestOptions, ingest
ingest([sys.argv[1]], sys.argv[2], IngestOptions(pairing=sys.argv[3]), jobs=1, overwrite=True)
print(next(int(line.split()[1]) // 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


INGEST_COLUMNS = {"decode_mpix_s": 0, "ingest_mpix_s": 0, "ratio": 2, "peak_mib": 0}
READ_COLUMNS = {"patches_s": 0, "first_patches_s": 0, "memmap_patches_s": 0, "ratio": 2}
"""Figures of the tables, and digits of each."""


def best_of(call: Callable[[], object], times: int = 3, clock: Callable[[], float] = time.perf_counter) -> float:
    """Shortest time of some calls, s."""
    spent = []
    for _ in range(times):
        began = clock()
        call()
        spent.append(clock() - began)
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


def fresh(*arguments: object) -> tuple[float, str]:
    """Run Python in a process of its own: its time, from start to end, s, and what it printed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, *map(str, arguments)]
    began = time.perf_counter()
    printed = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    return time.perf_counter() - began, printed


def measure_ingest(files: list[Path], folder: Path, pairing: str) -> dict[str, float]:
    """Pixels a second of an ingest on all processors, and of decoding alone."""
    decoding, storing, pixels = [], [], 0
    for _ in range(TIMES):
        spent, printed = fresh(DECODE, processors(), *files)
        decoding.append(spent)
        pixels = int(printed)
        storing.append(fresh("-c", INGEST, files[0].parent, folder / "s.h5", pairing, processors())[0])
    return {
        "decode_mpix_s": pixels / statistics.median(decoding) / 1e6,
        "ingest_mpix_s": pixels / statistics.median(storing) / 1e6,
        "ratio": statistics.median(decoding) / statistics.median(storing),
    }


def peak_mb(files: list[Path], folder: Path, pairing: str) -> int:
    """Largest resident memory of one process that ingests the files, MiB."""
    return int(fresh("-c", MEASURE_PEAK, files[0].parent, folder / "peak.h5", pairing)[1])


def measure_read(path: Path, batch: int = BATCH, clock: Callable[[], float] = time.perf_counter) -> dict[str, float]:
    """Patches a second in shuffled batches, from the page cache, beside plain gathers of the same bytes."""
    with PatchStore(path) as store:
        rows = np.random.default_rng(0).permutation(store.indices("train"))
        batches = [rows[start : start + batch] for start in range(0, len(rows) - batch + 1, batch)]

        def plain() -> None:
            for each in batches:
                store._noisy[each]
                store._clean[store._row[each] if store._shared else each]

        def read() -> None:
            for each in batches:
                store.read(each)

        count = batch * len(batches)
        first = count / best_of(read, 1, clock)
        ours, theirs = count / best_of(read, 3, clock), count / best_of(plain, 3, clock)
    return {"first_patches_s": first, "patches_s": ours, "memmap_patches_s": theirs, "ratio": ours / theirs}


def twins(folder: Path, patches: int = 20_000, side: int = 32) -> Path:
    """A store of single frames with a clean signal of their own each, as of clean twins: schema 2."""
    rng = np.random.default_rng(0)
    path = folder / f"twins_{side}.h5"
    noisy = rng.integers(600, 4000, (patches, 4, side, side), np.uint16)
    table = np.zeros(patches, fields(4))
    table["iso"], table["black"], table["white"] = 100.0, 512.0, 16383.0
    with StoreWriter(path, layout="bayer", patch_size=side, pairing="gt", provenance={}) as writer:
        for kind in LABELS:
            writer.label(kind, "made")
        writer.append(noisy, noisy.astype(np.float32), table)
    return path


def page(raw: str, frames: int, figures: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """The page of results, as Markdown."""
    machine = figures["machine"]
    yield "# Results: ingest and reading"
    yield ""
    load = f"load at the start {machine['load']:.1f} (other work on the machine weighs on both sides)"
    yield f"Made by `python -m tools.bench_data {raw} --frames {frames} --out docs/results-data.md`"
    yield f"on {machine['processors']:.0f} processors; {load}."
    yield f"Both sides run in fresh processes, start included, by turns; the median of {TIMES} runs counts. *Decode*"
    yield "is `rawpy` alone on all processors. At least 0.8 of it is asked; of one process, a peak below 477 MiB."
    yield ""
    yield "| files, pairing | decode, Mpix/s | ingest, Mpix/s | ratio | peak, MiB |"
    yield "|---|---|---|---|---|"
    for label, found in figures.items():
        if "decode_mpix_s" in found:
            cells = (f"{found[key]:.{digits}f}" for key, digits in INGEST_COLUMNS.items())
            yield f"| {label} | {' | '.join(cells)} |"
    yield ""
    yield f"Shuffled batches of {BATCH} patches of 4×32×32, from the page cache, one process; 20,000 patches/s are"
    yield "asked:"
    yield ""
    yield "| store | patches/s | first time, with checksums | `numpy.memmap` of the same bytes | ratio |"
    yield "|---|---|---|---|---|"
    for label, found in figures.items():
        if "patches_s" in found:
            cells = (f"{found[key]:,.{digits}f}" for key, digits in READ_COLUMNS.items())
            yield f"| {label.removeprefix('reading, ')} | {' | '.join(cells)} |"


@click.command()
@click.argument("raw", type=click.Path(exists=True, path_type=Path))
@click.option("--frames", default=8, show_default=True, help="Copies of RAW, and frames of 24 megapixels.")
@click.option(
    "--scratch", type=click.Path(path_type=Path), help="Where files are made; a folder of its own if not given."
)
@click.option("--out", type=click.Path(path_type=Path), help="Write the page of results there.")
@click.option("--json", "json_out", type=click.Path(path_type=Path), help="Write the figures there.")
def main(raw: Path, frames: int, scratch: Path | None, json_out: Path | None, out: Path | None) -> None:
    """Measure ingest and reading, with copies of the raw file RAW and frames made for it."""
    with TemporaryDirectory(dir=scratch) as name:
        folder = Path(name)
        own = copies(raw, folder / "copies", frames)
        large = large_frames(folder / "large", frames)
        figures: dict[str, dict[str, float]] = {"machine": {"processors": processors(), "load": os.getloadavg()[0]}}
        for label, files in (("camera file", own), ("24 MP uncompressed DNG", large)):
            for pairing in ("none", "burst"):
                found = measure_ingest(files, folder, pairing)
                peak = peak_mb(files, folder, pairing)
                figures[f"{label}, {pairing}"] = {**found, "peak_mib": peak}
                click.echo(
                    f"{label}, pairing {pairing}: decode {found['decode_mpix_s']:.0f} Mpix/s, ingest "
                    f"{found['ingest_mpix_s']:.0f} Mpix/s, ratio {found['ratio']:.2f}; peak {peak} MiB"
                )
        for label, store in (("shared mean", folder / "s.h5"), ("clean twins", twins(folder))):
            reading = measure_read(store)
            figures[f"reading, {label}"] = reading
            click.echo(
                f"reading batches of {BATCH} of 4×32×32, {label}: {reading['patches_s']:.0f} patches/s, "
                f"{reading['ratio']:.2f} of memmap's {reading['memmap_patches_s']:.0f}; "
                f"{reading['first_patches_s']:.0f} with checksums (first time)"
            )
    if out is not None:
        out.write_text("\n".join(page(raw.name, frames, figures)) + "\n", encoding="utf-8")
    if json_out is not None:
        json_out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
