"""``noiseflow denoise``."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from noiseflow.cli.options import PATH, device_option, out_option, overwrite_option, raw_options
from noiseflow.cli.progress import shown
from noiseflow.cli.streams import answer, say
from noiseflow.core.text import LONGEST_LINE, plain_text

if TYPE_CHECKING:
    from noiseflow.raw import RawImage, RawSettings

__all__ = ["denoise"]


@click.command()
@click.argument("paths", type=PATH, nargs=-1, required=True, metavar="[RUN] NOISY")
@click.option(
    "--model",
    metavar="RUN|PROFILE|CAMERA",
    help="Noise model for the noise level; by default the file's NoiseProfile, or an estimate from its pixels.",
)
@click.option(
    "--body",
    type=PATH,
    help="Maps of the body from noiseflow calibrate --maps: dark shading, photo response and hot pixels are corrected "
    "first.",
)
@click.option(
    "--strength",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    help="Fraction of the noise to remove.",
)
@click.option("--preview", type=PATH, help="Also write the result as an sRGB picture (.png).")
@click.option("--iso", type=float, help="ISO of the frame; by default the ISO in the file.")
@click.option(
    "--camera", help="Camera of the frame; by default the camera in the file, or the only one of the denoiser."
)
@raw_options(leave_out=("iso", "camera"))
@device_option
@out_option("File to write: .dng or .tiff (integer DN), .npy or .h5 (normalised planes).")
@overwrite_option
def denoise(
    paths: tuple[Path, ...],
    model: str | None,
    body: Path | None,
    strength: float,
    preview: Path | None,
    iso: float | None,
    camera: str | None,
    settings: "RawSettings",
    device: str,
    out: Path,
    overwrite: bool,
) -> None:
    """Denoise the raw file NOISY with the shipped network, or with the denoiser in RUN.

    The shipped network works for any Bayer camera at any ISO. RUN is a folder from noiseflow train-denoiser,
    or from noiseflow fit on noisy pairs; any other run, a profile or a shipped camera there is the same as
    --model. A DNG keeps the metadata of the shot.

    \b
    noiseflow denoise photo.ARW --out photo.dng
    noiseflow denoise photo.ARW --model camera.json --strength 0.8 --out photo.dng
    noiseflow denoise photo.ARW --body body.h5 --out photo.dng
    noiseflow denoise run/ noisy.dng --out denoised.dng
    """  # noqa: D301
    from noiseflow.augment.denoise.names import is_photo_denoiser
    from noiseflow.augment.denoise.photo_file import denoise_photo_file

    if len(paths) > 2:
        raise click.UsageError(f"expected NOISY, or RUN and NOISY; got {len(paths)} paths. Denoise one file at a time")
    run, noisy = (None, paths[0]) if len(paths) == 1 else paths
    if run is not None and _is_noise_model(run):
        if model is not None:
            raise click.UsageError(f"{run} is a noise model, and so is --model {model}; give one of them")
        run, model = None, str(run)
    if run is not None and not is_photo_denoiser(run):
        if model is not None or strength != 1 or preview is not None:
            raise click.UsageError(
                f"{run} is not a run of noiseflow train-denoiser: --model, --strength and --preview need such a run or "
                "the shipped network"
            )
        image = _by_pairs(run, noisy, out, settings, body, iso, camera, device, overwrite)
        return _print(out, image)
    with shown("denoise", "pixels") as progress:
        found = denoise_photo_file(
            noisy,
            out,
            denoiser=run,
            model=model,
            body=body,
            iso=iso,
            camera=camera,
            strength=strength,
            settings=settings,
            preview=preview,
            device=device,
            overwrite=overwrite,
            progress=progress,
        )
    _say_gaps(found.gaps)
    _print(out, found.image)
    answer(f"denoised by {found.network}; noise level: {found.noise}")


def _is_noise_model(path: Path) -> bool:
    """Whether this is a run without a denoiser, a profile or a shipped camera's name, told without importing torch."""
    from noiseflow.simulate.cameras import camera_named

    if path.is_dir():
        names = {each.name for each in path.iterdir()}
        return {"spec.json", "model.safetensors"} <= names and "denoiser" not in names
    if path.exists():
        return path.is_file() and path.suffix.lower() == ".json"
    return camera_named(str(path)) is not None


def _by_pairs(
    run: Path,
    noisy: Path,
    out: Path,
    settings: "RawSettings",
    body: Path | None,
    iso: float | None,
    camera: str | None,
    device: str,
    overwrite: bool,
) -> "RawImage":
    """Denoise with the denoiser that a fit to noisy pairs trained together with its noise model."""
    from noiseflow.core.output.checks import writing
    from noiseflow.raw import read_raw

    with writing(out, inputs=[run, noisy, *([] if body is None else [body])], overwrite=overwrite):
        # Read before torch is imported, which takes seconds: if the file needs more flags, the error comes at once.
        image = read_raw(noisy, settings)

        from noiseflow.augment import denoise_frame, write_frame
        from noiseflow.augment.denoise.without_body import without_body
        from noiseflow.augment.frames.frame_camera import camera_for, other_camera
        from noiseflow.calibrate.body.body_file import read_body
        from noiseflow.fit.training.session import device_of
        from noiseflow.models import load_denoiser

        if body is not None:
            maps = read_body(body)
            _say_gaps(maps.gaps(iso or image.iso, image.exposure_s))
            image = without_body(image, maps, iso=iso, camera=camera)
        chosen = device_of(device)
        denoiser = load_denoiser(run).to(chosen)
        known = camera_for(denoiser.spec.cameras, image, camera)
        if camera is None and (word := other_camera(known, image)):
            say(f"noiseflow: {word}")
        frame = denoise_frame(denoiser, image, iso=iso, camera=known)
        write_frame(out, frame, overwrite=overwrite)
    return frame.image


def _say_gaps(gaps: Iterable[str]) -> None:
    for gap in gaps:
        say(f"noiseflow: {plain_text(gap, LONGEST_LINE)}")


def _print(out: Path, image: "RawImage") -> None:
    iso = "" if image.iso is None else f", ISO {image.iso:g}"
    answer(f"{out}: {image.mosaic.shape[0]}×{image.mosaic.shape[1]} {image.pattern}{iso}")
