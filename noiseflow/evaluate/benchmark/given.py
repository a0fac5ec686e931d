"""Models of a benchmark that are loaded instead of fitted: runs, foreign models, and folders of samples."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from noiseflow.core.output.manifest import digest_of
from noiseflow.evaluate.benchmark.spec import ModelChoice
from noiseflow.models import NoiseModel, load
from noiseflow.patches.store.store import PatchStore

__all__ = ["content_digest", "given_model", "given_path"]


def given_path(choice: ModelChoice, base: Path, data: str) -> Path | None:
    """Return the path from which a model is loaded.

    Parameters
    ----------
    choice : ModelChoice
        Entry of the model in the spec.
    base : Path
        Folder that its paths are relative to.
    data : str
        Name of the data, for folders of samples.

    Returns
    -------
    Path or None
        The path; None for a model that is fitted.
    """
    if choice.run is not None:
        return base / choice.run
    if choice.foreign:
        return base / str(choice.foreign["path"])
    return base / choice.samples.format(data=data) if choice.samples is not None else None


def given_model(choice: ModelChoice, base: Path, data: str, store: PatchStore, split: str) -> NoiseModel:
    """Load the model of an entry that has a path.

    Parameters
    ----------
    choice : ModelChoice
        Entry of the model in the spec, with a run, a foreign model or samples.
    base : Path
        Folder that its paths are relative to.
    data : str
        Name of the data, for folders of samples.
    store : PatchStore
        Store to score on.
    split : str
        Split to score.

    Returns
    -------
    NoiseModel
        The model.

    Raises
    ------
    ModelError
        A missing, damaged or unsuitable model.
    """
    path = given_path(choice, base, data)
    assert path is not None
    if choice.samples is not None:
        from noiseflow.evaluate.samples.drawn import read_samples

        return read_samples(path, store, split)
    return _foreign(path, choice.foreign, base) if choice.foreign else load(path)


def _foreign(path: Path, options: Mapping[str, Any], base: Path) -> NoiseModel:
    """Import a model of another program with the options of its entry in the spec."""
    from noiseflow.models.foreign.formats import import_model, renamed
    from noiseflow.models.foreign.source import ForeignSource
    from noiseflow.raw.settings import RawSettings

    raw = {name: options[name] for name in ("camera", "iso", "white", "cfa") if name in options}
    black = (float(options["black"]),) if "black" in options else None
    profile = options.get("profile")
    beside = base / profile if profile is not None and (base / profile).exists() else profile
    source = ForeignSource(
        path, RawSettings(**raw, black=black), options.get("gain"), None if beside is None else Path(beside)
    )
    model = import_model(source, options.get("format"))
    for old, new in options.get("rename", {}).items():
        model = renamed(model, old, new)
    return model


def content_digest(path: Path) -> str:
    """Return a checksum of a file, or of the names and contents of all files in a folder."""
    if path.is_file():
        return digest_of(path)
    digest = hashlib.sha256()
    for file in sorted(each for each in path.rglob("*") if each.is_file()):
        digest.update(f"{file.relative_to(path)} {digest_of(file)}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
