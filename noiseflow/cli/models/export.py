"""``noiseflow export``."""

from pathlib import Path

import click

from noiseflow.cli.options import PATH, overwrite_option

__all__ = ["export"]


@click.command()
@click.argument("run", type=PATH)
@click.argument("out", type=PATH, metavar="OUT.onnx|OUT.pt2")
@overwrite_option
def export(run: Path, out: Path, overwrite: bool) -> None:
    """Write a model's sampler, or a photo denoiser, as a graph: ONNX, or torch.export.

    The graph takes any height and width. Inputs: clean, iso, camera (an index) and z, standard normal
    numbers; output: noise. OUT.onnx is for ONNX Runtime and needs the extra [export]; OUT.pt2 is for
    torch.export.load and AOTInductor. A maf cannot be exported: distil it first. Of a run of noiseflow
    train-denoiser the network is written: inputs noisy, slope, offset and floor; output: clean.

    \b
    noiseflow export run/ sampler.onnx
    noiseflow export run/ sampler.pt2
    """  # noqa: D301
    from noiseflow.augment.denoise.names import is_photo_denoiser
    from noiseflow.core.output.checks import writing

    if is_photo_denoiser(run):
        return _denoiser(run, out, overwrite)

    from noiseflow.models import load
    from noiseflow.models.io.export import INPUTS, export_sampler

    with writing(out, inputs=[run], overwrite=overwrite):
        model = load(run)
        export_sampler(model, out, overwrite=overwrite)
    click.echo(f"{out}: {', '.join(INPUTS)} → noise; cameras {', '.join(model.cameras)}")


def _denoiser(run: Path, out: Path, overwrite: bool) -> None:
    from noiseflow.augment.denoise.export import INPUTS, export_photo_denoiser
    from noiseflow.augment.denoise.files import load_photo_denoiser
    from noiseflow.core.output.checks import writing

    with writing(out, inputs=[run], overwrite=overwrite):
        export_photo_denoiser(load_photo_denoiser(run), out, overwrite=overwrite)
    click.echo(f"{out}: {', '.join(INPUTS)} → clean")
