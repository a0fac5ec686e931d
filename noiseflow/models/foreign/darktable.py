"""One camera of darktable's ``noiseprofiles.json``, as a model."""

import json
from dataclasses import replace
from pathlib import Path

from noiseflow.calibrate.profiles.darktable import GREEN_RULE, from_darktable
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
    """Poisson-Gaussian: K and read noise by the rule of darktable's demosaicing, read noise at least that of rounding.

    darktable's offset b is of the same filtered green as its slope a, so that the same rule brings it back to the
    mosaic; where its fit crosses zero below black, b < 0, nothing is known of the read noise.
    """
    camera, raw = source.raw.camera, source.raw
    if camera is None or raw.black is None or raw.white is None:
        raise ModelError(
            f"{source.path}: a darktable database holds many cameras and no levels: say --camera 'Maker Model', "
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
    """Maker and model of a camera by the two together."""
    content = read_json(path, "darktable's noiseprofiles.json", ModelError)
    try:
        for maker in content["noiseprofiles"]:
            for model in maker["models"]:
                if f"{maker['maker']} {model['model']}".casefold() == camera.casefold():
                    return str(maker["maker"]), str(model["model"])
    except (KeyError, TypeError) as error:
        raise ModelError(f"{path}: is no darktable noise database ({error!r})") from error
    raise ModelError(f"{path}: no camera {json.dumps(camera)}; `noiseflow profiles --darktable {path}` lists them")


DARKTABLE = ForeignFormat("one camera of darktable's noiseprofiles.json", _claims, _read)
