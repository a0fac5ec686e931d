"""The table of foreign formats: a new one is a new file and a new line here."""

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
    """The format that claims a file or folder by what it holds.

    Raises
    ------
    ModelError
        There is no such file, or no format claims it.
    """
    for name in FORMATS:
        if FORMATS[name].claims(path):
            return name
    if not path.exists():
        raise ModelError(f"{path}: no such file or folder; expected a noise model of another program")
    raise ModelError(
        f"{path}: is in none of the formats {', '.join(FORMATS)} by its content; name one with --format if it is"
    )


def import_model(source: ForeignSource, name: str | None = None) -> NoiseModel:
    """Read a noise model of another program.

    Parameters
    ----------
    source : ForeignSource
        The file or folder, and what it does not say itself.
    name : str, optional
        A format in `FORMATS`; recognised by its content if None.

    Returns
    -------
    NoiseModel
        In evaluation mode.

    Raises
    ------
    ModelError
        No format of that name, content of another format, implausible numbers.
    DataError
        What the format does not say is missing, such as the gain of dark frames.
    """
    if name is not None and name not in FORMATS:
        raise ModelError(f"format {name!r}: expected one of {', '.join(FORMATS)}")
    return FORMATS[name or format_of(source.path)].read(source).eval()


def renamed(model: NoiseModel, old: str, new: str) -> NoiseModel:
    """The same model with another name for one of its cameras, to match that of a store.

    Raises
    ------
    ModelError
        It has no such camera, or has one of the new name.
    """
    if old not in model.cameras:
        raise ModelError(f"camera {old!r}: not one of this model's: {', '.join(model.cameras)}")
    options = dict(model.spec.options)
    if isinstance(options.get("profile"), dict):
        options["profile"] = {new if name == old else name: table for name, table in options["profile"].items()}
    cameras = tuple(new if name == old else name for name in model.cameras)
    other = build(replace(model.spec, cameras=cameras, options=options))
    other.load_state_dict(model.state_dict())
    return other.eval()
