"""Cameras of known physics that are part of the package."""

import json
from functools import cache
from importlib import resources
from typing import Any

from noiseflow.core.errors import RawError
from noiseflow.simulate.physics import CameraPhysics, IsoPhysics

__all__ = ["camera_named", "camera_names", "load_camera"]


@cache
def _table() -> dict[str, Any]:
    text = (resources.files("noiseflow.simulate") / "cameras.json").read_text(encoding="utf-8")
    cameras: dict[str, Any] = json.loads(text)["cameras"]
    return cameras


def camera_names() -> tuple[str, ...]:
    """Names of the cameras that can be loaded."""
    return tuple(_table())


def camera_named(name: str) -> str | None:
    """Find a camera by name, ignoring case and punctuation; None if it is unknown.

    Parameters
    ----------
    name : str
        Name of the camera.

    Examples
    --------
    >>> camera_named("sony-a7s2")
    'Sony A7S2'
    """
    known = {_letters(each): each for each in camera_names()}
    return known.get(_letters(name))


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name)).casefold()


def load_camera(name: str) -> CameraPhysics:
    """Load the physics of a camera.

    Parameters
    ----------
    name : str
        Name of the camera; case and punctuation are ignored.

    Raises
    ------
    RawError
        If the package has no camera of this name.

    Examples
    --------
    >>> load_camera("Sony A7S2").at(800).gain_dn_per_e
    0.76504
    """
    known = camera_named(name)
    if known is None:
        raise RawError(f"camera {name!r}: its physics is not known; expected one of {', '.join(camera_names())}")
    name, entry = known, _table()[known]
    columns = (entry[key] for key in ("gain_dn_per_e", "read_scale_dn", "read_lambda", "row_sigma_dn"))
    isos = {float(iso): IsoPhysics(*values) for iso, *values in zip(entry["isos"], *columns, strict=True)}
    kept = {key: entry[key] for key in ("cfa", "black_dn", "white_dn", "read_shape", "source")}
    return CameraPhysics(name=name, isos=isos, **kept)
