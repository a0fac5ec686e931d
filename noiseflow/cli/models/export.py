"""``noiseflow export``."""

from pathlib import Path

import click

from noiseflow.cli.options import PATH, overwrite_option, quiet_option
from noiseflow.cli.progress import shown
from noiseflow.cli.streams import answer, say

__all__ = ["export"]

STORES = (".h5", ".hdf5")

OF_PROFILE = "poisson_gaussian"
"""Physics model of a profile that is exported: one that samples by a map of normal random numbers."""


@click.command()
@click.argument("run", type=PATH, metavar="RUN|CAMERA|STORE")
@click.argument("out", type=PATH, metavar="OUT.onnx|OUT.pt2|SHARDS")
@click.option(
    "--per-shard",
    type=click.IntRange(1, 1_000_000),
    default=2048,
    show_default=True,
    help="Maximum number of patches per shard.",
)
@overwrite_option
@quiet_option
def export(run: Path, out: Path, per_shard: int, overwrite: bool) -> None:
    """Write a model's sampler or a photo denoiser as a graph, or the patches of a store as shards.

    The graph accepts any height and width. Inputs of a sampler: clean, iso, camera (an index) and z (standard
    normal numbers); output: noise. OUT.onnx is for ONNX Runtime and needs the extra [export]; OUT.pt2 is for
    torch.export.load and AOTInductor. A maf cannot be exported: distil it first. If RUN is from noiseflow
    train-denoiser, its network is written; inputs: noisy, slope, offset and floor; output: clean.

    CAMERA is a profile of noiseflow calibrate or the name of a shipped camera; the graph has Gaussian noise of its
    variance.

    SHARDS is a folder of tar files that WebDataset and Hugging Face datasets can stream.

    \b
    noiseflow export run/ sampler.onnx
    noiseflow export camera.json sampler.pt2
    noiseflow export patches.h5 shards/
    """  # noqa: D301
    from noiseflow.augment.denoise.names import is_photo_denoiser

    if run.is_file() and run.suffix.lower() in STORES:
        _shards(run, out, per_shard, overwrite)
    elif is_photo_denoiser(run):
        _denoiser(run, out, overwrite)
    else:
        _sampler(run, out, overwrite)


def _sampler(run: Path, out: Path, overwrite: bool) -> None:
    from noiseflow.core.output.checks import writing
    from noiseflow.models import load
    from noiseflow.models.io.export import INPUTS, export_sampler
    from noiseflow.models.io.named import profile_named

    with writing(out, inputs=[run], overwrite=overwrite):
        model = load(run, OF_PROFILE)
        export_sampler(model, out, overwrite=overwrite)
    if profile_named(run) is not None:
        say(f"noiseflow: {run}: the graph has Gaussian noise of the profile's variance, no row noise and no tails")
    answer(f"{out}: {', '.join(INPUTS)} → noise; cameras {', '.join(model.cameras)}")


def _denoiser(run: Path, out: Path, overwrite: bool) -> None:
    from noiseflow.augment.denoise.export import INPUTS, export_photo_denoiser
    from noiseflow.augment.denoise.files import load_photo_denoiser
    from noiseflow.core.output.checks import writing

    with writing(out, inputs=[run], overwrite=overwrite):
        export_photo_denoiser(load_photo_denoiser(run), out, overwrite=overwrite)
    answer(f"{out}: {', '.join(INPUTS)} → clean")


def _shards(store: Path, out: Path, per_shard: int, overwrite: bool) -> None:
    from noiseflow.patches import PatchStore
    from noiseflow.patches.store.shards import export_shards

    with PatchStore(store) as patches, shown("export", "patches") as progress:
        counts = export_shards(patches, out, per_shard=per_shard, overwrite=overwrite, progress=progress)
    answer(f"{out}: {', '.join(f'{count:,} patches to {split}' for split, count in counts.items())}")
