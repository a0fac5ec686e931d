"""Run folders: a model's weights and spec, without anything that executes."""

from dataclasses import replace
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save as serialise

from noiseflow.core.errors import ModelError
from noiseflow.core.output.checks import check_output
from noiseflow.core.output.listed import fresh_folder, write_listed
from noiseflow.core.output.manifest import foreign, remove_ours
from noiseflow.models.model import MODELS, ModelSpec, NoiseModel, build

__all__ = ["SPEC", "STATE", "WEIGHTS", "holds_state", "load", "read_spec", "release", "reserve", "save"]

SPEC = "spec.json"
WEIGHTS = "model.safetensors"
STATE = "state"


def holds_state(folder: str | Path) -> bool:
    """Whether a run folder holds a complete state of a training to resume."""
    return any(path.name.isdecimal() for path in (Path(folder) / STATE).glob("*"))


def reserve(folder: str | Path, *, overwrite: bool = False) -> None:
    """Create a run folder with a list of its files, or empty one of ours that may be overwritten.

    Parameters
    ----------
    folder : path
        Run folder to reserve.
    overwrite : bool
        Whether a run in it may be removed.

    Raises
    ------
    OutputError
        The folder holds a run and `overwrite` is not set, or something that we did not write.
    """
    folder = Path(folder)
    check_output(folder, folder=True, overwrite=overwrite)
    fresh_folder(folder, "run")


def release(folder: str | Path) -> None:
    """Remove a run folder of ours that a failed start left, without a model and without a state to resume."""
    folder = Path(folder)
    whole = (folder / SPEC).is_file() and (folder / WEIGHTS).is_file()
    if folder.is_dir() and not whole and not holds_state(folder) and not foreign(folder):
        remove_ours(folder)


def save(model: NoiseModel, folder: str | Path) -> None:
    """Write a model's spec and weights into a folder, each file atomically, the spec last.

    Raises
    ------
    OutputError
        A file of that name in the folder is not ours.
    """
    folder = Path(folder)
    weights = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    write_listed(folder, WEIGHTS, serialise(weights, {"unit": model.spec.unit, "model": model.spec.model}))
    write_listed(folder, SPEC, model.spec.to_json().encode())


def load(folder: str | Path) -> NoiseModel:
    """Load a noise model from its run folder, in evaluation mode.

    Parameters
    ----------
    folder : path
        Run folder of `noiseflow fit` or `noiseflow import`.

    Raises
    ------
    ModelError
        No run folder, an unfinished one, or weights that do not match the spec.
    """
    folder = Path(folder)
    if not (folder / SPEC).is_file():
        raise ModelError(f"{folder}: no {SPEC} in it; expected a run folder of `noiseflow fit` or `noiseflow import`")
    if not (folder / WEIGHTS).is_file():
        raise ModelError(f"{folder}: holds no finished model; go on with `noiseflow fit … --resume`")
    model = build(read_spec(folder / SPEC))
    try:
        model.load_state_dict(load_file(folder / WEIGHTS))
    except (SafetensorError, RuntimeError, OSError) as error:
        raise ModelError(f"{folder / WEIGHTS}: does not fit {SPEC} or is damaged ({error})") from error
    return model.eval()


def read_spec(path: str | Path) -> ModelSpec:
    """Read the spec of a run by this version or an earlier one, whose missing options get their values of then.

    Raises
    ------
    ModelError
        The file is no model spec.
    """
    spec = ModelSpec.from_json(Path(path).read_text(encoding="utf-8"), str(path))
    defaults = MODELS[spec.model].defaults_of_old if spec.model in MODELS else {}
    return replace(spec, options={**defaults, **spec.options})
