"""``noiseflow synthesize``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from noiseflow.cli.choices import Registered
from noiseflow.cli.interrupts import Kept, keeps
from noiseflow.cli.options import PATH, device_option, out_option, overwrite_option, raw_options, seed_option
from noiseflow.cli.progress import shown
from noiseflow.cli.streams import answer

if TYPE_CHECKING:
    from noiseflow.raw import RawSettings

__all__ = ["synthesize"]


def _numbers(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
    """Parse a list of numbers, or a range LOW-HIGH, which is drawn from uniformly in the logarithm."""
    if value is None:
        return None
    try:
        numbers = [float(part) for part in value.replace("-", ",").split(",")]
    except ValueError as error:
        raise click.BadParameter(f"{value!r}: expected numbers such as 800 or 400,800, or a range, 100-6400") from error
    if "-" not in value:
        return numbers
    from noiseflow.augment import LogUniform
    from noiseflow.core.errors import DataError

    try:
        low, high = numbers
        return LogUniform(low, high)
    except (ValueError, DataError) as error:
        raise click.BadParameter(f"{value!r}: expected a range from low to high, such as 100-6400") from error


@click.command()
@click.argument("clean", type=PATH, metavar="CLEAN")
@out_option("Folder to write.")
@click.option(
    "--run",
    "runs",
    type=PATH,
    multiple=True,
    required=True,
    metavar="RUN|PROFILE|CAMERA",
    help="Run folder, profile, or camera that noiseflow profiles lists; repeatable.",
)
@click.option(
    "--per-image", type=click.IntRange(min=1), default=1, show_default=True, help="Pairs to draw per clean frame."
)
@click.option("--cameras", metavar="NAME[,…]", help="Cameras to draw from; by default all cameras of the runs.")
@click.option(
    "--isos",
    callback=_numbers,
    metavar="ISO[,…]|LOW-HIGH",
    help="ISOs to draw from, or a range; by default the ISO range of the fit.",
)
@click.option(
    "--exposures",
    callback=_numbers,
    metavar="FRACTION[,…]|LOW-HIGH",
    help="Factors, at most 1, by which the clean signal is scaled; a list, or a range such as 0.01-1; by default 1.",
)
@click.option(
    "--format",
    "kind",
    type=Registered("noiseflow.augment.synthesis.pairs:FORMATS"),
    default="dng",
    show_default=True,
    help="File format of the pairs; h5 stores clean signals in float32.",
)
@raw_options(leave_out=("iso", "camera", "exposure_s"))
@click.option("--jobs", type=click.IntRange(min=1), help="Number of processes; by default one per processor.")
@click.option("--scheduler", help="Address of a Dask scheduler that runs the work, such as tcp://host:8786.")
@device_option
@seed_option
@overwrite_option
def synthesize(
    clean: Path,
    out: Path,
    runs: tuple[Path, ...],
    per_image: int,
    cameras: str | None,
    isos: Any,
    exposures: Any,
    kind: str,
    settings: "RawSettings",
    jobs: int | None,
    scheduler: str | None,
    device: str,
    seed: int,
    overwrite: bool,
) -> None:
    """Make a data set of noisy and clean pairs from the clean raw frames in a folder.

    Camera, ISO and exposure are drawn for each pair.  The same seed gives the same files for
    any number of processes.  If the command was stopped, run it again to continue.

    \b
    noiseflow synthesize clean/ --run run/ --per-image 8 --isos 400-6400 --out pairs/
    """  # noqa: D301
    from noiseflow.augment import synthesize as make
    from noiseflow.core.output.checks import partial_of
    from noiseflow.fit.training.session import device_of
    from noiseflow.patches.sources.synthetic import SYNTHESIS

    partial = partial_of(out)
    keeps(lambda: Kept(f"finished work is kept in {partial}") if (partial / SYNTHESIS).is_file() else None)
    with shown("synthesize", "pairs") as progress:
        result = make(
            clean,
            out,
            runs,
            per_image=per_image,
            cameras=None if cameras is None else [name.strip() for name in cameras.split(",")],
            iso=isos,
            exposure=1.0 if exposures is None else exposures,
            kind=kind,
            seed=seed,
            settings=settings,
            overwrite=overwrite,
            jobs=jobs,
            scheduler=scheduler,
            device=str(device_of(device)),
            progress=progress,
        )
    answer(
        f"{result.folder}: {result.pairs} pairs of {result.pictures} pictures ({result.resumed} from an earlier call)"
    )
