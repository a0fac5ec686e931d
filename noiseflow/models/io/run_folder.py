"""Run folders: a model's weights and spec, without anything that executes."""

import json
import os
from dataclasses import replace
from pathlib import Path

from safetensors.torch import save as serialise

from noiseflow.core.errors import ModelError, OutputError
from noiseflow.core.output.checks import check_output, holds_files, partial_of
from noiseflow.core.output.folder import install
from noiseflow.core.output.listed import fresh_folder, write_listed
from noiseflow.core.output.manifest import describe_foreign, foreign, listing, remove_ours
from noiseflow.core.output.verified import check_file
from noiseflow.core.reading.text import read_text
from noiseflow.models.io.weights import building, check_plausible, fill, read_tensors, within_means
from noiseflow.models.model import MODELS, ModelSpec, NoiseModel, build

__all__ = [
    "SPEC",
    "STATE",
    "WEIGHTS",
    "finish",
    "holds_state",
    "load",
    "read_spec",
    "release",
    "reserve",
    "save",
    "where_state_is",
]

SPEC = "spec.json"
WEIGHTS = "model.safetensors"
STATE = "state"

READINGS = 3
"""Times that a run is read if it is replaced meanwhile."""

SPEC_BYTES = 16 << 20
"""Largest spec that is read: one of a profile holds its numbers, some hundred kB."""


def holds_state(folder: str | Path) -> bool:
    """Whether a run folder holds a complete state of a training to resume."""
    return any(path.name.isdecimal() for path in (Path(folder) / STATE).glob("*"))


def where_state_is(folder: str | Path) -> Path:
    """The folder with the state to resume: of the run that is to replace the one in `folder`, or of that one."""
    partial = partial_of(folder)
    return partial if _is_run(partial) and holds_state(partial) else Path(folder)


def reserve(folder: str | Path, *, overwrite: bool = False) -> Path:
    """Make an empty run folder with a list of its files; a run that stands there stays until `finish`.

    Parameters
    ----------
    folder : path
        Run folder to reserve.
    overwrite : bool
        Whether a run in it, or an unfinished one beside it, may be replaced.

    Returns
    -------
    Path
        The folder to write the run into: `folder`, or its `partial_of` where a run stands.

    Raises
    ------
    OutputError
        The folder holds a run and `overwrite` is not set, or something that we did not write.
    """
    folder, partial = Path(folder), partial_of(folder)
    check_output(folder, folder=True, overwrite=overwrite)
    stands = folder.is_dir() and holds_files(folder)
    if os.path.lexists(partial) and (stands or _is_run(partial)):
        _clear_unfinished(partial, overwrite=overwrite)
    work = partial if stands else folder
    fresh_folder(work, "run")
    return work


def finish(work: str | Path, folder: str | Path) -> None:
    """Give a run that was made in `partial_of` its folder its name, and only then remove the run that had it.

    Raises
    ------
    OutputError
        Something that is not ours has come to stand in the place; both runs stay.
    """
    work, folder = Path(work), Path(folder)
    if work == folder:
        return
    try:
        install(work, folder, overwrite=True)
    except (OutputError, OSError) as error:
        said = f"{folder}: {error.strerror.lower()}" if isinstance(error, OSError) and error.strerror else str(error)
        raise OutputError(f"{said}; the new run is whole in {work}") from error


def _is_run(folder: Path) -> bool:
    known = listing(folder) if folder.is_dir() and not folder.is_symlink() else None
    return known is not None and known.kind == "run"


def _clear_unfinished(partial: Path, *, overwrite: bool) -> None:
    if not _is_run(partial):
        raise OutputError(f"{partial}: is in the way of the run that is made there; move it away")
    others = foreign(partial)
    if others:
        raise OutputError(f"{partial}: {describe_foreign(partial, others)}")
    if holds_state(partial) and not overwrite:
        raise OutputError(
            f"{partial}: holds an unfinished fit; pass --resume to go on with it, or --overwrite to start anew"
        )
    remove_ours(partial)


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
    write_listed(folder, WEIGHTS, _same_bytes(serialise(weights, {"unit": model.spec.unit, "model": model.spec.model})))
    write_listed(folder, SPEC, model.spec.to_json().encode())


def _same_bytes(content: bytes) -> bytes:
    """Sort the head of a safetensors file, whose remarks have any order: equal weights are equal files."""
    size = int.from_bytes(content[:8], "little")
    head = json.dumps(json.loads(content[8 : 8 + size]), sort_keys=True, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    return len(head).to_bytes(8, "little") + head + content[8 + size :]


def load(folder: str | Path) -> NoiseModel:
    """Load a noise model from its run folder, in evaluation mode.

    Parameters
    ----------
    folder : path
        Run folder of `noiseflow fit` or `noiseflow import`.

    Raises
    ------
    ModelError
        No run folder, an unfinished one, a file that was changed since it was written, weights that do not match the
        spec or are not finite, or, of a run without checksums, noise that no camera has; or it is replaced again and
        again while it is read.
    """
    folder = Path(folder)
    for _ in range(READINGS):
        before = _files_of(folder)
        try:
            model = _load(folder)
        except ModelError:
            if _files_of(folder) == before:
                raise
        else:
            # The spec of one run with the weights of another would be a model that nobody fitted.
            if _files_of(folder) == before:
                return model
    raise ModelError(f"{folder}: is being replaced by another process; load it when that has ended")


def _files_of(folder: Path) -> list[tuple[int, ...]]:
    """Which files stand under the names of a run's spec and weights."""
    found: list[tuple[int, ...]] = []
    for name in (SPEC, WEIGHTS):
        try:
            about = (folder / name).stat()
            found.append((about.st_dev, about.st_ino, about.st_mtime_ns, about.st_size))
        except OSError:
            found.append(())
    return found


def _load(folder: Path) -> NoiseModel:
    if not (folder / SPEC).is_file():
        raise ModelError(f"{folder}: no {SPEC} in it; expected a run folder of `noiseflow fit` or `noiseflow import`")
    if not (folder / WEIGHTS).is_file():
        raise ModelError(f"{folder}: holds no finished model; go on with `noiseflow fit … --resume`")
    protected = check_file(folder / SPEC, ModelError)
    spec = read_spec(folder / SPEC)
    weights = read_tensors(folder / WEIGHTS)
    within_means(spec.options, weights, folder / SPEC)
    with building(folder / SPEC):
        model = build(spec)
    fill(model, weights, folder / WEIGHTS, SPEC)
    model.eval()
    if not protected:
        with building(folder / SPEC):
            check_plausible(model, folder / WEIGHTS)
    return model


def read_spec(path: str | Path) -> ModelSpec:
    """Read the spec of a run by this version or an earlier one, whose missing options get their values of then.

    Raises
    ------
    ModelError
        The file is no model spec.
    """
    spec = ModelSpec.from_json(read_text(Path(path), "the spec of a model", ModelError, most=SPEC_BYTES), str(path))
    defaults = MODELS[spec.model].defaults_of_old if spec.model in MODELS else {}
    return replace(spec, options={**defaults, **spec.options})
