"""How far one walks through the house: files entered and calls between files, for four pieces of work.

    python -m tools.trace

What is counted, at run time:

- A *file* is entered when a function, method, lambda or generator of a file of ``noiseflow/`` is called or resumed.
- An *edge* leads from the file of the caller to the file of the callee.  The caller is the nearest frame of
  ``noiseflow/`` on the stack, whatever frames of torch or h5py stand between.  Calls within a file are no edges.  A
  call from outside of the package (this tool, a thread's start) enters a file but makes no edge.
- Imports are not counted: nothing that runs below the execution of a module's body.  Neither are the methods of a
  dataclass that Python generates: they are in no file.
- Threads count; other processes do not, so an ingest runs in this process alone, as it does with ``--jobs 1``.
- What ran before in the process does not count: results that functions of the package remember are forgotten at the
  start, and the kernels, which may have to be compiled on a new machine, are loaded before anything is recorded.

Beside that, from the syntax trees: circles of imports between packages and between modules (imports inside of functions
count, those for type checking do not), and folders of the repository that show more than 16 entries: names that git
tracks and that do not begin with a dot.
"""

import ast
import functools
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from noiseflow.models.model import ModelSpec

__all__ = ["LIMITS", "MOST_ENTRIES", "Trip", "crowded_folders", "forget", "import_circles", "recorded", "trips"]

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "noiseflow"
MOST_ENTRIES = 16
"""Entries of a folder that one sees at a glance."""

LIMITS = {"fit": (35, 80), "evaluate": (40, 90), "augment": (14, 25), "ingest": (30, 60)}
"""Piece of work → most files entered, most edges."""


@dataclass
class Trip:
    """What one piece of work enters."""

    files: set[str] = field(default_factory=set)
    edges: set[tuple[str, str]] = field(default_factory=set)

    def within(self, limits: tuple[int, int]) -> bool:
        """Whether files and edges keep to `limits`."""
        return len(self.files) <= limits[0] and len(self.edges) <= limits[1]


class _Profiler:
    """A profile function, for `sys.setprofile`, that records calls between files of the package."""

    def __init__(self) -> None:
        self.trip = Trip()
        self.names: dict[str, str | None] = {}
        self.depths: dict[int, int] = {}

    def name_of(self, path: str) -> str | None:
        """The file relative to the package, or None for one outside of it."""
        if path not in self.names:
            inside = path.startswith(f"{PACKAGE}{os.sep}")
            self.names[path] = Path(path).relative_to(PACKAGE).as_posix() if inside else None
        return self.names[path]

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        if event not in ("call", "return"):
            return
        thread = threading.get_ident()
        if frame.f_code.co_name == "<module>":
            self.depths[thread] = self.depths.get(thread, 0) + (1 if event == "call" else -1)
            return
        if event == "return" or self.depths.get(thread, 0):
            return
        here = self.name_of(frame.f_code.co_filename)
        if here is None:
            return
        self.trip.files.add(here)
        caller = frame.f_back
        while caller is not None:
            there = self.name_of(caller.f_code.co_filename)
            if there is not None:
                if there != here:
                    self.trip.edges.add((there, here))
                return
            caller = caller.f_back


@contextmanager
def recorded() -> Iterator[Trip]:
    """Record what is called in here, by this thread and by those that it starts."""
    profiler = _Profiler()
    threading.setprofile(profiler)
    sys.setprofile(profiler)
    try:
        yield profiler.trip
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]


def trips(folder: Path) -> dict[str, Trip]:
    """Record a fit of `physics_flow`, its evaluation with the report, one call of `AddCameraNoise` and an ingest.

    Parameters
    ----------
    folder : path
        Where simulated frames, the patch store, the run and the report go.
    """
    import torch

    from noiseflow.augment import AddCameraNoise
    from noiseflow.evaluate import evaluate, write_report
    from noiseflow.fit import FitSettings, fit, spec_for
    from noiseflow.ops.native import _built
    from noiseflow.patches import IngestOptions, PatchStore, ingest
    from noiseflow.simulate import simulate, simulate_series

    found: dict[str, Trip] = {}
    forget()
    simulate_series(folder / "series", "PG-12", [400.0], size=(64, 96))
    simulate(folder / "raws", "PG-12", [400.0], scenes=10, size=(64, 96))
    with recorded() as found["ingest"]:
        ingest([folder / "series" / "burst"], folder / "burst.h5", IngestOptions(patch_size=8), jobs=1)
    ingest([folder / "raws"], folder / "patches.h5", IngestOptions(patch_size=16), jobs=1)
    with PatchStore(folder / "patches.h5") as store:
        settings, spec = FitSettings(epochs=1, steps_per_epoch=3, batch=8), spec_for(store, "physics_flow")
        loaded = _load_kernels(spec)
        with recorded() as found["fit"]:
            model = fit(store, spec, folder / "run", settings).model
        with recorded() as found["evaluate"]:
            write_report(evaluate({"physics_flow": model}, store), folder / "report")
    add_noise = AddCameraNoise(model, iso=400.0)
    with recorded() as found["augment"]:
        add_noise(torch.rand(2, 4, 16, 16))
    if (now := _built.cache_info().misses) != loaded:
        raise RuntimeError(f"{now - loaded} kernels were loaded while a trip was recorded; load them before")
    return {name: found[name] for name in LIMITS}


