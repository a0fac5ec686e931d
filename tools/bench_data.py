"""How fast frames are stored and patches read, against what the machine does at best.

Every figure is a ratio to a measure of the same run: `rawpy`'s own decode of the same
files on all processors, and plain `numpy.memmap` reads of the same bytes.  Decoding and the
command `noiseflow ingest` run in fresh processes, by turns; the median counts.  Stores are
made on the disk and in memory, with few frames and many, beside plain writes of as many bytes.

python -m tools.bench_data FILE.ARW --out docs/results-data.md
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np

from noiseflow.patches import PatchStore, StoreWriter
from noiseflow.patches.assembly.parts import write_fully
from noiseflow.patches.ingestion.executors import processors
from noiseflow.patches.schema import LABELS, fields
from noiseflow.raw.formats.dng import write_dng
from noiseflow.raw.image import RawImage
from tools.benching.page import table

BATCH = 128
CHANGED_BYTES = 2048
TIMES = 3
REST_S = 20.0
"""Time in which a virtual machine gives free memory back to its host; what is written then asks for it anew."""

DECODE = Path(__file__).parent / "readers" / "decode_files.py"
RUN = """
import ctypes, os, resource, subprocess, sys, time
if sys.platform == "linux":
    # PR_SET_CHILD_SUBREAPER: processes whose parents are gone become this one's children, and are counted.
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
began = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
spent = time.perf_counter() - began
try:
    while True:
        os.wait()
