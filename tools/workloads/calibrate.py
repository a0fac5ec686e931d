"""In how much memory a series of 24-megapixel dark frames is calibrated, in a fresh process.

python -m tools.workloads.calibrate --page docs/performance.md
"""

import tempfile
import time
from pathlib import Path

import click
import numpy as np

from noiseflow.calibrate import calibrate
from noiseflow.raw.formats.dng import write_dng
from noiseflow.raw.image import RawImage
from tools.benching.page import put_table
from tools.workloads.memory import Peaks, in_fresh_process, watched

BLACK, WHITE, READ = 512.0, 16383.0, 5.0
COLUMNS = ("dark frames of 24 megapixels", "s", "own memory, MiB", "with mapped files, MiB")


@click.command()
@click.option("--frames", type=click.IntRange(min=2), multiple=True, default=(5, 20), show_default=True)
@click.option("--size", type=(int, int), default=(4000, 6000), show_default=True, help="Rows and columns.")
@click.option("--page", type=click.Path(path_type=Path, exists=True), help="Page to put the table in.")
def main(frames: tuple[int, ...], size: tuple[int, int], page: Path | None) -> None:
    """Calibrate made DNG darks, so many of so many pixels; they are written first and not timed."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for count in frames:
            folder = Path(name) / f"darks{count}"
            make(folder, count, size)
            seconds, peaks = in_fresh_process(calibrated, folder)
            click.echo(
                f"{count} frames of {size[0]}×{size[1]}: {seconds:.1f} s; peak of own memory {peaks.own:.0f} MiB, "
                f"with pages of mapped files {peaks.total:.0f} MiB"
            )
            rows.append((f"{count}", f"{seconds:.1f}", f"{peaks.own:.0f}", f"{peaks.total:.0f}"))
    if page is not None:
        put_table(page, COLUMNS, rows)


def make(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Bayer darks of Gaussian read noise."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        noise = READ * rng.standard_normal(size, np.float32)
        codes = np.rint(noise + np.float32(BLACK)).astype(np.uint16)
        image = RawImage(codes, "RGGB", (BLACK,) * 4, WHITE, 800.0, 0.01, "Acme", "Toy")
        write_dng(folder / f"dark_{number:02d}.dng", image)


def calibrated(folder: Path) -> tuple[float, Peaks]:
    """Time in s and memory of a calibration."""
    with watched() as peaks:
        began = time.monotonic()
        calibrate([folder], folder / "camera.json")
        seconds = time.monotonic() - began
    return seconds, peaks


if __name__ == "__main__":
    main()
