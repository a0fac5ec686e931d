"""All cameras of an installed darktable database, converted to the units of the mosaic."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noiseflow.calibrate.measurement import Measurement
from noiseflow.calibrate.profiles.darktable import GREEN_RULE, SPREAD, green_slopes, in_words
from noiseflow.core.errors import DataError
from noiseflow.core.reading.text import read_json

__all__ = ["INSTALLED", "AtlasCamera", "read_atlas"]

INSTALLED = Path("/usr/share/darktable/noiseprofiles.json")
"""Path of the database in darktable's packages.  It is under the GPL and not part of noiseflow."""


@dataclass(frozen=True)
class AtlasCamera:
    """One camera of the database.

    Parameters
    ----------
    name : str
        Maker and model.
    isos : tuple of float
        ISOs with a positive slope and variance, rising.
    full_electrons : Measurement
        Electrons at the white level at the lowest ISO, (white − black)/K, e⁻, by `GREEN_RULE`.
    left_out : int
        Number of ISOs whose slope or variance is not positive.
    """

    name: str
    isos: tuple[float, ...]
    full_electrons: Measurement
    left_out: int


def read_atlas(path: str | Path = INSTALLED) -> tuple[tuple[AtlasCamera, ...], tuple[str, ...]]:
    """Read all cameras of a darktable database.

    Parameters
    ----------
    path : path
        darktable's ``noiseprofiles.json``.

    Returns
    -------
    cameras : tuple of AtlasCamera
        Cameras with at least one setting of positive slope and variance.
    without : tuple of str
        Names of the other cameras.

    Raises
    ------
    DataError
        No such file, or another format.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(
            f"{path}: no such darktable database; install darktable, or give the path of its noiseprofiles.json"
        )
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
        raise DataError(
            f"{path}: is not a darktable noise database: {in_words(error)}; expected noiseprofiles.json"
        ) from error
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
