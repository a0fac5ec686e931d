"""Models of a benchmark that are not fitted: runs, foreign models, and samples that were drawn before."""

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
    """What a model is read from; None for one that is fitted.

    Parameters
    ----------
    choice : ModelChoice
        Its entry in the spec.
    base : Path
        Folder that its paths are relative to.
    data : str
        Name of the data, for samples.
    """
    if choice.run is not None:
        return base / choice.run
    if choice.foreign:
        return base / str(choice.foreign["path"])
    return base / choice.samples.format(data=data) if choice.samples is not None else None


def given_model(choice: ModelChoice, base: Path, data: str, store: PatchStore, split: str) -> NoiseModel:
    """The model of an entry that `given_path` has a path for."""
    path = given_path(choice, base, data)
    assert path is not None
    if choice.samples is not None:
        from noiseflow.evaluate.samples.drawn import read_samples

        return read_samples(path, store, split)
    return _foreign(path, choice.foreign, base) if choice.foreign else load(path)


def _foreign(path: Path, said: Mapping[str, Any], base: Path) -> NoiseModel:
    from noiseflow.models.foreign.formats import import_model, renamed
    from noiseflow.models.foreign.source import ForeignSource
    from noiseflow.raw.settings import RawSettings

    raw = {name: said[name] for name in ("camera", "iso", "white", "cfa") if name in said}
    black = (float(said["black"]),) if "black" in said else None
    profile = said.get("profile")
    beside = base / profile if profile is not None and (base / profile).exists() else profile
    source = ForeignSource(
        path, RawSettings(**raw, black=black), said.get("gain"), None if beside is None else Path(beside)
    )
    model = import_model(source, said.get("format"))
    for old, new in said.get("rename", {}).items():
        model = renamed(model, old, new)
    return model


def content_digest(path: Path) -> str:
    """Checksum of a file, or of the names and contents of a folder's files; empty if there is nothing."""
    if path.is_file():
        return digest_of(path)
    digest = hashlib.sha256()
    for file in sorted(each for each in path.rglob("*") if each.is_file()):
        digest.update(f"{file.relative_to(path)} {digest_of(file)}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
