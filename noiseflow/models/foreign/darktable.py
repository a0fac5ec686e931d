"""One camera of darktable's ``noiseprofiles.json``, as a model."""

import json
from dataclasses import replace
from pathlib import Path

from noiseflow.calibrate.profiles.darktable import GREEN_RULE, from_darktable, in_words
from noiseflow.calibrate.profiles.published import without_error
from noiseflow.core.errors import ModelError
from noiseflow.core.reading.text import read_json
from noiseflow.models.foreign.source import ForeignFormat, ForeignSource
from noiseflow.models.model import NoiseModel
from noiseflow.models.physics.profile_models import QUANTISATION, from_profile

__all__ = ["DARKTABLE"]


def _claims(path: Path) -> bool:
    if path.suffix != ".json" or not path.is_file():
        return False
    with path.open("rb") as file:
        return b'"noiseprofiles"' in file.read(4096)


def _read(source: ForeignSource) -> NoiseModel:
    """Poisson-Gaussian model with K and read noise converted from darktable's a and b.

    darktable fits a and b to a green channel filtered by its demosaicing, so the same rule converts both to the
    mosaic.  Where its fit gives b < 0, the read noise is unknown, and that of rounding is used.
    """
    camera, raw = source.raw.camera, source.raw
    if camera is None or raw.black is None or raw.white is None:
        raise ModelError(
            f"{source.path}: a darktable database has many cameras and no levels: give --camera 'Maker Model', "
            "--black and --white"
        )
    black, white = source.levels(0.0, 1.0)
    maker, model = _names(source.path, camera)
    profile = from_darktable(source.path, maker, model, black_dn=black, white_dn=white)
    settings = []
    for setting in profile.settings:
        variance = setting.facts["darktable_b"][1] / GREEN_RULE * (white - black) ** 2
        read = without_error(max(variance, QUANTISATION) ** 0.5, "DN")
        settings.append(
            replace(
                setting,
                estimates={**setting.estimates, "read_noise_dn": read, "black_dn": without_error(black, "DN")},
                facts={},
            )
        )
    return from_profile("poisson_gaussian", replace(profile, settings=tuple(settings)))


def _names(path: Path, camera: str) -> tuple[str, str]:
    """Maker and model of the camera whose "Maker Model" is `camera`, in any case."""
    content = read_json(path, "darktable's noiseprofiles.json", ModelError)
    try:
        for maker in content["noiseprofiles"]:
            for model in maker["models"]:
                if f"{maker['maker']} {model['model']}".casefold() == camera.casefold():
                    return str(maker["maker"]), str(model["model"])
    except (KeyError, TypeError) as error:
        raise ModelError(f"{path}: expected a darktable noise database, but {in_words(error)}") from error
    raise ModelError(f"{path}: no camera {json.dumps(camera)}; `noiseflow profiles --darktable {path}` lists them")


DARKTABLE = ForeignFormat("one camera of darktable's noiseprofiles.json", _claims, _read)
