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
    """Limit NumPy to one thread before it is imported, so that worker processes can be forked from this one."""

    @functools.wraps(command)
    def call(**values: Any) -> None:
        from noiseflow.patches.ingestion.executors import one_thread

        one_thread()
        command(**values)

    return call


def _kept(out: Path) -> Kept | None:
    partial = Path(f"{out}.partial")
    return Kept(f"finished work is kept in {partial}") if (partial / "plan.json").is_file() else None


@click.command()
@click.argument("sources", type=PATH, nargs=-1, required=True, metavar="SOURCE...")
@out_option("Patch store to write, an HDF5 file.")
@click.option(
    "--pairing",
    type=Registered("noiseflow.patches.pairings.registry:PAIRINGS", "auto"),
    default="auto",
    show_default=True,
    help="Source of the clean signal: a clean twin; the other frames of a static burst, of flats or of darks; the "
    "next noisy frame, for fits to noisy pairs; or none.",
)
@click.option(
    "--split-by",
    type=click.Choice(["auto", "scene", "frame"]),
    default="auto",
    show_default=True,
    help="Unit whose patches are all in the same split; auto: the frame for bursts, otherwise the scene.",
)
@click.option(
    "--patch-size",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    help="Side of a patch in pixels of a plane.",
)
@click.option(
    "--patches-per-frame", type=click.IntRange(min=1), help="Patches to draw from each frame; by default all."
)
@click.option(
    "--max-clipped",
    type=click.FloatRange(0, 1),
    help="Leave out patches with a larger fraction of pixels at code 0 or at the white level. By default, patches "
    "entirely at code 0 are left out; without a clean signal, patches with any such pixel.",
)
@click.option(
    "--max-masked",
    type=click.FloatRange(0, 1),
    help="Leave out patches with a larger fraction of masked pixels: dead, hot, moving or too bright. By default 0.5; "
    "without a clean signal 0.",
)
@click.option(
    "--body",
    type=PATH,
    help="Maps of the body from noiseflow calibrate --maps: the fixed pattern is subtracted from the noise, and hot "
    "pixels are masked.",
)
@_in_one_thread
@raw_options()
@click.option("--skip-bad", is_flag=True, help="Leave out frames that cannot be read, and list them at the end.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="Number of processes; by default one per processor, fewer if there is little work.",
)
@click.option("--scheduler", help="Address of a Dask scheduler that runs the work, such as tcp://host:8786.")
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
    """Make a patch store from raw files, folders of raw files, or known data sets.

    A folder is one static scene: each frame is paired with the mean of the others.
    If the command was stopped, run it again to continue.

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
    answer(f"Reason for {result.pairing!r}: {plain_text(result.reason, LONGEST_LINE)}")
    left_out = f"{result.clipped} patches left out as clipped, {result.masked} as masked"
    answer(f"{result.frames} frames ({result.resumed} from an earlier call); {left_out}")
    for fact, value, source in result.believed:
        answer(f"  {fact + ':':14} {value} ({source})")
    for note in result.notes:
        answer(plain_text(note, LONGEST_LINE))
    if result.pairing == "none":
        answer("No clean signal: the frames have no clean twin and no burst. A model cannot be fitted to this store.")
