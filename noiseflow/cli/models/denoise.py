"""``noiseflow denoise``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from noiseflow.cli.options import PATH, device_option, out_option, overwrite_option, raw_options

if TYPE_CHECKING:
    from noiseflow.raw import RawSettings

__all__ = ["denoise"]


@click.command()
@click.argument("run", type=PATH)
@click.argument("noisy", type=PATH)
@click.option("--iso", type=float, help="ISO of the frame; the file's own if not given.")
@click.option("--camera", help="Camera of the frame; the file's own, or the denoiser's only one, if not given.")
@raw_options(leave_out=("iso", "camera"))
@device_option
@out_option("File to write: .dng or .tiff (whole DN), .npy or .h5 (normalised planes).")
@overwrite_option
def denoise(
    run: Path,
    noisy: Path,
    iso: float | None,
    camera: str | None,
    settings: "RawSettings",
    device: str,
    out: Path,
    overwrite: bool,
) -> None:
    """Denoise the raw file NOISY with the denoiser in RUN, which a fit to noisy pairs trains.

    \b
    noiseflow denoise run/ noisy.dng --out denoised.dng
    """  # noqa: D301
    from noiseflow.core.output.checks import writing
    from noiseflow.raw import read_raw

    with writing(out, inputs=[run, noisy], overwrite=overwrite):
        # Before torch, which takes seconds to load: a file that needs more flags says so at once.
        image = read_raw(noisy, settings)

        from noiseflow.augment import denoise_frame, write_frame
        from noiseflow.augment.frames.frame_camera import camera_for, other_camera
        from noiseflow.fit.training.session import device_of
        from noiseflow.models import load_denoiser

        chosen = device_of(device)
        denoiser = load_denoiser(run).to(chosen)
        known = camera_for(denoiser.spec.cameras, image, camera)
        if camera is None and (word := other_camera(known, image)):
            click.echo(f"noiseflow: {word}", err=True)
        frame = denoise_frame(denoiser, image, iso=iso, camera=known)
        write_frame(out, frame, overwrite=overwrite)
    image = frame.image
    click.echo(f"{out}: {image.mosaic.shape[0]}×{image.mosaic.shape[1]} {image.pattern}, ISO {image.iso:g}")
