"""``noiseflow evaluate-video``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from noiseflow.cli.options import (
    PATH,
    json_option,
    out_option,
    overwrite_option,
    raw_options,
    scene_option,
    seed_option,
)
from noiseflow.cli.progress import shown
from noiseflow.cli.streams import answer

if TYPE_CHECKING:
    from noiseflow.raw import RawSettings

__all__ = ["evaluate_video"]


@click.command("evaluate-video")
@click.argument("run", type=PATH)
@click.argument("frames", type=PATH)
@out_option("Folder to write: scores.json, and strip.png, one row of pixels over time.")
@scene_option
@click.option("--clean", type=PATH, help="Clean frame of the same scene.")
@raw_options()
@json_option
@seed_option
@overwrite_option
def evaluate_video(
    run: Path,
    frames: Path,
    out: Path,
    scene: str,
    clean: Path | None,
    settings: "RawSettings",
    as_json: bool,
    seed: int,
    overwrite: bool,
) -> None:
    """Score a model from noiseflow fit-video on frames of a static scene.

    Scores: gain in likelihood of a frame given the frames before it over independent frames; correlation
    between frames by lag; variance of the mean of n frames; jumps; change of row means. The table compares
    the model with the camera.

    \b
    noiseflow evaluate-video video/ other-flats/ --scene flat --out scores/
    """  # noqa: D301
    from noiseflow.cli.table import print_table
    from noiseflow.core.errors import DataError
    from noiseflow.core.output.checks import writing
    from noiseflow.core.output.folder import whole_folder
    from noiseflow.core.output.listed import write_listed
    from noiseflow.evaluate.in_time.evaluate_in_time import evaluate_in_time, rows_of
    from noiseflow.evaluate.in_time.strip import strip
    from noiseflow.fit.sequences.from_files import read_sequences
    from noiseflow.models import load
    from noiseflow.models.temporal.temporal_noise import as_temporal

    inputs = [path for path in (run, frames, clean) if path is not None]
    with writing(out, folder=True, inputs=inputs, overwrite=overwrite):
        model = as_temporal(load(run), str(run))
        with shown("frames", "frames") as progress:
            found = read_sequences([frames], model.spec, scene=scene, clean=clean, settings=settings, progress=progress)
        if len(found) > 1:
            raise DataError(f"{frames}: contains {len(found)} sequences; give the frames of one")
        with shown("scores", "metrics") as progress:
            scores = evaluate_in_time({"model": model}, found[0], seed=seed, progress=progress)
        with whole_folder(out, "scores in time", overwrite=overwrite) as made:
            write_listed(made, "scores.json", scores.to_json().encode())
            write_listed(made, "strip.png", strip(scores.measured))
    if as_json:
        answer(scores.to_json().rstrip("\n"), whole=True)
        return
    rows = rows_of(scores)
    print_table("measure", list(next(iter(rows.values()))), rows)
    answer(f"{out}: {scores.frames} frames, {scores.tiles} tiles")
