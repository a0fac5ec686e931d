"""How time and memory of a whole frame's noise grow with its pixels: `noiseflow sample`, a fresh process a frame.

python -m tools.workloads.frames --page docs/performance.md
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from matplotlib.figure import Figure

from noiseflow.augment import sample_frame, sample_to_files
from noiseflow.models import ModelSpec, build, load, save
from noiseflow.raw import read_raw
from noiseflow.raw.formats.dng import write_dng
from noiseflow.raw.image import RawImage
from tools.benching.page import put_between, table
from tools.workloads.memory import Peaks, in_fresh_process, watched

MARK = "whole frames"
MODELS = ("noise_flow", "physics_flow")
MEGAPIXELS = (1.5, 3.0, 6.0, 12.0, 24.0)
LIMIT_MIB = 1e9 / 2**20
"""What a frame may take above itself."""


@dataclass(frozen=True)
class Run:
    """One frame.

    Parameters
    ----------
    pixels : int
        Pixels of the frame.
    seconds : float
        Of processor, by one thread: drawing the noise, and writing the file.
    above_mib : float
        Peak of what the process allocated, above what it had with the clean frame read.
    """

    pixels: int
    seconds: float
    above_mib: float


@click.command()
@click.option("--megapixels", type=float, multiple=True, default=MEGAPIXELS, show_default=True)
@click.option("--page", type=click.Path(path_type=Path, exists=True), help="Page to put table and picture in.")
def main(megapixels: tuple[float, ...], page: Path | None) -> None:
    """Draw noise for frames of so many megapixels, into DNG files."""
    found: dict[str, list[Run]] = {name: [] for name in MODELS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for model in MODELS:
            save_moved(model, folder / model)
        for size in sorted(megapixels):
            clean = folder / f"{size}.dng"
            rows = 2 * round((size * 1e6 / 6) ** 0.5)
            write_dng(clean, made(rows, rows * 3 // 2))
            for model, runs in found.items():
                runs.append(in_fresh_process(drawn, folder / model, clean, folder / "noisy.dng"))
                run = runs[-1]
                took = f"{run.pixels / 1e6:.1f} megapixels: {run.seconds:.2f} s"
                click.echo(f"{model}, {took}, {run.above_mib:.0f} MiB above the clean frame")
            clean.unlink()
    text = words(found)
    click.echo(text)
    if page is not None:
        draw(found, page.parent / "images" / "performance-frames.png")
        put_between(page, MARK, text)


def save_moved(name: str, folder: Path) -> None:
    """A model whose layers all do something."""
    model = build(ModelSpec(name, cameras=("Made 24MP",), isos=(100.0, 800.0)))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
    save(model, folder)


def made(rows: int, columns: int) -> RawImage:
    """A clean ramp."""
    mosaic = np.broadcast_to(np.linspace(600, 4000, columns).astype(np.uint16), (rows, columns))
    return RawImage(mosaic, "RGGB", (512.0,) * 4, 16383.0, iso=200.0, exposure_s=0.01, make="Made", model="24MP")


def drawn(run: Path, clean: Path, out: Path) -> Run:
    """Noise for one frame, watched; a small frame before it, for what libraries keep from their first use on."""
    torch.set_num_threads(1)
    model = load(run)
    sample_frame(model, made(64, 96))
    frame = read_raw(clean)
    before = Peaks()
    before.look()
    with watched() as peaks:
        began = time.process_time()
        sample_to_files(model, frame, out, workers=1, overwrite=True)
        seconds = time.process_time() - began
    return Run(frame.mosaic.size, seconds, peaks.own - before.own)


def words(found: dict[str, list[Run]]) -> str:
    """The table, and what it comes to."""
    columns = ["whole frames, megapixels"]
    for name in found:
        columns += [f"`{name}`, time a pixel", "MiB above the clean frame"]
    rows = []
    for runs in zip(*found.values(), strict=True):
        cells = [f"{runs[0].pixels / 1e6:.1f}"]
        for run, largest in zip(runs, (each[-1] for each in found.values()), strict=True):
            cells += [f"{_a_pixel(run) / _a_pixel(largest):.2f}", f"{run.above_mib:.0f}"]
        rows.append(cells)
    every = [run for runs in found.values() for run in runs]
    most = max(run.above_mib for run in every)
    apart = max(abs(_a_pixel(run) / _a_pixel(runs[-1]) - 1) for runs in found.values() for run in runs)
    compared = found[MODELS[1]][-1].seconds / found[MODELS[0]][-1].seconds
    kept = "below" if most < LIMIT_MIB else "above"
    return (
        "`noiseflow sample` of a DNG into a DNG, by one thread, each frame in a fresh process "
        "(`python -m tools.workloads.frames --page docs/performance.md`). Time is that of the processor for a pixel, "
        f"the largest frame's being 1: the others differ by {apart:.0%} at the most. Memory is the peak above what the "
        f"process has with the clean frame read, {most:.0f} MiB at the most, {kept} the limit of 1 GB; of it 6 "
        "bytes a pixel are the noisy frame, in codes and in float32. "
        f"`{MODELS[1]}` takes {compared:.1f} × as long as `{MODELS[0]}`.\n\n"
        f"{table(columns, rows)}\n![Time and memory by pixels](images/performance-frames.png)"
    )


def draw(found: dict[str, list[Run]], path: Path) -> None:
    """Time and memory against pixels."""
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    time_of, memory_of = figure.subplots(1, 2)
    whole = found[MODELS[0]][-1].seconds
    for (name, runs), colour in zip(found.items(), ("tab:blue", "tab:red"), strict=True):
        pixels = [run.pixels / 1e6 for run in runs]
        time_of.plot(pixels, [run.seconds / whole for run in runs], "o", color=colour, label=name)
        time_of.plot([0, pixels[-1]], [0, runs[-1].seconds / whole], color=colour, linewidth=0.8)
        memory_of.plot(pixels, [run.above_mib for run in runs], "o-", color=colour, label=name)
    time_of.set_ylabel(f"time, {MODELS[0]} of the largest = 1")
    memory_of.axhline(LIMIT_MIB, color="gray", linestyle="--", linewidth=0.8, label="limit")
    memory_of.set_ylabel("peak memory above the clean frame, MiB")
    for ax in (time_of, memory_of):
        ax.set_xlabel("megapixels")
        ax.set_xlim(left=0)
        ax.set_ylim(bottom=0)
        ax.grid(alpha=0.3)
        ax.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _a_pixel(run: Run) -> float:
    return run.seconds / run.pixels


if __name__ == "__main__":
    main()
