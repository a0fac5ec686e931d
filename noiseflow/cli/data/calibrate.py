"""``noiseflow calibrate``."""

from contextlib import ExitStack
from pathlib import Path

import click

from noiseflow.cli.options import PATH, out_option, overwrite_option
from noiseflow.cli.progress import shown

__all__ = ["calibrate"]


@click.command()
@click.argument("sources", type=PATH, nargs=-1, required=True, metavar="SOURCE...")
@out_option("The profile to write (JSON).")
@click.option("--camera", help="Name of the camera; else what the files say.")
@click.option("--report", type=PATH, help="Also write a page with the figures (HTML).")
@overwrite_option
def calibrate(sources: tuple[Path, ...], out: Path, camera: str | None, report: Path | None, overwrite: bool) -> None:
    """Measure a camera from flats and darks, a burst, one frame, or a photon-transfer table.

    \b
    noiseflow calibrate flats/ darks/ --out camera.json
    noiseflow calibrate EMVA1288_ReferenceSet_001_CCD_12Bit/ --out ccd.json
    """  # noqa: D301
    from noiseflow.calibrate import calibrate as run
    from noiseflow.calibrate.profiles.facts import said
    from noiseflow.calibrate.report import write_page
    from noiseflow.core.output.checks import check_apart, writing

    check_apart(out, report)
    with ExitStack() as stack:
        if report is not None:
            stack.enter_context(writing(report, inputs=sources, overwrite=overwrite))
        progress = stack.enter_context(shown("calibrate", "frames"))
        calibration = run(sources, out, camera=camera, overwrite=overwrite, progress=progress)
        if report is not None:
            write_page(calibration, report, overwrite=overwrite)
    profile = calibration.profile
    click.echo(f"{out}: {profile.camera}, {len(profile.isos)} ISO(s), {profile.layout}")
    for setting in profile.settings:
        click.echo(f"ISO {setting.iso:g}, plane {setting.plane} ({setting.kind}):")
        for name, estimate in setting.estimates.items():
            low, high = estimate.interval
            click.echo(f"  {name:29} {estimate!s:34} 95 %: {low:.6g} … {high:.6g}")
        for name, value in setting.facts.items():
            _, text, unit = said(name, value)
            click.echo(f"  {name:29} {text} {unit}".rstrip())
    if report is not None:
        click.echo(f"{report}: the page")
    for setting in profile.settings:
        for caution in setting.cautions:
            click.echo(f"noiseflow: ISO {setting.iso:g}, plane {setting.plane}: {caution}", err=True)
    for caution in profile.cautions:
        click.echo(f"noiseflow: {caution}", err=True)
