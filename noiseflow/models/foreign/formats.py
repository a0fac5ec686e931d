"""The table of foreign formats; a new format is one new file and one new line here."""

from dataclasses import replace
from pathlib import Path

from noiseflow.core.errors import ModelError
from noiseflow.core.registry import Registry
from noiseflow.models.foreign.source import ForeignFormat, ForeignSource
from noiseflow.models.model import NoiseModel, build

__all__ = ["FORMATS", "format_of", "import_model", "renamed"]

FORMATS = Registry[ForeignFormat](
    {
        "noise_flow": "noiseflow.models.foreign.noise_flow:NOISE_FLOW",
        "noise2noise_flow": "noiseflow.models.foreign.noise2noise_flow:NOISE2NOISE_FLOW",
        "eld": "noiseflow.models.foreign.eld:ELD",
        "led": "noiseflow.models.foreign.led:LED",
        "darktable": "noiseflow.models.foreign.darktable:DARKTABLE",
        "sidd_nlf": "noiseflow.models.foreign.sidd_nlf:SIDD_NLF",
        "noise_profile": "noiseflow.models.foreign.noise_profile:NOISE_PROFILE",
        "dark_frames": "noiseflow.models.foreign.dark_frames:DARK_FRAMES",
        "spectral": "noiseflow.models.foreign.dark_frames:SPECTRAL",
    }
)
"""Name of ``noiseflow import --format`` → format, in the order in which they are tried."""


def format_of(path: Path) -> str:
    """Name of the format that recognises a file or folder by its content.

    Raises
    ------
    ModelError
        There is no such file, or no format recognises it.
    """
    for name in FORMATS:
        if FORMATS[name].claims(path):
            return name
    if not path.exists():
        raise ModelError(f"{path}: no such file or folder; expected a noise model of another program")
    raise ModelError(
        f"{path}: its content is in none of the formats {', '.join(FORMATS)}; if it is one of them, give --format"
    )


def import_model(source: ForeignSource, name: str | None = None) -> NoiseModel:
    """Read a noise model of another program.

    Parameters
    ----------
    source : ForeignSource
        The file or folder, and facts that it does not contain.
    name : str, optional
        A format in `FORMATS`; if None, it is recognised by the content.

    Returns
    -------
    NoiseModel
        The model, in evaluation mode.

    Raises
    ------
    ModelError
        An unknown format, content of another format, or implausible numbers.
    DataError
        A fact that the format lacks is missing, such as the gain for dark frames.
    """
    if name is not None and name not in FORMATS:
        raise ModelError(f"format {name!r}: expected one of {', '.join(FORMATS)}")
    return FORMATS[name or format_of(source.path)].read(source).eval()


def renamed(model: NoiseModel, old: str, new: str) -> NoiseModel:
    """Copy of a model with one of its cameras renamed, to match the camera name of a store.

    Raises
    ------
    ModelError
        The model has no camera `old`, or already has one named `new`.
    """
    if old not in model.cameras:
        raise ModelError(f"camera {old!r}: this model does not have it; expected one of {', '.join(model.cameras)}")
    options = dict(model.spec.options)
    if isinstance(options.get("profile"), dict):
        options["profile"] = {new if name == old else name: table for name, table in options["profile"].items()}
    cameras = tuple(new if name == old else name for name in model.cameras)
    other = build(replace(model.spec, cameras=cameras, options=options))
    other.load_state_dict(model.state_dict())
    return other.eval()
