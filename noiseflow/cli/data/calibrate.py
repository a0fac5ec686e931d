"""``noiseflow calibrate``."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from noiseflow.cli.options import PATH, json_option, out_option, overwrite_option, print_json, raw_options
from noiseflow.cli.progress import shown
from noiseflow.cli.streams import answer, say
from noiseflow.core.text import LONGEST_LINE, TIED, counted, plain_text

if TYPE_CHECKING:
    from noiseflow.calibrate.profiles.profile import Profile
    from noiseflow.raw import RawSettings

__all__ = ["calibrate"]


@click.command()
@click.argument("sources", type=PATH, nargs=-1, required=True, metavar="SOURCE...")
@out_option("Camera profile to write (JSON).")
@raw_options()
@click.option(
    "--few",
    is_flag=True,
    help="Estimate all ISOs from one or two frames (a picture, a dark) with a prior over cameras; with --maps, coarse "
    "maps from many pictures of different scenes.",
)
@click.option(
    "--maps",
    type=PATH,
    help="Also write maps of this body with a value for each pixel (HDF5): dark shading, photo response, hot and "
    "telegraph pixels.",
)
@click.option("--report", type=PATH, help="Also write a page with figures (HTML).")
@json_option
@overwrite_option
def calibrate(
    sources: tuple[Path, ...],
    out: Path,
    settings: "RawSettings",
    few: bool,
    maps: Path | None,
    report: Path | None,
    as_json: bool,
    overwrite: bool,
) -> None:
    """Measure a camera from flats and darks, a burst, one frame, or a photon-transfer table.

    \b
    noiseflow calibrate flats/ darks/ --out camera.json
    noiseflow calibrate EMVA1288_ReferenceSet_001_CCD_12Bit/ --out ccd.json
    noiseflow calibrate picture.dng lens_cap.dng --few --out camera.json
    noiseflow calibrate flats/ darks/ --out camera.json --maps body.h5
    """  # noqa: D301
    from noiseflow.calibrate import calibrate as run, calibrate_few
    from noiseflow.calibrate.report import write_page
    from noiseflow.core.output.checks import check_apart, writing

    check_apart(out, report, maps)
    with ExitStack() as stack:
        if report is not None:
            stack.enter_context(
                writing(report, inputs=[path for path in sources if path.is_file()], overwrite=overwrite)
            )
        progress = stack.enter_context(shown("calibrate", "frames"))
        if few:
            calibration = calibrate_few(
                sources, out, settings=settings, maps=maps, overwrite=overwrite, progress=progress
            )
        else:
            calibration = run(
                sources,
                out,
                camera=settings.camera,
                settings=settings,
                maps=maps,
                overwrite=overwrite,
                progress=progress,
            )
        if report is not None:
            write_page(calibration, report, overwrite=overwrite)
    profile = calibration.profile
    if as_json:
        print_json(json.loads(profile.to_json()))
    else:
        _print(profile, out)
    if calibration.body is not None:
        (say if as_json else answer)(f"{maps}: maps of the body")
        for line in calibration.body.summary():
            (say if as_json else answer)(f"  {line}")
    if report is not None:
        (say if as_json else answer)(f"{report}: page with figures")
    for setting in profile.settings:
        for caution in setting.cautions:
            say(f"noiseflow: {profile.name_of(setting)}: {plain_text(caution, LONGEST_LINE)}")
    for caution in profile.cautions:
        say(f"noiseflow: {plain_text(caution, LONGEST_LINE)}")


def _print(profile: "Profile", out: Path) -> None:
    """Print all numbers of a profile with their 95 % intervals."""
    from noiseflow.calibrate.profiles.facts import fact_cells

    answer(f"{out}: {plain_text(profile.camera)}, {counted(len(profile.isos), 'ISO')}, {profile.layout}")
    for setting in profile.settings:
        answer(f"{profile.name_of(setting)} ({setting.kind}):")
        for name, estimate in setting.estimates.items():
            answer(f"  {name:29} {estimate!s:34} 95{TIED}%:{TIED}{estimate.interval_text}")
        for name, value in setting.facts.items():
            _, text, unit = fact_cells(name, value)
            answer(f"  {name:29} {text} {unit}".rstrip())
        for name, reason in setting.absent.items():
            answer(f"  {name:29} absent: {reason}")
