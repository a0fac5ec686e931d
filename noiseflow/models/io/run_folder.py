"""Run folders: a model's weights and spec, without any executable content."""

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
"""Number of attempts to read a run that another process replaces meanwhile."""

SPEC_BYTES = 16 << 20
"""Largest spec that is read; specs made from a profile contain its numbers, some hundred kB."""


def holds_state(folder: str | Path) -> bool:
    """Whether a run folder contains a complete training state from which to resume."""
    return any(path.name.isdecimal() for path in (Path(folder) / STATE).glob("*"))


def where_state_is(folder: str | Path) -> Path:
    """The folder with the state to resume: the unfinished run that will replace the one in `folder`, or `folder`."""
    partial = partial_of(folder)
    return partial if _is_run(partial) and holds_state(partial) else Path(folder)


def reserve(folder: str | Path, *, overwrite: bool = False) -> Path:
    """Create an empty run folder with a file list; an existing run stays in place until `finish`.

    Parameters
    ----------
    folder : path
        Run folder to reserve.
    overwrite : bool
        Whether a run in it, or an unfinished run beside it, may be replaced.

    Returns
    -------
    Path
        The folder to write the run into: `folder`, or its `partial_of` if `folder` already contains a run.

    Raises
    ------
    OutputError
        The folder contains a run and `overwrite` is False, or it contains files not written by noiseflow.
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
    """Move a finished run from `work` to its final folder, and only then remove the previous run.

    Parameters
    ----------
    work : path
        Folder returned by `reserve`.
    folder : path
        Final run folder.

    Raises
    ------
    OutputError
        Files not written by noiseflow have appeared in `folder`; both runs are kept.
    """
    work, folder = Path(work), Path(folder)
    if work == folder:
        return
    try:
        install(work, folder, overwrite=True)
    except (OutputError, OSError) as error:
        said = f"{folder}: {error.strerror.lower()}" if isinstance(error, OSError) and error.strerror else str(error)
        raise OutputError(f"{said}; the new run is complete in {work}") from error


def _is_run(folder: Path) -> bool:
    known = listing(folder) if folder.is_dir() and not folder.is_symlink() else None
    return known is not None and known.kind == "run"


def _clear_unfinished(partial: Path, *, overwrite: bool) -> None:
    if not _is_run(partial):
        raise OutputError(f"{partial}: exists, but the new run must be written there; move it away")
    others = foreign(partial)
    if others:
        raise OutputError(f"{partial}: {describe_foreign(partial, others)}")
    if holds_state(partial) and not overwrite:
        raise OutputError(
            f"{partial}: contains an unfinished fit; pass --resume to continue it, or --overwrite to start again"
        )
    remove_ours(partial)


def release(folder: str | Path) -> None:
    """Remove the run folder of a failed start, if it contains neither a model nor a state to resume."""
    folder = Path(folder)
    whole = (folder / SPEC).is_file() and (folder / WEIGHTS).is_file()
    if folder.is_dir() and not whole and not holds_state(folder) and not foreign(folder):
        remove_ours(folder)


def save(model: NoiseModel, folder: str | Path) -> None:
    """Write a model's weights and spec into a run folder; each file is written atomically, the spec last.

    Parameters
    ----------
    model : NoiseModel
        Model to save.
    folder : path
        Run folder; it is created if it does not exist.

    Raises
    ------
    OutputError
        The folder contains a file of the same name that was not written by noiseflow.
    """
    folder = Path(folder)
    weights = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    write_listed(folder, WEIGHTS, _same_bytes(serialise(weights, {"unit": model.spec.unit, "model": model.spec.model})))
    write_listed(folder, SPEC, model.spec.to_json().encode())


def _same_bytes(content: bytes) -> bytes:
    """Sort the header of a safetensors file, whose order is arbitrary, so that equal weights give equal files."""
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
        The folder is not a run, or an unfinished one; a file was changed after it was written; the weights do not
        match the spec or are not finite; in a run without checksums, the noise is not plausible; or the run is
        replaced repeatedly while it is read.
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
            # The spec of one run must not be combined with the weights of another.
            if _files_of(folder) == before:
                return model
    raise ModelError(f"{folder}: is being replaced by another process; load it when that has finished")


def _files_of(folder: Path) -> list[tuple[int, ...]]:
    """Identities of the files under the names of a run's spec and weights: device, inode, time and size."""
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
        raise ModelError(f"{folder}: contains no finished model; continue the fit with `noiseflow fit … --resume`")
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
    """Read the spec of a run; options missing in specs of earlier versions get the defaults of that time.

    Raises
    ------
    ModelError
        The file is not a model spec.
    """
    spec = ModelSpec.from_json(read_text(Path(path), "the spec of a model", ModelError, most=SPEC_BYTES), str(path))
    defaults = MODELS[spec.model].defaults_of_old if spec.model in MODELS else {}
    return replace(spec, options={**defaults, **spec.options})