def forget() -> None:
    """Have the functions of the package forget the results that they remember."""
    for name, module in list(sys.modules.items()):
        if name == "noiseflow" or name.startswith("noiseflow."):
            for value in list(vars(module).values()):
                if isinstance(value, functools._lru_cache_wrapper):
                    value.cache_clear()


def _load_kernels(spec: "ModelSpec") -> int:
    """Load the kernels that fitting and sampling a model takes; the number of those loaded so far."""
    import torch

    from noiseflow.flows.conditions import Conditions
    from noiseflow.models.model import build
    from noiseflow.ops.native import _built, compiled

    model = build(spec)
    cond = Conditions(torch.rand(2, spec.planes, 16, 16), spec.isos[0])
    with compiled():
        model.log_prob(0.01 * torch.randn_like(cond.clean), cond).sum().backward()
    model.sample(cond)
    return _built.cache_info().misses


def crowded_folders(most: int = MOST_ENTRIES) -> dict[str, int]:
    """Folders that show more than `most` entries, of the files that git tracks or would add.

    Returns
    -------
    dict of int
        Folder, relative to the repository → number of its entries.
    """
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    output = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    entries: dict[str, set[str]] = {}
    for path in (Path(line) for line in output.splitlines() if (ROOT / line).exists()):
        for part, parent in zip((path, *path.parents), path.parents, strict=False):
            if not part.name.startswith("."):
                entries.setdefault(parent.as_posix(), set()).add(part.name)
    return {folder: len(names) for folder, names in sorted(entries.items()) if len(names) > most}


def module_imports() -> dict[str, set[str]]:
    """Module → modules of the package that it imports; a package stands for its ``__init__``."""
    files = {_module_of(file): file for file in sorted(PACKAGE.rglob("*.py"))}
    return {module: set(_imported(ast.parse(file.read_text("utf-8")), files)) for module, file in files.items()}


def _module_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _imported(tree: ast.AST, known: Mapping[str, object]) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                named = f"{node.module}.{alias.name}"
                yield from [name for name in (named, node.module) if name in known][:1]
        else:
            yield from _imported(node, known)


def import_circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups of two or more nodes of which each reaches every other."""
    reach = {node: _reached(graph, node) for node in graph}
    groups = {frozenset(other for other in reach[node] if node in reach.get(other, ())) | {node} for node in graph}
    return sorted(sorted(group) for group in groups if len(group) > 1)


def _reached(graph: Mapping[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting.extend(graph.get(node, ()))
    return seen


def package_imports() -> dict[str, set[str]]:
    """Package directly below ``noiseflow`` → the others that its modules import."""
    graph: dict[str, set[str]] = {}
    for module, imported in module_imports().items():
        here = ".".join(module.split(".")[:2])
        graph.setdefault(here, set()).update({".".join(each.split(".")[:2]) for each in imported} - {here})
    return graph


@click.command()
@click.option("--files", "listed", type=click.Choice(list(LIMITS)), help="Also list the files and edges of this trip.")
def main(listed: str | None) -> None:
    """Count the files entered and the calls between files of four pieces of work."""
    with tempfile.TemporaryDirectory() as folder:
        found = trips(Path(folder))
    click.echo(f"{'':10} {'files':>5} {'limit':>5}  {'edges':>5} {'limit':>5}")
    for name, trip in found.items():
        (files, edges), kept = LIMITS[name], "" if trip.within(LIMITS[name]) else "  over"
        click.echo(f"{name:10} {len(trip.files):5} {files:5}  {len(trip.edges):5} {edges:5}{kept}")
    if listed:
        for file in sorted(found[listed].files):
            after = sorted(callee for caller, callee in found[listed].edges if caller == file)
            click.echo(f"{file} → {', '.join(after)}")
    for what, graph in (("packages", package_imports()), ("modules", module_imports())):
        circles = import_circles(graph)
        click.echo(f"circles of imports between {what}: {len(circles) or 'none'}")
        for circle in circles:
            click.echo(f"  {', '.join(circle)}")
    crowded = crowded_folders()
    click.echo(f"folders with more than {MOST_ENTRIES} entries: {len(crowded) or 'none'}")
    for folder_name, count in crowded.items():
        click.echo(f"  {folder_name}: {count}")


if __name__ == "__main__":
    main()
