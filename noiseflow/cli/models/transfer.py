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
"""Smallest remaining fraction of the first camera's noise variance that is reported."""


@click.command()
@click.argument("noisy", type=PATH)
@click.option("--from", "first", type=PATH, required=True, metavar="RUN|PROFILE|CAMERA", help="Camera of NOISY.")
@click.option("--to", "second", type=PATH, required=True, metavar="RUN|PROFILE|CAMERA", help="Camera of the result.")
@click.option("--camera", help="Camera of NOISY in --from; by default the camera in the file, or the only one.")
@click.option("--to-camera", help="Camera of the result in --to; by default the only one.")
@click.option("--iso", type=float, help="ISO of the result; by default the ISO of NOISY.")
@click.option(
    "--clean", type=PATH, help="Clean or denoised twin of NOISY, to transform its noise instead of adding noise."
)
@raw_options(leave_out=("iso", "camera"))
@out_option("File to write: .dng or .tiff (integer DN), .npy or .h5 (normalised planes).")
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
    """Change the noise of the raw file NOISY to that of another camera, or of the same camera at another ISO.

    The signal is unchanged. With --clean, the noise is whitened with the first model and coloured with the
    second. Without it, only the missing noise is added, and the command reports how much of the first camera's
    noise remains. Shipped cameras and profiles give Gaussian noise; a run folder gives the noise of its model.

    \b
    noiseflow transfer noisy.dng --from "Sony A7S2" --to camera.json --iso 3200 --out other.dng
    noiseflow transfer noisy.dng --from run/ --camera G4 --to run/ --to-camera S6 --out other.dng
    """  # noqa: D301
    from noiseflow.core.output.checks import writing
    from noiseflow.raw import read_raw

    inputs = [path for path in (noisy, clean, first, second) if path is not None]
    with writing(out, inputs=inputs, overwrite=overwrite):
        # Read before torch is imported, which takes seconds: if the file needs more flags, the error comes at once.
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
            f"noiseflow: {cameras[1]} has less noise: {100 * remains:.0f} % of the variance remains from the first "
            "camera; give --clean to transform it"
        )
