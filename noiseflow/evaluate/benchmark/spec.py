"""Spec of a benchmark: a TOML file that lists data sets and models."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from noiseflow.core.errors import DataError
from noiseflow.core.reading.schema import Choice, ListOf, MapOf, Number, Plain, Table, Text, checked
from noiseflow.core.reading.text import read_toml
from noiseflow.patches.schema import SPLITS

__all__ = ["BenchmarkSpec", "DataSpec", "ModelChoice", "digest", "read_spec"]

Entry = TypeVar("Entry", "DataSpec", "ModelChoice")

SPEC_BYTES = 1 << 20
"""Largest size of a spec, bytes."""

METRICS = ("judges", "proper_scores")
"""Metrics of `noiseflow.evaluate.metrics.registry.OPTIONAL` that have columns in the table."""

NAME, PATH = Text(100, 1), Text(4096, 1)
ISO = Number(0, 1e9, above=True)
SIDE = Number(1, 65_536, whole=True)

DATA_SCHEMA = Table(
    {"name": NAME},
    {
        "camera": NAME,
        "sources": ListOf(PATH, 0, 10_000),
        "store": PATH,
        "isos": ListOf(ISO, 0, 1000),
        "scenes": Number(1, 100_000, whole=True),
        "frames": Number(1, 100_000, whole=True),
        "size": ListOf(SIDE, 2, 2),
        "leave_out": ISO,
        "fingerprint": Text(64, 64, "[0-9a-f]*"),
        "ingest": MapOf(Plain()),
    },
)
FOREIGN_SCHEMA = Table(
    {"path": PATH},
    {
        "format": NAME,
        "camera": NAME,
        "cfa": NAME,
        "iso": ISO,
        "black": Number(0, 1e9),
        "white": Number(0, 1e9, above=True),
        "gain": Number(0, 1e9, above=True),
        "profile": PATH,
        "rename": MapOf(NAME),
    },
)
MODEL_SCHEMA = Table(
    {"name": NAME},
    {
        "model": Text(1000, 1),
        "run": PATH,
        "foreign": FOREIGN_SCHEMA,
        "samples": PATH,
        "fit": MapOf(Plain()),
        "options": MapOf(Plain()),
    },
)

SPEC_SCHEMA = Table(
    {"data": ListOf(DATA_SCHEMA, 1, 1000), "model": ListOf(MODEL_SCHEMA, 1, 1000)},
    {
        "title": Text(1000),
        "seed": Number(0, 2**32 - 1, whole=True),
        "split": Choice(SPLITS),
        "max_patches": Number(1, 2**40, whole=True),
        "reference": Choice(("nlf", "gaussian")),
        "metrics": ListOf(Choice(METRICS), 0, 10),
        "results": ListOf(PATH, 0, 1000),
    },
)
"""Schema of a spec; settings of ingest, fits and models are checked later, where they are used."""


@dataclass(frozen=True)
class DataSpec:
    """One data set: a simulated camera, raw files, or a patch store.

    Parameters
    ----------
    name : str
        Name of the data in the table.
    camera : str, optional
        Camera to simulate.
    sources : tuple of str
        Raw files or folders to ingest, relative to the spec.
    store : str, optional
        Existing patch store, relative to the spec.
    isos : tuple of float
        ISOs to simulate; all of the camera's if empty.
    scenes, frames : int
        Number of scenes to simulate, and of frames per scene.
    size : tuple of int
        Height and width of the simulated mosaic, pixels.
    leave_out : float, optional
        ISO to leave out: every model is also fitted without it, and scored at it.
    fingerprint : str, optional
        Required fingerprint of the store; other data is refused.
    ingest : mapping of str to Any
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
    """One model: fitted to each data set, or loaded from a run folder, a foreign model or a folder of samples.

    Parameters
    ----------
    name : str
        Name in the table.
    model : str, optional
        Registry name of the model to fit, or an architecture string; by default `name`.
    run : str, optional
        Run folder to load, relative to the spec.
    foreign : mapping of str to Any
        Model of another program: its ``path`` relative to the spec, its ``format``, and the other options of
        `noiseflow import`: ``camera``, ``cfa``, ``iso``, ``black``, ``white``, ``gain``, ``profile`` and ``rename``
        (old to new name).
    samples : str, optional
        Folder of samples for the data, relative to the spec; ``{data}`` is replaced by the name of the data.
    fit : mapping of str to Any
        Fields of `noiseflow.fit.FitSettings`.
    options : mapping of str to Any
        Options of the model's spec.
    """

    name: str
    model: str | None = None
    run: str | None = None
    foreign: Mapping[str, Any] = field(default_factory=dict)
    samples: str | None = None
    fit: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class BenchmarkSpec:
    """A list of models and a list of data sets.

    Parameters
    ----------
    title : str
        Heading of the page.
    data : tuple of DataSpec
        Data sets to score on.
    models : tuple of ModelChoice
        Models to fit or load.
    folder : Path
        Folder that all paths are relative to.
    seed : int
        Seed of simulation, splits, fits and samples.
    split : str
        Split to score.
    max_patches : int, optional
        Largest number of patches to score; None for all.
    reference : str
        Baseline that models are compared with: ``"nlf"`` or ``"gaussian"``, which are fitted to all data sets.
    metrics : tuple of str
        Additional metrics, from `METRICS`.
    results : tuple of str
        Paths of other people's ``results.json`` on the same data, relative to the spec; their rows are appended.
    """

    title: str
    data: tuple[DataSpec, ...]
    models: tuple[ModelChoice, ...]
    folder: Path
    seed: int = 0
    split: str = "test"
    max_patches: int | None = None
    reference: str = "nlf"
    metrics: tuple[str, ...] = ()
    results: tuple[str, ...] = ()


