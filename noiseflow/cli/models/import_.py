"""``noiseflow import``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from noiseflow.cli.choices import Registered
from noiseflow.cli.options import PATH, out_option, overwrite_option, raw_options
from noiseflow.cli.streams import answer

if TYPE_CHECKING:
    from noiseflow.raw.settings import RawSettings

__all__ = ["import_"]


@click.command("import")
@click.argument("published", type=PATH)
@out_option("Run folder to write.")
@click.option(
    "--format",
    "form",
    type=Registered("noiseflow.models.foreign.formats:FORMATS"),
    help="Format of PUBLISHED; by default it is recognised from the content.",
)
@click.option("--profile", type=PATH, help="For dark frames: camera profile, or shipped camera, with the gain.")
@click.option("--gain", type=click.FloatRange(min=0, min_open=True), help="For dark frames: gain in DN/e-.")
@click.option(
    "--rename", nargs=2, multiple=True, metavar="OLD NEW", help="Rename camera OLD of the model to NEW; repeatable."
)
@raw_options(leave_out=("exposure_s", "shift"))
@overwrite_option
def import_(
    published: Path,
    out: Path,
    form: str | None,
    profile: Path | None,
    gain: float | None,
    rename: tuple[tuple[str, str], ...],
    settings: "RawSettings",
    overwrite: bool,
) -> None:
    """Make a run folder from the noise model of another program.

    PUBLISHED contains the weights of Noise Flow (.npz, TensorFlow checkpoint) or Noise2NoiseFlow
    (.npz), the camera parameters of ELD or LED, darktable's noiseprofiles.json, SIDD's noise
    level functions, a DNG with a NoiseProfile, or a folder of dark frames. With --format spectral,
    dark frames give noise with their power spectrum. Files are parsed, never unpickled.

    The weights of the two flows are licensed CC BY-NC-SA 4.0: not for commercial use.

    \b
    noiseflow import noise_flow_weights.npz --out run/
    noiseflow import SonyA7S2_params.npy --iso 100 --out eld/
    noiseflow import darks/ --profile camera.json --out darks-run/
    """  # noqa: D301
    from noiseflow.core.output.checks import writing
    from noiseflow.core.output.folder import whole_folder
    from noiseflow.models import save
    from noiseflow.models.foreign.formats import FORMATS, format_of, import_model, renamed
    from noiseflow.models.foreign.source import ForeignSource

    read = [published, *([profile] if profile is not None and profile.exists() else [])]
    with writing(out, folder=True, inputs=read, overwrite=overwrite):
        found = form or format_of(published)
        model = import_model(ForeignSource(published, settings, gain, profile), found)
        for old, new in rename:
            model = renamed(model, old, new)
        with whole_folder(out, "run", overwrite=overwrite) as made:
            save(model, made)
    answer(
        f"{out}: {model.spec.model} for {', '.join(model.cameras)}, ISO {model.iso_range[0]:g}–{model.iso_range[1]:g}; "
        f"{FORMATS[found].what}"
    )
    if FORMATS[found].licence is not None:
        answer(f"Licence of the authors' weights: {FORMATS[found].licence}")
