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
    help="Format of PUBLISHED; recognised by its content if not given.",
)
@click.option("--profile", type=PATH, help="Profile or shipped camera that gives the gain of dark frames.")
@click.option("--gain", type=click.FloatRange(min=0, min_open=True), help="Gain of dark frames, DN/e-.")
@click.option(
    "--rename", nargs=2, multiple=True, metavar="OLD NEW", help="Another name for one of its cameras; repeatable."
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

    PUBLISHED is the weights of Noise Flow (.npz, TensorFlow checkpoint) or Noise2NoiseFlow
    (.npz), the camera parameters of ELD or LED, darktable's noiseprofiles.json, SIDD's noise
    level functions, a DNG with a NoiseProfile, or a folder of dark frames. --format spectral
    makes noise with the spectrum of one of them. Files are parsed, none is unpickled.

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
        answer(f"Weights: {FORMATS[found].licence}; of their authors.")
