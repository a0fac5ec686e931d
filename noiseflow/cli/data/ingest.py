"""``noiseflow ingest``."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from noiseflow.cli.choices import Registered
from noiseflow.cli.interrupts import Kept, keeps
from noiseflow.cli.options import PATH, out_option, overwrite_option, raw_options, seed_option
from noiseflow.cli.progress import shown
from noiseflow.cli.streams import answer
from noiseflow.core.text import LONGEST_LINE, plain_text

if TYPE_CHECKING:
    from noiseflow.raw import RawSettings

__all__ = ["ingest"]


def _in_one_thread(command: Callable[..., None]) -> Callable[..., None]:
    """Before anything imports NumPy: other processes can then be copies of this one."""

    @functools.wraps(command)
    def call(**values: Any) -> None:
        from noiseflow.patches.ingestion.executors import one_thread

        one_thread()
        command(**values)

    return call


def _kept(out: Path) -> Kept | None:
    partial = Path(f"{out}.partial")
    return Kept(f"what is done is kept in {partial}") if (partial / "plan.json").is_file() else None


@click.command()
@click.argument("sources", type=PATH, nargs=-1, required=True, metavar="SOURCE...")
@out_option("Patch store to write, an HDF5 file.")
@click.option(
    "--pairing",
    type=Registered("noiseflow.patches.pairings:PAIRINGS", "auto"),
    default="auto",
    show_default=True,
    help="Source of the clean signal: a clean twin, the other frames of a static burst, of flats or of darks; the "
    "next noisy frame instead of it; or none.",
)
@click.option(
    "--split-by",
    type=click.Choice(["auto", "scene", "frame"]),
    default="auto",
    show_default=True,
    help="Unit that stays in one split; auto: the frame for bursts, otherwise the scene.",
)
@click.option(
    "--patch-size",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    help="Side of a patch, pixels of a plane.",
)
@click.option(
    "--patches-per-frame", type=click.IntRange(min=1), help="Patches to draw from each frame; all if not given."
)
@click.option(
    "--max-clipped",
    type=click.FloatRange(0, 1),
    help="Leave out patches with a larger fraction of pixels at code 0 or at the white level. By default those that "
    "are all at code 0; without a clean signal those with any such pixel.",
)
@click.option(
    "--max-masked",
    type=click.FloatRange(0, 1),
    help="Leave out patches with a larger fraction of masked pixels: dead, hot, moving, or too bright. By default "
    "half of them; without a clean signal any.",
)
@click.option(
    "--body",
    type=PATH,
    help="Maps of the body, of noiseflow calibrate --maps: their pattern is taken out of the noise, and their hot "
    "pixels are masked.",
)
@_in_one_thread
@raw_options()
@click.option("--skip-bad", is_flag=True, help="Leave out frames that cannot be read, and list them at the end.")
@click.option(
    "--jobs", type=click.IntRange(min=1), help="Processes; by default all processors, if there is enough to do."
)
@click.option("--scheduler", help="Address of a Dask scheduler to work on, such as tcp://host:8786.")
@seed_option
@overwrite_option
def ingest(
    sources: tuple[Path, ...],
    out: Path,
    pairing: str,
    split_by: str,
    patch_size: int,
    patches_per_frame: int | None,
    max_clipped: float | None,
    max_masked: float | None,
    body: Path | None,
    settings: "RawSettings",
    skip_bad: bool,
    jobs: int | None,
    scheduler: str | None,
    seed: int,
    overwrite: bool,
) -> None:
    """Make a patch store from raw files, folders of them, or known data sets.

    A folder is one static scene: each frame is paired with the mean of the others.
    After a stop, the same command continues.

    \b
    noiseflow ingest raws/ --out patches.h5
    """  # noqa: D301
    from noiseflow.patches import IngestOptions, ingest as run

    options = IngestOptions(
        patch_size=patch_size,
        patches_per_frame=patches_per_frame,
        pairing=pairing,
        split_by=split_by,
        max_clipped=max_clipped,
        max_masked=max_masked,
        body=None if body is None else str(body),
        settings=settings,
        skip_bad=skip_bad,
        seed=seed,
    )
    keeps(functools.partial(_kept, out))
    with shown("ingest", "frames") as progress:
        result = run(sources, out, options, overwrite=overwrite, jobs=jobs, scheduler=scheduler, progress=progress)
    splits = ", ".join(f"{count} {split}" for split, count in result.patches.items() if count)
    answer(f"{out}: pairing {result.pairing!r}, split by {result.split_by}: {splits}")
    answer(f"Why {result.pairing!r}: {plain_text(result.reason, LONGEST_LINE)}")
    left_out = f"{result.clipped} patches left out as clipped, {result.masked} as masked"
    answer(f"{result.frames} frames ({result.resumed} of them done before); {left_out}")
    for fact, value, source in result.believed:
        answer(f"  {fact + ':':14} {value} ({source})")
    for note in result.notes:
        answer(plain_text(note, LONGEST_LINE))
    if result.pairing == "none":
        answer("No clean signal: single frames without a twin or a burst. A model cannot be fitted to this store.")
