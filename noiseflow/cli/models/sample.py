"""``noiseflow sample``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from noiseflow.cli.interrupts import keeps
from noiseflow.cli.options import PATH, device_option, out_option, overwrite_option, raw_options, seed_option
from noiseflow.cli.progress import shown
from noiseflow.cli.streams import answer, say
from noiseflow.core.text import LONGEST_LINE, plain_text

if TYPE_CHECKING:
    from noiseflow.raw import RawSettings

__all__ = ["sample"]


@click.command()
@click.argument("run", type=PATH, metavar="RUN|PROFILE|CAMERA")
@click.argument("clean", type=PATH)
@click.option("--iso", type=float, help="ISO of the noise; by default the ISO of the frame.")
@click.option("--camera", help="Camera of the noise; by default the camera of the frame, or the only one of the model.")
@click.option(
    "--temperature",
    type=float,
    default=1.0,
    show_default=True,
    help="Factor on the scale of the base distribution; 1 samples the fitted density.",
)
@click.option(
    "--frames",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Number of frames of a burst, written as NAME_000, NAME_001 and so on.",
)
@click.option(
    "--profile", type=PATH, help="Add a random fixed pattern with the size that noiseflow calibrate measured."
)
@click.option(
    "--body", type=PATH, help="Add the measured fixed pattern of one body: maps from noiseflow calibrate --maps."
)
@click.option("--prnu", type=float, default=0.0, help="Photo response nonuniformity in % of the signal.")
@click.option("--dsnu", type=float, default=0.0, help="Dark signal nonuniformity in DN.")
@click.option("--shading", type=float, default=0.0, help="Range of a smooth dark shading in DN.")
@click.option(
    "--hot-pixels",
    type=(float, float),
    metavar="PPM DN",
    help="Number of hot pixels per million, and their lowest offset in DN.",
)
@click.option(
    "--camera-seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the fixed pattern."
)
@click.option("--preview", type=PATH, help="Also write the first frame as an sRGB picture (.png).")
@click.option("--workers", type=click.IntRange(min=1), help="Number of threads; it does not change the noise.")
@raw_options(leave_out=("iso", "camera"))
@device_option
@out_option("File to write: .dng or .tiff (integer DN), .npy or .h5 (normalised planes).")
@seed_option
@overwrite_option
def sample(
    run: Path,
    clean: Path,
    iso: float | None,
    camera: str | None,
    temperature: float,
    frames: int,
    profile: Path | None,
    body: Path | None,
    prnu: float,
    dsnu: float,
    shading: float,
    hot_pixels: tuple[float, float] | None,
    camera_seed: int,
    preview: Path | None,
    workers: int | None,
    settings: "RawSettings",
    device: str,
    out: Path,
    seed: int,
    overwrite: bool,
) -> None:
    """Add noise drawn from a model to the raw file CLEAN.

    The model is a run folder, a profile from noiseflow calibrate, or a camera that noiseflow profiles
    lists.

    \b
    noiseflow sample run/ clean.dng --iso 800 --out noisy.dng
    noiseflow sample camera.json clean.dng --iso 800 --out noisy.dng
    noiseflow sample "Sony A7S2" clean.dng --iso 800 --out noisy.dng
    noiseflow sample run/ clean.dng --body body.h5 --out noisy.dng
    noiseflow sample run/ clean.dng --frames 8 --prnu 0.5 --dsnu 1 --out burst.dng
    """  # noqa: D301
    from noiseflow.core.output.checks import check_output
    from noiseflow.raw import read_raw

    if profile is not None and (prnu or dsnu or shading or hot_pixels):
        raise click.UsageError("--profile gives the fixed pattern; leave out --prnu, --dsnu, --shading, --hot-pixels")
    if body is not None and (profile is not None or prnu or dsnu or shading or hot_pixels):
        raise click.UsageError(
            "--body gives the fixed pattern; leave out --profile, --prnu, --dsnu, --shading, --hot-pixels"
        )
    inputs = [path for path in (run, clean, profile, body) if path is not None]
    check_output(out, inputs=inputs, overwrite=overwrite, goes_on=frames > 1)
    if preview is not None:
        check_output(preview, inputs=inputs, overwrite=overwrite)
    # Read before torch is imported, which takes seconds: if the file needs more flags, the error comes at once.
    frame = read_raw(clean, settings)

    from noiseflow.augment import FixedPattern, pattern_from_profile, sample_to_files
    from noiseflow.augment.body_pattern import BodyPattern, body_pattern
    from noiseflow.augment.frames.frame_camera import camera_for, other_camera
    from noiseflow.augment.frames.to_files import burst_paths
    from noiseflow.calibrate.body.body_file import read_body
    from noiseflow.calibrate.profiles.profile import read_profile
    from noiseflow.fit.training.session import device_of
    from noiseflow.models import load

    million, least = hot_pixels or (0.0, 0.0)
    model = load(run).to(device_of(device))
    chosen = camera_for(model.cameras, frame, camera)
    if camera is None and (word := other_camera(chosen, frame)):
        say(f"noiseflow: {word}")
    pattern: FixedPattern | BodyPattern
    if body is not None:
        maps = read_body(body)
        pattern = body_pattern(maps, frame, iso, model.spec.layout)
        for gap in maps.gaps(iso or frame.iso, frame.exposure_s):
            say(f"noiseflow: {plain_text(gap, LONGEST_LINE)}")
    elif profile is not None:
        pattern = pattern_from_profile(read_profile(profile), iso or frame.iso or 0.0, camera_seed)
    else:
        pattern = FixedPattern(
            camera_seed, prnu / 100, dsnu_dn=dsnu, shading_dn=shading, hot_fraction=million / 1e6, hot_dn=least
        )
    if frames > 1:
        keeps(lambda: None, [*burst_paths(out, frames), preview])
    with shown("sample", "pixels") as progress:
        written = sample_to_files(
            model,
            frame,
            out,
            frames=frames,
            iso=iso,
            camera=chosen,
            seed=seed,
            temperature=temperature,
            pattern=pattern,
            workers=workers,
            preview=preview,
            overwrite=overwrite,
            inputs=inputs,
            progress=progress,
        )
    for path in written:
        size = f"{frame.mosaic.shape[0]}×{frame.mosaic.shape[1]} {frame.pattern}"
        answer(f"{path}: {size}, noise of {chosen}, ISO {iso or frame.iso:g}")
