"""Run folders: a model's weights and spec, without anything that executes."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from noiseflow.core.errors import ModelError
from noiseflow.models.model import MODELS, NoiseModel, build
from noiseflow.models.spec import ModelSpec

__all__ = ["SPEC", "STATE", "WEIGHTS", "holds_state", "load", "read_spec", "reserve", "save", "write_text"]

SPEC = "spec.json"
WEIGHTS = "model.safetensors"
STATE = "state"


def holds_state(folder: str | Path) -> bool:
    """Whether a run folder holds a whole state of a training to go on from."""
    return any(path.name.isdecimal() for path in (Path(folder) / STATE).glob("*"))


def reserve(folder: str | Path, *, overwrite: bool = False) -> None:
    """Make an empty run folder, or empty one that holds a run; a state that never became whole is no run.

    Raises
    ------
    ModelError
        If the folder holds a run and `overwrite` is not set, or holds something else.
    """
    folder = Path(folder)
    never_whole = (folder / STATE).is_dir() and [path.name for path in folder.iterdir()] == [STATE]
    if (folder / SPEC).exists() or (folder / STATE).exists():
        if not overwrite and (holds_state(folder) or not never_whole):
            raise ModelError(f"{folder}: holds a run already; pass --overwrite to replace it or choose another name")
        shutil.rmtree(folder)
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ModelError(f"{folder}: exists and is no run folder; choose another name")
    folder.mkdir(parents=True, exist_ok=True)


def save(model: NoiseModel, folder: str | Path) -> None:
    """Write a model's spec and weights into a folder; each file takes its name when it is whole."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / SPEC, model.spec.to_json())
    weights = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    partial = folder / (WEIGHTS + ".partial")
    save_file(weights, partial, metadata={"unit": model.spec.unit, "model": model.spec.model})
    os.replace(partial, folder / WEIGHTS)


def load(folder: str | Path) -> NoiseModel:
    """Load a noise model from its run folder, in evaluation mode.

    Parameters
    ----------
    folder : path
        As `noiseflow fit` and `noiseflow import` write it.

    Raises
    ------
    ModelError
        No run folder, an unfinished one, or weights that do not fit the spec.
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
    """A run's spec, by this version or an earlier one, with what the earlier one left out.

    Raises
    ------
    ModelError
        If it is no model spec.
    """
    spec = ModelSpec.from_json(Path(path).read_text(encoding="utf-8"), str(path))
    left_out = MODELS[spec.model].left_out if spec.model in MODELS else {}
    return replace(spec, options={**left_out, **spec.options})


def write_text(path: Path, text: str) -> None:
    """Write a text file that takes its name only when it is whole."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
