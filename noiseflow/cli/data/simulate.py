"""``noiseflow simulate``."""

from pathlib import Path

import click

from noiseflow.cli.options import PATH, overwrite_option, seed_option
from noiseflow.cli.progress import shown
from noiseflow.cli.streams import answer

__all__ = ["simulate"]


@click.command()
@click.argument("out", type=PATH)
@click.option(
    "--camera", required=True, metavar="NAME", help="Camera with known noise parameters; 'list' prints the names."
)
@click.option("--iso", "isos", type=float, multiple=True, help="ISO; repeatable. By default all ISOs of the camera.")
@click.option("--scenes", type=click.IntRange(min=1), default=8, show_default=True, help="Number of scenes.")
@click.option("--frames", type=click.IntRange(min=1), default=1, show_default=True, help="Noisy frames per scene.")
@click.option("--size", type=(int, int), default=(512, 768), show_default=True, help="Height and width in pixels.")
@click.option(
    "--light",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="Exposure as a fraction of the full one; 0.01 is extreme low light.",
)
@click.option(
    "--series", is_flag=True, help="Write flats, darks and a burst for noiseflow calibrate instead of scenes."
)
@seed_option
@overwrite_option
def simulate(
    out: Path,
    camera: str,
    isos: tuple[float, ...],
    scenes: int,
    frames: int,
    size: tuple[int, int],
    light: float,
    series: bool,
    seed: int,
    overwrite: bool,
) -> None:
    """Simulate a camera with known noise parameters: write noisy DNG files and their clean twins.

    \b
    noiseflow simulate raws/ --camera "Sony A7S2" --iso 800 --iso 3200
    noiseflow simulate mine/ --camera "Sony A7S2" --iso 800 --iso 3200 --series
    """  # noqa: D301
    from noiseflow.simulate import camera_names, simulate as run, simulate_series

    if camera == "list":
        for name in camera_names():
            answer(name)
        return
    if series:
        with shown("simulate", "frames") as progress:
            files = simulate_series(
                out, camera, isos or None, size=size, seed=seed, overwrite=overwrite, progress=progress
            )
        answer(f"{out}: {len(files)} frames of {camera}: flats, darks and a burst")
        return
    with shown("simulate", "frames") as progress:
        manifest = run(
            out,
            camera,
            isos or None,
            scenes=scenes,
            size=size,
            seed=seed,
            frames=frames,
            light=light,
            overwrite=overwrite,
            progress=progress,
        )
    answer(f"{out}: {len(manifest['scenes'])} scenes of {camera}, with clean twins")