except ChildProcessError:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(spent, used.ru_utime + used.ru_stime)
"""
"""Runs a command: its time from start to end, s, and that of processors in all its processes, s."""

MEASURE_PEAK = """
import sys
from noiseflow.patches import IngestOptions, ingest
ingest([sys.argv[1]], sys.argv[2], IngestOptions(pairing=sys.argv[3]), jobs=1, overwrite=True)
print(next(int(line.split()[1]) // 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


IMPORTS = """
from noiseflow.patches.ingestion.executors import one_thread
one_thread()
import noiseflow.cli.data.ingest, noiseflow.patches.ingestion.ingestion, noiseflow.patches.assembly.store_assembly
"""
START = {"what decoding imports": "import numpy, rawpy", "what an ingest imports": IMPORTS}
BURST = "sums and defects", "shifts", "drift and motion"
"""Steps that a burst has beside keeping its frames."""

INGEST_COLUMNS = {"decode_mpix_s": 0, "ingest_mpix_s": 0, "ratio": 2, "processor_ratio": 2, "written_alone": 2}
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
    """The same raw frame under several names, each with a few pixels of its own: a repeated exposure is refused.

    One byte in 1024 places of the second half of the file differs, which is pixels in Sony's
    compression of fixed size and in a plain DNG.
    """
    folder.mkdir()
    files, original = [], source.read_bytes()
    step = max(2, len(original) // CHANGED_BYTES // 2 * 2)
    for number in range(count):
        content = bytearray(original)
        for at in range(len(content) // 4 * 2, len(content), step):
            content[at] ^= number % 256
        files.append(folder / f"{number:03d}{source.suffix}")
        files[-1].write_bytes(content)
    return files


def large_frames(folder: Path, count: int) -> list[Path]:
    """Frames of 24 megapixels, as uncompressed DNG."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    files = []
    for number in range(count):
        mosaic = rng.integers(600, 4000, (4000, 6000), np.uint16)
        image = RawImage(mosaic, "RGGB", (512.0,) * 4, 16383.0, iso=100.0, exposure_s=0.01, make="Made", model="24MP")
        files.append(folder / f"{number:03d}.dng")
        write_dng(files[-1], image)
    return files


def room(folder: Path, needed: int) -> bool:
    """Whether a file system takes so many bytes, in memory or not, and the memory is there."""
    known = dict(line.split(":") for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
    return needed < min(shutil.disk_usage(folder).free, int(known["MemAvailable"].split()[0]) << 10)


def some(files: list[Path], count: int) -> list[Path]:
    """The first of some files, in a folder of their own."""
    folder = files[0].parent.with_name(f"{files[0].parent.name}-{count}")
    folder.mkdir()
    return [Path(shutil.copy(file, folder)) for file in files[:count]]


def fresh(*arguments: object) -> str:
    """Run Python in a process of its own; what it printed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout


def timed(*arguments: object) -> tuple[float, float]:
    """Run Python likewise: its time from start to end, s, and that of the processors, s."""
    spent, used = map(float, fresh("-c", RUN, sys.executable, *arguments).split())
    return spent, used


def measure_ingest(files: list[Path], store: Path, pairing: str) -> dict[str, float]:
    """Pixels a second of an ingest on all processors, and of decoding alone; the store's bytes written alone."""
    pixels = int(fresh(DECODE, 1, files[0])) * len(files)
    jobs = processors()
    command = "-m", "noiseflow", "ingest", files[0].parent, "--pairing", pairing, "--jobs", jobs, "--out", store
    decoding, storing, writing = [], [], []
    for number in range(TIMES):
        decoding.append(timed(DECODE, jobs, *files))
        # Its memory is taken again: what was never used a virtual machine must first ask its host for.
        size = store.stat().st_size if number else 0
        store.unlink(missing_ok=True)
        if number:
            writing.append(written_s(store.with_name("plain"), size))
        storing.append(timed(*command))
    (decode_s, decode_used), (ingest_s, ingest_used) = np.median(decoding, 0), np.median(storing, 0)
    return {
        "decode_mpix_s": pixels / decode_s / 1e6,
        "ingest_mpix_s": pixels / ingest_s / 1e6,
        "ratio": decode_s / ingest_s,
        "processor_ratio": decode_used / ingest_used,
        "written_alone": float(np.median(writing)) / ingest_s,
        "ingest_s": ingest_s,
    }


def peak_mb(files: list[Path], store: Path, pairing: str) -> int:
    """Largest resident memory of one process that ingests the files, MiB."""
    return int(fresh("-c", MEASURE_PEAK, files[0].parent, store, pairing))


def written_s(path: Path, size: int) -> float:
    """Time that plain writes of so many bytes take, until they are on the disk, s."""
    block = np.random.default_rng(0).integers(0, 256, 1 << 22, np.uint8)
    began = time.perf_counter()
    with path.open("wb", buffering=0) as file:
        for start in range(0, size, len(block)):
            write_fully(file, block[: size - start])
        os.fsync(file.fileno())
    spent = time.perf_counter() - began
    path.unlink()
    return spent


def measure_start() -> dict[str, float]:
    """Processor time of processes that import something, ms."""
    return {label: 1e3 * min(timed("-c", code)[1] for _ in range(TIMES)) for label, code in START.items()}


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
    """A store of single frames with a clean signal of their own each, as of clean twins."""
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


def measured(
    kinds: Mapping[str, list[Path]], places: Mapping[str, Path], pairings: Sequence[str]
) -> dict[str, dict[str, float]]:
    """What `measure_ingest` found for files of some kinds, each pairing and place; also printed."""
    figures = {}
    # What was made for it is on the disk before, not while, it is measured.
    os.sync()
    for label, files in kinds.items():
        for pairing in pairings:
            for place, where in places.items():
                found = measure_ingest(files, where / "s.h5", pairing)
                title = f"{len(files)} × {label}, {pairing}, {place}"
                figures[title] = found
                click.echo(
                    f"{title}: decode {found['decode_mpix_s']:.0f} Mpix/s, ingest {found['ingest_mpix_s']:.0f} "
                    f"Mpix/s, ratio {found['ratio']:.2f}, of processor time {found['processor_ratio']:.2f}"
                )
    return figures


def page(command: str, figures: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """The page of results, as Markdown."""
    machine = figures["machine"]
    yield "# Results: ingest and reading\n"
    yield f"Made by `{command}`"
    yield f"on {machine['processors']:.0f} processors; load {machine['load']:.1f} at the start (it slows both)."
    yield "*Decode* is `rawpy` alone on all processors, *ingest* the command `noiseflow ingest`; both run in fresh"
    yield f"processes, start included, by turns; the median of {TIMES} runs counts. The target is 0.8 of the decode."
    yield "The next ratio compares the processor time of all processes of either side; it depends less on other work."
    yield "An ingest ends when its store is on the disk, and decoding writes nothing: the last column is the fraction"
    yield "of the ingest's time that one process needs to write as many bytes to the same place.\n"
    rows = [
        [label, *(f"{found[key]:.{digits}f}" for key, digits in INGEST_COLUMNS.items())]
        for label, found in figures.items()
        if "decode_mpix_s" in found
    ]
    heading = [
        "files, pairing, store",
        "decode, Mpix/s",
        "ingest, Mpix/s",
        "ratio",
        "ratio of processor time",
        "writing alone",
    ]
    yield table(heading, rows)
    yield from memory_words(figures)
    yield from step_words(figures)
    yield "## Memory\n"
    yield "Peak of one process, MiB; the target is less than 477.\n"
    yield table(["files, pairing", "peak"], [[name, f"{mib:.0f}"] for name, mib in figures["peak"].items()])
    yield "## Reading\n"
    yield f"Shuffled batches of {BATCH} patches of 4×32×32, from the page cache, one process; the target is 20,000"
    yield "patches/s.\n"
    yield table(
        ["store", "patches/s", "first time, with checksums", "`numpy.memmap` of the same bytes", "ratio"],
        [
            [label.removeprefix("reading, "), *(f"{found[key]:,.{digits}f}" for key, digits in READ_COLUMNS.items())]
            for label, found in figures.items()
            if "patches_s" in found
        ],
    )


def memory_words(figures: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """What stores of several GB in memory cost beside their bytes."""
    fresh = {label: found["fresh"] for label, found in figures.items() if "fresh" in found}
    if fresh:
        shares = " and ".join(f"{part:.2f} ({label.split(', none')[0]})" for label, part in fresh.items())
        yield "A virtual machine may give free memory back to its host, and wait for it when it is written to again."
        yield f"Writing as many bytes alone, {REST_S:.0f} s after memory was last freed, takes {shares}"
        yield "of the ingest's time; decoding writes to the same memory again and again.\n"


def step_words(figures: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """Where the time goes, and what a burst can reach at best."""
    steps = {label.removeprefix("steps, "): found for label, found in figures.items() if label.startswith("steps")}
    yield "## Where the time goes\n"
    start = " and ".join(f"{ms:.0f} ms for {label}" for label, ms in figures["start"].items())
    yield "Milliseconds of processor time for one frame, each step measured alone. A process takes"
    yield f"{start} to start. Decoding starts one process"
    yield "more than there are processors; those of an ingest are copies of the first.\n"
    names = list(next(iter(steps.values())))
    yield table(["step", *steps], [[name, *(f"{found[name]:.1f}" for found in steps.values())] for name in names])
    yield "Without pairing, a frame takes the steps from *read* to *write to their place*. *Read* is LibRaw's decode"
    yield "and the tags, or the bytes of a plain DNG. The frames of a burst are kept until their mean is known, and"
    yield "then cut. These steps limit a burst to the following fractions of the speed of decoding, with only a sum of"
    yield "the frames, and with the checks of the pairs (static or not, drift, flicker, defects):\n"
    bound = []
    for label, found in steps.items():
        once = sum(found[name] for name in ("read", "BLAKE3 of the file", "keep the frame"))
        once += sum(found[name] for name in ("cut", "CRC-32 of the patches", "write to their place"))
        costs = found["floor: numpy's addition of the frames"], sum(found[name] for name in BURST)
        bound.append([label, *(f"{found['decode by rawpy'] / (once + cost):.2f}" for cost in costs)])
    yield table(["burst of", "bare sum", "with its tests"], bound)


@click.command()
@click.argument("raw", type=click.Path(exists=True, path_type=Path))
@click.option("--frames", default=6, show_default=True, help="Copies of RAW, and frames of 24 megapixels.")
@click.option("--many", default=24, show_default=True, help="The same once more with so many, the stores in memory.")
@click.option(
    "--most", default=100, show_default=True, help="Without pairing once more with so many, as a user's folder has."
)
@click.option(
    "--scratch", type=click.Path(path_type=Path), help="Where files are made; a folder of its own if not given."
)
@click.option("--memory", type=click.Path(path_type=Path), default="/dev/shm", show_default=True, help="A tmpfs.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the page of results there.")
@click.option("--json", "json_out", type=click.Path(path_type=Path), help="Write the figures there.")
def main(
    raw: Path,
    frames: int,
    many: int,
    most: int,
    scratch: Path | None,
    memory: Path,
    out: Path | None,
    json_out: Path | None,
) -> None:
    """Measure ingest and reading, with copies of the raw file RAW and frames made for it."""
    figures: dict[str, dict[str, float]] = {"machine": {"processors": processors(), "load": os.getloadavg()[0]}}
    figures["start"], figures["peak"] = measure_start(), {}
    with TemporaryDirectory(dir=scratch) as name, TemporaryDirectory(dir=memory) as quick:
        folder = Path(name)
        made = {"camera file": copies(raw, folder / "copies", many), "24 MP DNG": large_frames(folder / "large", many)}
        few = {label: some(files, frames) for label, files in made.items()}
        for label, files in few.items():
            figures[f"steps, {label}"] = json.loads(fresh("-m", "tools.readers.ingest_steps", *files))
        figures |= measured(few, {"disk": folder, "memory": Path(quick)}, ("none", "burst"))
        for label, files in few.items():
            for pairing in ("none", "burst"):
                figures["peak"][f"{label}, {pairing}"] = peak_mb(files, Path(quick) / "s.h5", pairing)
        for label, files in made.items() if most else ():
            # The store, and the files as the system keeps them.
            if not room(Path(quick), 2 * most * max(files[0].stat().st_size, 50_000_000)):
                click.echo(f"{most} × {label}: left out, there is not the memory")
                continue
            kinds = {label: copies(files[0], folder / f"most, {label}", most)}
            found = measured(kinds, {"memory": Path(quick)}, ("none",))
            size = (Path(quick) / "s.h5").stat().st_size
            (Path(quick) / "s.h5").unlink()
            time.sleep(REST_S)
            for each in found.values():
                each["fresh"] = written_s(Path(quick) / "plain", size) / each["ingest_s"]
                click.echo(f"plain writes into fresh memory: {each['fresh']:.2f} of the ingest's time")
            figures |= found
            shutil.rmtree(folder / f"most, {label}")
        figures |= measured(made, {"memory": Path(quick)}, ("none", "burst"))
        for label, store in (("shared mean", Path(quick) / "s.h5"), ("clean twins", twins(folder))):
            reading = measure_read(store)
            figures[f"reading, {label}"] = reading
            click.echo(
                f"reading batches of {BATCH} of 4×32×32, {label}: {reading['patches_s']:.0f} patches/s, "
                f"{reading['ratio']:.2f} of memmap's {reading['memmap_patches_s']:.0f}; "
                f"{reading['first_patches_s']:.0f} with checksums (first time)"
            )
    if out is not None:
        options = f"--frames {frames} --many {many} --most {most} --out docs/results-data.md"
        command = f"python -m tools.bench_data {raw.name} {options}"
        out.write_text("\n".join(page(command, figures)).rstrip() + "\n", encoding="utf-8")
    if json_out is not None:
        json_out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
