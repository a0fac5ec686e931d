"""Mutate small valid files of every kind that our readers take, and watch what reading them does.

    python -m tools.readers.fuzz_readers --count 10000

Fails if any case ends in an exception that is not ours, takes more than 5 s, kills the process,
or brings it over 1 GB of memory.  The same seed makes the same cases.
"""

import multiprocessing
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import h5py
import numpy as np
import tifffile
from PIL import Image

from noiseflow.core.errors import NoiseflowError
from noiseflow.patches.sources import collect
from noiseflow.raw.formats.dng import write_dng
from noiseflow.raw.image import RawImage
from noiseflow.raw.reading import read_raw
from noiseflow.raw.settings import RawSettings
from tools.readers.make_sidd import make_blocks, make_tree

MAX_SECONDS = 5.0
MAX_BYTES = 1 << 30
SETTINGS = RawSettings(cfa="RGGB", black=(64.0,), white=1023.0, size=(24, 32))

DNG_TAGS = [
    (33421, "H", 2, (2, 2), True),
    (33422, "B", 4, bytes((0, 1, 1, 2)), True),
    (50706, "B", 4, bytes((1, 4, 0, 0)), True),
    (50829, "H", 4, (0, 2, 32, 24), True),
    (50830, "H", 4, (0, 0, 32, 2), True),
]
PLAIN_TAGS = [
    *DNG_TAGS[:4],
    (50714, "H", 1, 64, True),
    (50717, "I", 1, 1023, True),
    (34855, "H", 1, 200, True),
    (33434, "2I", 1, (1, 30), True),
]
"""Of a DNG that is read without LibRaw: its levels, ISO and exposure time, and no masked pixels."""


@dataclass(frozen=True)
class Kind:
    """A valid file: its bytes, its name in a folder, its companions, and what is called on it."""

    name: str
    data: bytes
    file: str
    others: dict[str, bytes]
    call: Callable[[Path], Any]


@dataclass
class Report:
    """What the cases did."""

    cases: int = 0
    read: int = 0
    refused: int = 0
    by_kind: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    slowest: str = ""
    peak_bytes: int = 0
    seconds: float = 0.0


def read_with_settings(path: Path) -> None:
    """Read one file, with settings that let headerless and unspoken ones through."""
    read_raw(path, SETTINGS)


def read_alone(path: Path) -> None:
    """Read one file by what it and its side-car say."""
    read_raw(path)


def collect_all(path: Path) -> None:
    """Sort a folder into scenes and read the first frame and its clean twin."""
    scene = collect(path.parent).scenes[0]
    scene.frames[0].read()
    if scene.clean is not None:
        scene.clean.read()


def kinds(folder: Path) -> list[Kind]:
    """Valid files of every kind, made in `folder`."""
    rng = np.random.default_rng(0)
    mosaic = rng.integers(0, 1024, (32, 24)).astype(np.uint16)
    made: list[Kind] = []

    def add(name: str, file: str, call: Callable[[Path], Any], others: dict[str, bytes] | None = None) -> None:
        made.append(Kind(name, (folder / file).read_bytes(), file, others or {}, call))

    for name, how in (
        ("tiff", {}),
        ("tiff big-endian", {"byteorder": ">"}),
        ("tiff deflate", {"compression": "zlib", "predictor": True}),
        ("tiff tiles", {"tile": (16, 16), "compression": "zlib"}),
        ("tiff big", {"bigtiff": True}),
    ):
        tifffile.imwrite(folder / "a.tiff", mosaic, photometric="minisblack", metadata=None, **how)
        add(name, "a.tiff", read_with_settings)
    for bits in (8, 16):
        Image.fromarray(mosaic if bits == 16 else (mosaic >> 2).astype(np.uint8)).save(folder / "a.png")
        add(f"png {bits}", "a.png", read_with_settings)
    np.save(folder / "a.npy", mosaic)
    add("npy", "a.npy", read_with_settings)
    facts = {"cfa": "RGGB", "black": [64.0], "white": 1023.0, "iso": 100.0}
    for name, save in (("npz", np.savez), ("npz deflate", np.savez_compressed)):
        save(folder / "a.npz", mosaic=mosaic, **facts)
        add(name, "a.npz", read_alone)
    with h5py.File(folder / "a.h5", "w") as file:
        data = file.create_dataset("mosaic", data=mosaic, chunks=(8, 8), compression="gzip")
        data.attrs.update(facts)
    add("hdf5", "a.h5", read_alone)
    (folder / "a.raw").write_bytes(mosaic.tobytes())
    add("headerless", "a.raw", read_with_settings)
    side_car = b'cfa = "RGGB"\nblack = [64, 64, 65, 64]\nwhite = 1023\nsize = [24, 32]\ncrop = [0, 0, 8, 8]\n'
    made.append(Kind("side-car", side_car, "noiseflow.toml", {"a.raw": mosaic.tobytes()}, collect_all))
    _add_fits(folder, mosaic, add)
    _add_dngs(folder, mosaic, add)
    _add_data_sets(folder, mosaic, made)
    return made


