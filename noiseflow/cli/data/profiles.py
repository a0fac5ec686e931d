"""``noiseflow profiles``."""

import json
from pathlib import Path

import click

from noiseflow.cli.options import PATH, json_option, overwrite_option, print_json
from noiseflow.cli.streams import say
from noiseflow.core.text import plain_text

__all__ = ["profiles"]


@click.command()
@click.argument("name", required=False)
@json_option
@click.option("--out", type=PATH, help="Write the profile NAME to this JSON file.")
@click.option(
    "--darktable", "published", type=PATH, help="List the cameras of this noiseprofiles.json instead, translated."
)
@overwrite_option
def profiles(name: str | None, as_json: bool, out: Path | None, published: Path | None, overwrite: bool) -> None:
    """List the camera profiles that ship with the package, or show one.

    \b
    noiseflow profiles
    noiseflow profiles "Sony A7S2" --out a7s2.json
    noiseflow profiles --darktable /usr/share/darktable/noiseprofiles.json
    """  # noqa: D301
    from noiseflow.calibrate.profiles.profile import write_profile
    from noiseflow.calibrate.profiles.published import shipped_names, shipped_profile

    if published is not None:
        if out is not None:
            raise click.UsageError("--darktable lists cameras; --out writes a profile that ships with the package")
        _list_atlas(published, name, as_json)
        return
    known_profiles = {known: shipped_profile(known) for known in (shipped_names() if name is None else (name,))}
    if out is not None and name is not None:
        write_profile(known_profiles[name], out, overwrite=overwrite)
    if as_json:
        print_json({known: json.loads(profile.to_json()) for known, profile in known_profiles.items()})
        return
    for known, profile in known_profiles.items():
        isos = profile.isos
        click.echo(f"{known}: {len(isos)} ISO(s), {isos[0]:g} to {isos[-1]:g}; {profile.provenance['source']}")
        if name is not None:
            for iso in isos:
                setting = profile.at(iso, "G1")
                click.echo(f"  ISO {iso:<6g} " + ", ".join(f"{k} {e.value:.4g}" for k, e in setting.estimates.items()))


def _list_atlas(path: Path, name: str | None, as_json: bool) -> None:
    """Cameras of a darktable database whose name holds `name`, with the electrons that fill their range."""
    from noiseflow.calibrate.profiles.darktable_atlas import read_atlas
    from noiseflow.core.errors import DataError

    cameras, none = read_atlas(path)
    wanted = (name or "").lower()
    shown = [camera for camera in cameras if wanted in camera.name.lower()]
    if not shown:
        unphysical = [each for each in none if wanted in each.lower()]
        reason = f"{unphysical[0]} has only settings that are not physical" if unphysical else f"no camera {name!r}"
        raise DataError(f"{path}: {reason}; it has {len(cameras)} cameras that are usable")
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
        left = f"; {camera.left_out} setting(s) not physical, left out" if camera.left_out else ""
        click.echo(
            f"{plain_text(camera.name)}: ISO {camera.isos[0]:g} to {camera.isos[-1]:g}; "
            f"{camera.full_electrons.value:,.0f} e- fill the range at ISO {camera.isos[0]:g} "
            f"({low:,.0f} to {high:,.0f}){left}"
        )
    if none:
        say(f"noiseflow: {len(none)} camera(s) with no physical setting are left out")
