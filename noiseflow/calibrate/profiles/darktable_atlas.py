"""Every camera of an installed darktable database, translated to the mosaic's units."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noiseflow.calibrate.measurement import Measurement
from noiseflow.calibrate.profiles.darktable import GREEN_RULE, SPREAD, green_slopes
from noiseflow.core.errors import DataError
from noiseflow.core.reading.text import read_json

__all__ = ["INSTALLED", "AtlasCamera", "read_atlas"]

INSTALLED = Path("/usr/share/darktable/noiseprofiles.json")
"""Where darktable's packages put the database, which is GPL and does not come with noiseflow."""


@dataclass(frozen=True)
class AtlasCamera:
    """One camera.

    Parameters
    ----------
    name : str
        Maker and model.
    isos : tuple of float
        ISOs of its physical settings, rising.
    full_electrons : Measurement
        Electrons that fill the range at its lowest ISO, (white − black)/K, by the rule of `GREEN_RULE`.
    left_out : int
        Settings that are not physical: a slope or a variance that is not above 0.
    """

    name: str
    isos: tuple[float, ...]
    full_electrons: Measurement
    left_out: int


def read_atlas(path: str | Path = INSTALLED) -> tuple[tuple[AtlasCamera, ...], tuple[str, ...]]:
    """Cameras of a darktable database that have physical settings, and the names of those that have none.

    Raises
    ------
    DataError
        No such file, or another format.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no darktable database; install darktable, or give its noiseprofiles.json")
    cameras, none = [], []
    try:
        for maker in read_json(path, "darktable's noiseprofiles.json", DataError)["noiseprofiles"]:
            for model in maker["models"]:
                name = f"{maker['maker']} {model['model']}"
                camera = _camera(name, [entry for entry in model["profiles"] if not entry.get("skip")])
                if camera is not None:
                    cameras.append(camera)
                else:
                    none.append(name)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DataError(f"{path}: is no darktable noise database ({error!r})") from error
    return tuple(cameras), tuple(none)


def _camera(name: str, entries: list[dict[str, Any]]) -> AtlasCamera | None:
    slopes = green_slopes((float(entry["iso"]), float(entry["a"][1]), float(entry["b"][1])) for entry in entries)
    if not slopes:
        return None
    lowest = min(slopes)
    electrons = GREEN_RULE / slopes[lowest]
    ends = (electrons * math.exp(-SPREAD), electrons * math.exp(SPREAD))
    full = Measurement(electrons, electrons * SPREAD / 2, ends, "e-")
    left_out = len({float(entry["iso"]) for entry in entries}) - len(slopes)
    return AtlasCamera(name, tuple(sorted(slopes)), full, left_out)
