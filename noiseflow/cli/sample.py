"""``noiseflow sample``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from noiseflow.cli.options import PATH, out_option, overwrite_option, raw_options, seed_option

if TYPE_CHECKING:
    from noiseflow.raw import RawSettings

__all__ = ["sample"]


@click.command()
@click.argument("run", type=PATH)
@click.argument("clean", type=PATH)
@click.option("--iso", type=float, help="The frame's own if not given.")
@click.option("--camera", help="The frame's own, or the model's only one, if not given.")
@click.option("--temperature", type=float, default=1.0, show_default=True, help="1 is the fitted density.")
@raw_options(leave_out=("iso", "camera"))
@out_option("File to write: .dng or .tiff (whole DN), .npy or .h5 (normalised planes).")
@seed_option
@overwrite_option
def sample(
    run: Path,
    clean: Path,
    iso: float | None,
    camera: str | None,
    temperature: float,
    settings: "RawSettings",
    out: Path,
    seed: int,
    overwrite: bool,
) -> None:
    """Add noise, drawn from the model in RUN, to the raw file CLEAN.

    \b
    noiseflow sample run/ clean.dng --iso 800 --out noisy.dng
    """  # noqa: D301
    from noiseflow.augment import sample_frame, write_frame
    from noiseflow.models import load
    from noiseflow.raw import read_raw

    frame = sample_frame(
        load(run), read_raw(clean, settings), iso=iso, camera=camera, seed=seed, temperature=temperature
    )
    write_frame(out, frame, overwrite=overwrite)
    image = frame.image
    click.echo(f"{out}: {image.mosaic.shape[0]}×{image.mosaic.shape[1]} {image.cfa}, ISO {image.iso:g}")
