"""Cameras of known physics that ship with the package."""

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
    """Names that `load_camera` knows."""
    return tuple(_table())


def camera_named(name: str) -> str | None:
    """The camera that a name means, whatever its capitals and the signs between its words; None if it is unknown.

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
    """Physics of a camera by name.

    Raises
    ------
    RawError
        If no camera of that name ships with the package.

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
