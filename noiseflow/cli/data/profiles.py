"""``noiseflow profiles``."""

import json
from pathlib import Path

import click

from noiseflow.cli.options import PATH, json_option, overwrite_option, print_json

__all__ = ["profiles"]


@click.command()
@click.argument("name", required=False)
@json_option
@click.option("--out", type=PATH, help="Write the profile NAME to this JSON file.")
@overwrite_option
def profiles(name: str | None, as_json: bool, out: Path | None, overwrite: bool) -> None:
    """List the camera profiles that ship with the package, or show one.

    \b
    noiseflow profiles
    noiseflow profiles "Sony A7S2" --out a7s2.json
    """  # noqa: D301
    from noiseflow.calibrate.profiles.profile import write_profile
    from noiseflow.calibrate.profiles.published import shipped_names, shipped_profile

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