def _add_fits(folder: Path, mosaic: np.ndarray, add: Callable[..., None]) -> None:
    from astropy.io import fits

    unit = fits.PrimaryHDU(mosaic)
    unit.header.update(BAYERPAT="RGGB", EXPTIME=0.5, GAIN=120, SATURATE=1023)
    unit.writeto(folder / "a.fits")
    add("fits", "a.fits", read_with_settings)
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(mosaic.astype(np.int32))]).writeto(folder / "b.fits")
    add("fits tiles", "b.fits", read_with_settings)


def _add_dngs(folder: Path, mosaic: np.ndarray, add: Callable[..., None]) -> None:
    image = RawImage(mosaic, "RGGB", (64.0,) * 4, 1023.0, 100.0, 0.01, "Maker", "One", "made", ((1e-4, 1e-6),))
    write_dng(folder / "a.dng", image)
    add("dng", "a.dng", read_alone)
    for name, pixels, how in (
        ("dng float", (mosaic / 1023).astype(np.float32), {}),
        ("dng deflate", mosaic, {"compression": "zlib"}),
        ("dng masked", mosaic, {}),
    ):
        tifffile.imwrite(folder / "b.dng", pixels, photometric=32803, extratags=DNG_TAGS, metadata=None, **how)
        add(name, "b.dng", read_alone)
    how = {"byteorder": ">", "rowsperstrip": 7}
    tifffile.imwrite(folder / "c.dng", mosaic, photometric=32803, extratags=PLAIN_TAGS, metadata=None, **how)
    add("dng strips big-endian", "c.dng", read_alone)


def _add_data_sets(folder: Path, mosaic: np.ndarray, made: list[Kind]) -> None:
    scene = "0004_001_S6_00100_00060_4400_L"
    root = make_tree(folder, [scene], size=(32, 24), frames=[10]) / "Data" / scene
    files = {file.name: file.read_bytes() for file in root.iterdir()}
    for name in sorted(files):
        others = {f"{scene}/{other}": data for other, data in files.items() if other != name}
        made.append(Kind(f"sidd {name[5:-12].lower()}", files[name], f"{scene}/{name}", others, collect_all))
    noisy = make_blocks(folder / "blocks", instances=2, blocks=2, side=8)
    clean = noisy.with_name("ValidationGtBlocksRaw.mat")
    made.append(Kind("sidd blocks", noisy.read_bytes(), noisy.name, {clean.name: clean.read_bytes()}, collect_all))
    Image.fromarray(mosaic).save(folder / "e.png")
    listing = b"n 12 24 32\r\nb 1000.0 9.0\r\ni e.png\r\nd 1000.0\r\ni e.png\r\n"
    picture = (folder / "e.png").read_bytes()
    made.append(Kind("emva listing", listing, "EMVA1288_Data.txt", {"e.png": picture}, collect_all))
    manifest = b'{"scenes": [{"name": "a", "iso": 100, "noisy": ["a.dng"], "clean": "a.dng"}], "truth": {}}'
    dng = (folder / "a.dng").read_bytes()
    made.append(Kind("simulation manifest", manifest, "simulation.json", {"a.dng": dng}, collect_all))


