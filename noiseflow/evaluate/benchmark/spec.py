"""What a benchmark is made of: a TOML file of data and models."""

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from noiseflow.core.errors import DataError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["BenchmarkSpec", "DataSpec", "ModelChoice", "digest", "read_spec"]

Table = TypeVar("Table", "DataSpec", "ModelChoice")


@dataclass(frozen=True)
class DataSpec:
    """One set of data: a simulated camera, raw files, or a patch store.

    Parameters
    ----------
    name : str
    camera : str, optional
        Simulated, with `isos` (all of the camera's if none), `scenes`, `frames`, `size`.
    sources : tuple of str
        Raw files or folders to ingest, relative to the spec.
    store : str, optional
        A patch store as it is, relative to the spec.
    leave_out : float, optional
        An ISO: every model is fitted once more without it, and scored at it.
    fingerprint : str, optional
        What the store's content must be; another one is refused.
    ingest : mapping
        Fields of `noiseflow.patches.IngestOptions`.
    """

    name: str
    camera: str | None = None
    sources: tuple[str, ...] = ()
    store: str | None = None
    isos: tuple[float, ...] = ()
    scenes: int = 18
    frames: int = 1
    size: tuple[int, int] = (512, 768)
    leave_out: float | None = None
    fingerprint: str | None = None
    ingest: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelChoice:
    """One model: fitted to each set of data, or a run folder as it is.

    Parameters
    ----------
    name : str
        Of its column.
    model : str, optional
        In the registry, or an architecture string; `name` if not given.
    run : str, optional
        A run folder, relative to the spec; nothing is fitted.
    fit : mapping
        Fields of `noiseflow.fit.FitSettings`.
    options : mapping
        Of the model's spec.
    """

    name: str
    model: str | None = None
    run: str | None = None
    fit: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class BenchmarkSpec:
    """A list of models on a list of data.

    Parameters
    ----------
    title : str
    seed : int
        Of simulation, splits, fits and samples.
    split : str
        That is scored.
    max_patches : int, optional
        Scored at the most.
    reference : str
        Model to which differences are given: ``"nlf"`` or ``"gaussian"``, which are fitted to
        all data.
    data : tuple of DataSpec
    models : tuple of ModelChoice
    folder : Path
        That paths in it are relative to.
    """

    title: str
    data: tuple[DataSpec, ...]
    models: tuple[ModelChoice, ...]
    folder: Path
    seed: int = 0
    split: str = "test"
    max_patches: int | None = None
    reference: str = "nlf"


def read_spec(path: str | Path) -> BenchmarkSpec:
    """Read a benchmark's TOML file.

    Raises
    ------
    DataError
        No such file, no TOML, an unknown or missing entry, a name twice.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise DataError(f"{path}: is no regular file; expected a benchmark spec in TOML")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such benchmark spec") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: is no TOML file ({error})") from error
    data = tuple(_table(DataSpec, entry, f"{path}: [[data]]") for entry in content.pop("data", []))
    models = tuple(_table(ModelChoice, entry, f"{path}: [[model]]") for entry in content.pop("model", []))
    for kind, entries in (("data", data), ("model", models)):
        names = [entry.name for entry in entries]
        if not names or len(set(names)) != len(names):
            raise DataError(f"{path}: expected at least one [[{kind}]] and no name twice; got {names}")
        for name in names:
            if not name.replace("-", "").replace("_", "").replace(".", "").replace(" ", "").isalnum():
                raise DataError(f"{path}: [[{kind}]] {name!r}: a name is of letters, digits, blanks and . _ -")
    for entry in data:
        given = [what for what in ("camera", "sources", "store") if getattr(entry, what)]
        if len(given) != 1:
            raise DataError(f"{path}: [[data]] {entry.name!r}: expected one of camera, sources, store; got {given}")
    known = {each.name for each in fields(BenchmarkSpec)} - {"data", "models", "folder"}
    _refuse_unknown(content, known, str(path))
    if content.get("reference", "nlf") not in ("nlf", "gaussian"):
        raise DataError(f"{path}: reference: expected nlf or gaussian; got {content['reference']!r}")
    return BenchmarkSpec(data=data, models=models, folder=path.parent, **{"title": path.stem, **content})


def _table(kind: type[Table], entry: Mapping[str, Any], where: str) -> Table:
    _refuse_unknown(entry, {each.name for each in fields(kind)}, where)
    needed = [each.name for each in fields(kind) if each.default is MISSING and each.default_factory is MISSING]
    for name in needed:
        if name not in entry:
            raise DataError(f"{where}: expected an entry {name!r}; got {sorted(entry)}")
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()}
    return kind(**values)


def _refuse_unknown(entry: Mapping[str, Any], known: set[str], where: str) -> None:
    unknown: Sequence[str] = sorted(set(entry) - known)
    if unknown:
        raise DataError(f"{where}: {unknown[0]!r} is not known; expected some of {', '.join(sorted(known))}")


def digest(*parts: Any) -> str:
    """Checksum of dataclasses and JSON values: what a finished part of a benchmark is known by."""
    values = [asdict(part) if hasattr(part, "__dataclass_fields__") else part for part in parts]
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
