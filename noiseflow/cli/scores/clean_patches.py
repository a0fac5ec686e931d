"""``noiseflow clean-patches``."""

from pathlib import Path

import click

from noiseflow.cli.options import PATH, out_option, overwrite_option, split_option
from noiseflow.cli.progress import shown
from noiseflow.cli.streams import answer

__all__ = ["clean_patches"]


@click.command("clean-patches")
@click.argument("store", type=PATH)
@out_option("Folder to write.")
@split_option("Patches to write.")
@overwrite_option
def clean_patches(store: Path, out: Path, split: str, overwrite: bool) -> None:
    """Write the clean patches of STORE, for another program that draws noise for them.

    The command writes clean.npy, conditions.csv and task.json. Save the samples of the other program, in the
    same order, as noise.npy, noisy.npy or codes.npy in a new folder, together with a samples.json that
    contains the clean_sha256 of task.json. noiseflow evaluate scores that folder.

    \b
    noiseflow clean-patches patches.h5 --out task/
    noiseflow evaluate samples/ patches.h5 --out report/
    """  # noqa: D301
    from noiseflow.core.output.checks import check_output
    from noiseflow.evaluate.samples.task import write_clean_patches
    from noiseflow.patches import PatchStore

    check_output(out, folder=True, inputs=[store], overwrite=overwrite)
    with PatchStore(store) as patches, shown("clean patches", "patches") as progress:
        write_clean_patches(patches, out, split=split, overwrite=overwrite, progress=progress)
        count, shape = len(patches.indices(split)), patches.patch_shape
    answer(f"{out}: {count:,} patches of {shape[0]} × {shape[1]} × {shape[2]}, split {split}")
