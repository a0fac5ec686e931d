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
    """Write a model's sampler as a graph: ONNX, or torch.export.

    The graph takes any height and width. Inputs: clean, iso, camera (an index) and z, standard normal
    numbers; output: noise. OUT.onnx is for ONNX Runtime and needs the extra [export]; OUT.pt2 is for
    torch.export.load and AOTInductor. A maf cannot be exported: distil it first.

    \b
    noiseflow export run/ sampler.onnx
    noiseflow export run/ sampler.pt2
    """  # noqa: D301
    from noiseflow.core.output.checks import writing
    from noiseflow.models import load
    from noiseflow.models.io.export import INPUTS, export_sampler

    with writing(out, inputs=[run], overwrite=overwrite):
        model = load(run)
        export_sampler(model, out, overwrite=overwrite)
    click.echo(f"{out}: {', '.join(INPUTS)} → noise; cameras {', '.join(model.cameras)}")
