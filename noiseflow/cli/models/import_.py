"""``noiseflow import``."""

from pathlib import Path

import click

from noiseflow.cli.options import PATH, out_option, overwrite_option

__all__ = ["import_"]


@click.command("import")
@click.argument("published", type=PATH)
@out_option("Run folder to write.")
@overwrite_option
def import_(published: Path, out: Path, overwrite: bool) -> None:
    """Make a run folder from the weights published with the Noise Flow paper.

    PUBLISHED is an .npz with one array a variable, or a TensorFlow checkpoint (needs the
    extra [tensorflow]). The weights are licensed CC BY-NC-SA 4.0: not for commercial use.

    \b
    noiseflow import noise_flow_weights.npz --out run/
    """  # noqa: D301
    from noiseflow.core.output.checks import writing
    from noiseflow.core.output.folder import whole_folder
    from noiseflow.models import import_published, save

    with writing(out, folder=True, inputs=[published], overwrite=overwrite):
        model = import_published(published)
        with whole_folder(out, "run", overwrite=overwrite) as made:
            save(model, made)
    click.echo(
        f"{out}: {model.spec.model} for {', '.join(model.cameras)}, ISO {model.iso_range[0]:g}–{model.iso_range[1]:g}"
    )
    click.echo("Weights: CC BY-NC-SA 4.0, from the authors of Noise Flow; not for commercial use.")
