"""``noiseflow profiles``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from noiseflow.cli.options import PATH, json_option, overwrite_option, print_json
from noiseflow.cli.streams import answer, say
from noiseflow.core.text import TIED, counted, plain_text

if TYPE_CHECKING:
    from noiseflow.calibrate.profiles.profile import Profile

__all__ = ["profiles"]

FORMS = ("json", "darktable", "dng")
"""Output formats of `profiles`."""


@click.command()
@click.argument("name", required=False)
@json_option
@click.option("--out", type=PATH, help="Write the profile NAME to this file.")
@click.option(
    "--write",
    "form",
    type=click.Choice(FORMS),
    default="json",
    show_default=True,
    help="Format of --out: a noiseflow profile; a file like darktable's noiseprofiles.json with this camera; or a copy "
    "of --dng whose NoiseProfile tag is the noise at its ISO.",
)
@click.option("--dng", type=PATH, help="DNG to copy; apart from the tag it is unchanged.")
@click.option(
    "--units",
    type=click.Choice(("mosaic", "darktable")),
    default="mosaic",
    show_default=True,
    help="For --write darktable: the variance of raw pixels, or the one that darktable's own profiling measures.",
)
@click.option(
    "--darktable",
    "published",
    type=PATH,
    help="List the cameras of this noiseprofiles.json instead, with their full scale in electrons.",
)
@overwrite_option
def profiles(
    name: str | None,
    as_json: bool,
    out: Path | None,
    form: str,
    dng: Path | None,
    units: str,
    published: Path | None,
    overwrite: bool,
) -> None:
    """List the camera profiles shipped with the package, or show or write one profile.

    NAME is a shipped camera or a profile file.

    \b
    noiseflow profiles
    noiseflow profiles "Sony A7S2" --out a7s2.json
    noiseflow profiles camera.json --write darktable --out noiseprofiles.json
    noiseflow profiles camera.json --write dng --dng picture.dng --out stamped.dng
    noiseflow profiles --darktable /usr/share/darktable/noiseprofiles.json
    """  # noqa: D301
    from noiseflow.calibrate.profiles.published import shipped_names
    from noiseflow.core.output.checks import writing
    from noiseflow.raw import plane_names

    if form != "json" and (name is None or out is None):
        raise click.UsageError(f"--write {form} needs a profile NAME and the file to write, --out")
    if (dng is not None) != (form == "dng"):
        raise click.UsageError("--dng and --write dng need each other: the DNG is copied to --out")

    if published is not None:
        if out is not None:
            raise click.UsageError("--darktable only lists cameras; leave out --out")
        _list_atlas(published, name, as_json)
        return
    known_profiles = {known: _named(known) for known in (shipped_names() if name is None else (name,))}
    if out is not None and name is not None:
        inputs = [path for path in (Path(name) if _is_file(name) else None, dng) if path and path.exists()]
        with writing(out, inputs=inputs, overwrite=overwrite):
            _write(known_profiles[name], out, form, dng, units, overwrite)
    if as_json:
        print_json({known: json.loads(profile.to_json()) for known, profile in known_profiles.items()})
        return
    for known, profile in known_profiles.items():
        isos = profile.isos
        source = profile.provenance.get("source") or profile.provenance.get("method", "")
        answer(
            f"{plain_text(known)}: {counted(len(isos), 'ISO')}, {isos[0]:g} to {isos[-1]:g}; "
            f"{plain_text(str(source), 200)}"
        )
        if name is not None:
            plane = plane_names(profile.layout)[0 if profile.layout == "mono" else 1]
            for iso in isos:
                setting = profile.at(iso, plane)
                answer(f"  ISO {iso:<6g} " + ", ".join(f"{k}{TIED}{e.value:.4g}" for k, e in setting.estimates.items()))


def _named(name: str) -> "Profile":
    """Return the shipped profile of that name, or the profile in a file."""
    from noiseflow.calibrate.profiles.profile import read_profile
    from noiseflow.calibrate.profiles.published import shipped_profile

    return read_profile(name) if _is_file(name) else shipped_profile(name)


def _is_file(name: str) -> bool:
    """Return whether NAME is a profile file rather than a shipped camera."""
    return Path(name).suffix.lower() == ".json"


def _write(profile: "Profile", out: Path, form: str, dng: Path | None, units: str, overwrite: bool) -> None:
    """Write a profile in one of `FORMS`."""
    from noiseflow.calibrate.profiles.exchange import stamp_dng, write_darktable
    from noiseflow.calibrate.profiles.profile import write_profile

    if form == "darktable":
        write_darktable(profile, out, units=units, overwrite=overwrite)
    elif form == "dng" and dng is not None:
        said = stamp_dng(profile, dng, out, overwrite=overwrite, caution=lambda words: say(f"noiseflow: {words}"))
        say(f"{out}: NoiseProfile " + ", ".join(f"({s:.6g}, {o:.6g})" for s, o in said))
    else:
        write_profile(profile, out, overwrite=overwrite)


def _list_atlas(path: Path, name: str | None, as_json: bool) -> None:
    """Print the cameras of a darktable database whose name contains `name`, with their full scale in electrons."""
    from noiseflow.calibrate.profiles.darktable_atlas import read_atlas
    from noiseflow.core.errors import DataError

    cameras, none = read_atlas(path)
    wanted = (name or "").lower()
    shown = [camera for camera in cameras if wanted in camera.name.lower()]
    if not shown:
        unphysical = [each for each in none if wanted in each.lower()]
        reason = f"{unphysical[0]} has no physically possible setting" if unphysical else f"no camera {name!r}"
        raise DataError(f"{path}: {reason}; the file has {counted(len(cameras), 'usable camera')}")
    if as_json:
        print_json(
            {
                camera.name: {
                    "isos": camera.isos,
                    "full_electrons": camera.full_electrons.value,
                    "interval": camera.full_electrons.interval,
                    "left_out": camera.left_out,
                }
                for camera in shown
            }
        )
        return
    for camera in shown:
        low, high = camera.full_electrons.interval
        left = f"; {counted(camera.left_out, 'physically impossible setting')} left out" if camera.left_out else ""
        answer(
            f"{plain_text(camera.name)}: ISO {camera.isos[0]:g} to {camera.isos[-1]:g}; "
            f"full scale {camera.full_electrons.value:,.0f} e- at ISO {camera.isos[0]:g} "
            f"({low:,.0f} to {high:,.0f}){left}"
        )
    if none:
        say(f"noiseflow: {counted(len(none), 'camera')} without a physically possible setting left out")