def mutated(data: bytes, pool: list[bytes], rng: np.random.Generator) -> bytes:
    """One to four changes: bytes flipped, fields set to extremes, cut, doubled, spliced with another file."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        # Headers are where the lies are: half of the changes go to the first 256 bytes.
        end = len(changed) if rng.random() < 0.5 else min(256, len(changed))
        at = int(rng.integers(0, max(end, 1)))
        how = int(rng.integers(0, 7))
        if how <= 1 and changed:
            for _ in range(int(rng.integers(1, 9))):
                changed[int(rng.integers(0, max(end, 1)))] = int(rng.integers(0, 256))
        elif how <= 3:
            width = int(rng.choice([1, 2, 4, 8]))
            value = int(rng.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1, 65535, 32768, 1_000_000_000]))
            order = "little" if rng.random() < 0.5 else "big"
            changed[at : at + width] = (value % 256**width).to_bytes(width, order)  # type: ignore[arg-type]
        elif how == 4:
            del changed[at:]
        elif how == 5:
            length = int(rng.integers(1, 64))
            changed[at:at] = changed[at : at + length]
        else:
            other = pool[int(rng.integers(0, len(pool)))]
            start = int(rng.integers(0, max(len(other), 1)))
            changed[at : at + 64] = other[start : start + 64]
    return bytes(changed)


def _work(seed: int, first: int, count: int, current: Any, results: Any) -> None:
    """Run cases in this process, telling each outcome; another process watches."""
    with tempfile.TemporaryDirectory() as made_in:
        all_kinds = kinds(Path(made_in))
    pool = [kind.data for kind in all_kinds]
    for case in range(first, count):
        rng = np.random.default_rng((seed, case))
        kind = all_kinds[case % len(all_kinds)]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / kind.file
            path.parent.mkdir(exist_ok=True)
            for name, data in kind.others.items():
                (Path(folder) / name).write_bytes(data)
            path.write_bytes(mutated(kind.data, pool, rng))
            current.value = case
            began, outcome = time.monotonic(), "read"
            try:
                kind.call(path)
            except NoiseflowError as error:
                outcome = "refused" if "\n" not in str(error) else f"more than one line: {error!s:.200}"
            except Exception as error:
                outcome = f"{type(error).__name__}: {error!s:.200}"
            results.send((case, kind.name, outcome, time.monotonic() - began, _peak_bytes()))
    results.send(None)


def _peak_bytes() -> int:
    """Largest resident memory of this process."""
    status = Path("/proc/self/status")
    if status.exists():
        # The peak of getrusage is inherited from the process that started this one.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def fuzz(count: int, seed: int = 0) -> Report:
    """Run `count` cases in a watched process, which is started anew when a case kills it or hangs."""
    report, first, began = Report(), 0, time.monotonic()
    context = multiprocessing.get_context("spawn")
    while first < count:
        current = context.Value("q", first)
        receiver, sender = context.Pipe(duplex=False)
        worker = context.Process(target=_work, args=(seed, first, count, current, sender), daemon=True)
        worker.start()
        sender.close()
        done = _watch(receiver, report)
        worker.kill()
        worker.join()
        if done:
            break
        case = max(current.value, first)
        report.failures.append(f"case {case}: hung or killed the process (exit {worker.exitcode})")
        report.cases += 1
        first = case + 1
    report.seconds = time.monotonic() - began
    return report


def _watch(receiver: Any, report: Report) -> bool:
    """Take outcomes; whether the last case was done."""
    patience = 60.0
    while receiver.poll(patience):
        try:
            answer = receiver.recv()
        except EOFError:
            return False
        if answer is None:
            return True
        patience = 2 * MAX_SECONDS
        case, kind, outcome, seconds, peak = answer
        report.cases += 1
        report.by_kind[kind] += 1
        report.read += outcome == "read"
        report.refused += outcome == "refused"
        if outcome not in ("read", "refused"):
            report.failures.append(f"case {case} ({kind}): {outcome}")
        if seconds > MAX_SECONDS:
            report.failures.append(f"case {case} ({kind}): took {seconds:.1f} s")
        if peak > MAX_BYTES >= report.peak_bytes:
            report.failures.append(f"case {case} ({kind}): memory at {peak / 1e6:.0f} MB")
        if seconds > report.slowest_s:
            report.slowest_s, report.slowest = seconds, f"case {case}, {kind}"
        report.peak_bytes = max(report.peak_bytes, peak)
    return False


@click.command()
@click.option("--count", type=click.IntRange(1), default=10_000, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def main(count: int, seed: int) -> None:
    """Fuzz our readers and print what happened."""
    report = fuzz(count, seed)
    click.echo(
        f"{report.cases} cases of {len(report.by_kind)} kinds in {report.seconds:.0f} s: {report.read} read, "
        f"{report.refused} refused, {len(report.failures)} failures; slowest {report.slowest_s:.2f} s "
        f"({report.slowest}), peak memory {report.peak_bytes / 1e6:.0f} MB"
    )
    for failure in report.failures:
        click.echo(failure)
    sys.exit(bool(report.failures))


if __name__ == "__main__":
    main()
