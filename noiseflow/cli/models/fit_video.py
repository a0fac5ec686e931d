"""``noiseflow fit-video``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from noiseflow.cli.options import PATH, out_option, overwrite_option, raw_options, scene_option
from noiseflow.cli.progress import shown
from noiseflow.cli.streams import answer, say

if TYPE_CHECKING:
    from noiseflow.raw import RawSettings

__all__ = ["fit_video"]


@click.command("fit-video")
@click.argument("run", type=PATH, metavar="RUN|PROFILE|CAMERA")
@click.argument("frames", type=PATH, nargs=-1, required=True)
@out_option("Run folder to write.")
@scene_option
@click.option(
    "--clean", type=PATH, help="Clean frame of the scene, for one sequence; with it the fixed pattern is fitted too."
)
@click.option("--part", "parts", multiple=True, help="Fit this part, instead of choosing by held-out gain; repeatable.")
@raw_options()
@overwrite_option
def fit_video(
    run: Path,
    frames: tuple[Path, ...],
    out: Path,
    scene: str,
    clean: Path | None,
    parts: tuple[str, ...],
    settings: "RawSettings",
    overwrite: bool,
) -> None:
    """Add noise that is correlated between frames to the noise model in RUN.

    FRAMES is a folder of raw frames of one static scene, or a file with many frames; give flats and darks
    together. The parts are dark_pattern, response_pattern, black_drift, light_flicker, telegraph, block_flow
    and conditional_flow; a part is kept if it increases the likelihood of held-out frames.

    \b
    noiseflow fit-video run/ darks/ flats/ --scene flat --out video/
    noiseflow sample video/ clean.dng --frames 50 --out noisy.dng
    """  # noqa: D301
    from noiseflow.core.output.checks import writing
    from noiseflow.core.output.folder import whole_folder
    from noiseflow.core.output.listed import write_listed
    from noiseflow.fit.sequences.choose_parts import fit_temporal
    from noiseflow.fit.sequences.from_files import read_sequences
    from noiseflow.models import load, save
    from noiseflow.models.temporal.registry import PARTS

    for name in parts:
        if name not in PARTS:
            raise click.BadParameter(f"{name!r}: expected some of {', '.join(PARTS)}", param_hint="--part")
    inputs = [path for path in (run, *frames, clean) if path is not None]
    with writing(out, folder=True, inputs=inputs, overwrite=overwrite):
        model = load(run, "poisson_gaussian")
        with shown("frames", "frames") as progress:
            sequences = read_sequences(
                frames, model.spec, scene=scene, clean=clean, settings=settings, progress=progress
            )
        with shown("fit", "trials") as progress:
            found = fit_temporal(model, sequences, list(parts) or None, progress)
        with whole_folder(out, "run", overwrite=overwrite) as made:
            save(found.model, made)
            write_listed(made, "fit.json", found.record().encode())
    for trial in found.trials:
        answer(f"{trial.part}: {_shown(trial.gain, trial.error)}{', kept' if trial.kept else ''}")
    for note in found.notes:
        say(f"noiseflow: {note}")
    named = ", ".join(found.model.parts) or "none, its frames are independent"
    answer(f"{out}: parts {named}; {_shown(found.gain, found.error)} over independent frames")


def _shown(gain: float, error: float) -> str:
    """Return a gain in likelihood with its standard error, if that is finite."""
    return f"{gain:+.5f}" + (f" ± {error:.5f}" if error < float("inf") else "") + " nats/dim"