def read_spec(path: str | Path) -> BenchmarkSpec:
    """Read the TOML file of a benchmark.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    BenchmarkSpec
        The spec.

    Raises
    ------
    DataError
        No such file, not TOML, an unknown, missing or contradictory entry, an invalid name, or a name used twice.
    """
    path = Path(path)
    content = read_toml(path, "a benchmark spec in TOML", DataError, most=SPEC_BYTES)
    checked(content, SPEC_SCHEMA, str(path), DataError)
    data = tuple(_entry(DataSpec, entry) for entry in content.pop("data", []))
    models = tuple(_entry(ModelChoice, entry) for entry in content.pop("model", []))
    for kind, entries in (("data", data), ("model", models)):
        names = [entry.name for entry in entries]
        if len(set(names)) != len(names):
            raise DataError(f"{path}: expected different names of [[{kind}]]; got {', '.join(map(repr, names))}")
        for name in names:
            if not name.replace("-", "").replace("_", "").replace(".", "").replace(" ", "").isalnum():
                raise DataError(
                    f"{path}: [[{kind}]] {name!r}: expected a name of letters, digits, blanks and the signs . _ -"
                )
    for entry in data:
        given = [what for what in ("camera", "sources", "store") if getattr(entry, what)]
        if len(given) != 1:
            raise DataError(
                f"{path}: [[data]] {entry.name!r}: expected exactly one of camera, sources and store; got "
                f"{', '.join(given) or 'none'}"
            )
    for model in models:
        given = [what for what in ("run", "foreign", "samples") if getattr(model, what)]
        if len(given) > 1:
            raise DataError(
                f"{path}: [[model]] {model.name!r}: expected at most one of run, foreign and samples; got "
                f"{', '.join(given)}"
            )
    for name in ("metrics", "results"):
        content[name] = tuple(content.get(name, ()))
    return BenchmarkSpec(data=data, models=models, folder=path.parent, **{"title": path.stem, **content})


def _entry(kind: type[Entry], entry: Mapping[str, Any]) -> Entry:
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()}
    return kind(**values)


def digest(*parts: Any) -> str:
    """Return a checksum of dataclasses and JSON values, which identifies a finished part of a benchmark."""
    values = [asdict(part) if hasattr(part, "__dataclass_fields__") else part for part in parts]
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
