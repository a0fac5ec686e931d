"""``noiseflow transfer``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from noiseflow.cli.options import PATH, out_option, overwrite_option, raw_options, seed_option
from noiseflow.cli.streams import answer, say

if TYPE_CHECKING:
    from noiseflow.raw import RawSettings

__all__ = ["transfer"]

LEAST_SAID = 0.005
"""Fraction of the variance that remains from which it is said."""


@click.command()
@click.argument("noisy", type=PATH)
@click.option("--from", "first", type=PATH, required=True, metavar="RUN|PROFILE|CAMERA", help="Camera of NOISY.")
@click.option("--to", "second", type=PATH, required=True, metavar="RUN|PROFILE|CAMERA", help="Camera to become.")
@click.option("--camera", help="Camera of NOISY among those of --from; NOISY's own, or the only one, if not given.")
@click.option("--to-camera", help="Camera to become among those of --to; the only one if not given.")
@click.option("--iso", type=float, help="ISO of the result; that of NOISY if not given.")
@click.option("--clean", type=PATH, help="Clean or denoised twin of NOISY: its noise itself is transferred.")
@raw_options(leave_out=("iso", "camera"))
@out_option("File to write: .dng or .tiff (whole DN), .npy or .h5 (normalised planes).")
@seed_option
@overwrite_option
def transfer(
    noisy: Path,
    first: Path,
    second: Path,
    camera: str | None,
    to_camera: str | None,
    iso: float | None,
    clean: Path | None,
    settings: "RawSettings",
    out: Path,
    seed: int,
    overwrite: bool,
) -> None:
    """Make the raw file NOISY one that another camera, or the same at another ISO, would have recorded.

    The signal stays as it is. With --clean the noise is whitened by the one model and coloured by the other;
    without, the noise that is missing is added, and what remains of the first camera's is said. Cameras and
    profiles give normal noise; a run folder gives its flow.

    \b
    noiseflow transfer noisy.dng --from "Sony A7S2" --to camera.json --iso 3200 --out other.dng
    noiseflow transfer noisy.dng --from run/ --camera G4 --to run/ --to-camera S6 --out other.dng
    """  # noqa: D301
    from noiseflow.core.output.checks import writing
    from noiseflow.raw import read_raw

    inputs = [path for path in (noisy, clean, first, second) if path is not None]
    with writing(out, inputs=inputs, overwrite=overwrite):
        # Before torch, which takes seconds to load: a file that needs more flags says so at once.
        image = read_raw(noisy, settings)
        twin = None if clean is None else read_raw(clean, settings)

        from noiseflow.augment import write_frame
        from noiseflow.augment.frames.frame_camera import camera_for, other_camera
        from noiseflow.augment.transfer import transferred_image
        from noiseflow.models import load

        models = [load(name, "poisson_gaussian") for name in (first, second)]
        cameras = (
            camera_for(models[0].cameras, image, camera),
            camera_for(models[1].cameras, None, to_camera, "--to-camera"),
        )
        if camera is None and (word := other_camera(cameras[0], image)):
            say(f"noiseflow: {word}")
        frame, remains = transferred_image(image, models[0], models[1], iso=iso, clean=twin, cameras=cameras, seed=seed)
        write_frame(out, frame, overwrite=overwrite)
    answer(f"{out}: noise of {cameras[1]}, ISO {frame.image.iso:g}")
    if remains > LEAST_SAID:
        say(
            f"noiseflow: {cameras[1]} has less noise: {100 * remains:.0f} % of the variance is the first "
            "camera's and remains; give --clean"
        )
