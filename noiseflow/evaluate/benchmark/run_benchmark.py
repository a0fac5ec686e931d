"""`benchmark`: fits and scores a list of models on a list of data sets, and writes one table."""

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from noiseflow.core.errors import DataError, OutputError
from noiseflow.core.output.checks import partial_of, writing
from noiseflow.core.output.folder import refilled_folder
from noiseflow.core.output.listed import fresh_folder, write_listed
from noiseflow.core.output.manifest import describe_foreign, foreign, listing
from noiseflow.core.progress import Progress, silent
from noiseflow.core.reading.schema import built
from noiseflow.core.version import __version__
from noiseflow.evaluate.benchmark.appended import rows_of_others
from noiseflow.evaluate.benchmark.cell import BenchmarkCell, record_in, run_cell
from noiseflow.evaluate.benchmark.given import content_digest, given_path
from noiseflow.evaluate.benchmark.page import write_results
from noiseflow.evaluate.benchmark.spec import BenchmarkSpec, DataSpec, digest
from noiseflow.patches import IngestOptions, PatchStore, ingest
from noiseflow.patches.ingestion.executors import Pool, executor, processors
from noiseflow.simulate import simulate

__all__ = ["benchmark", "prepare"]

DATA_BEGUN, DATA_RECORD = "begun.json", "data.json"
"""Records of data whose preparation has begun, and of finished data."""

KIND = "benchmark"
"""Kind of folder in its listing."""


def benchmark(
    spec: BenchmarkSpec,
    out: str | Path,
    *,
    jobs: int = 1,
    scheduler: str | None = None,
    device: str = "cpu",
    progress: Progress = silent,
) -> list[dict[str, Any]]:
    """Run the unfinished part of a benchmark, and write its table and page.

    The folder `out` contains ``data/NAME/`` (raw files, store), ``cells/DATA/MODEL/`` (run, report,
    ``cell.json``), ``results.json``, ``results.md`` and ``index.html``.  Data and cells are recorded with a
    checksum of everything they depend on.  Those finished with the same checksum are not run
    again.  If a cell fails, its row shows the error, and the other cells are run.

    Parameters
    ----------
    spec : BenchmarkSpec
        Data sets and models.
    out : path
        Folder to write or to continue.
    jobs : int
        Number of cells run at a time, each in its own process.
    scheduler : str, optional
        Address of a Dask scheduler to use instead.  Its workers must be able to read the spec's data
        and write `out` under the same paths.  A cell whose worker is lost is run again by another.
    device : str
        Device for fitting, sampling and scoring, unless a model of the spec names another.  Finished cells are not run
        again on another device.
    progress : Progress
        Called with the number of cells done.

    Returns
    -------
    list of dict
        The rows of the table.

    Raises
    ------
    NoiseflowError
        The data cannot be made or read, `out` cannot be used, or no scheduler answers.
    """
    if jobs < 1:
        raise DataError(f"jobs: expected 1 or more; got {jobs}")
    # Use absolute paths, because a worker may have another working directory.
    base = spec.folder.resolve()
    with writing(out, folder=True, inputs=_inputs(spec, base), goes_on=True) as out:
        return _benchmark(spec, base, _opened(out).resolve(), jobs, scheduler, device, progress)


def _inputs(spec: BenchmarkSpec, base: Path) -> list[Path]:
    """Return all files and folders that a benchmark reads."""
    named = [path for data in spec.data for path in (*data.sources, *([data.store] if data.store else []))]
    models = [given_path(model, base, data.name) for model in spec.models for data in spec.data]
    return [*(base / path for path in (*named, *spec.results)), *(path for path in models if path is not None)]


def _opened(out: Path) -> Path:
    """Create the folder of a benchmark, or check that an existing one was made by a benchmark.

    Raises
    ------
    OutputError
        The folder was not made by a benchmark.
    """
    if not out.exists() or not any(out.iterdir()):
        fresh_folder(out, KIND)
    known = listing(out)
    if known is None or known.kind != KIND:
        raise OutputError(f"{out}: {describe_foreign(out, foreign(out))}")
    return out


def _benchmark(
    spec: BenchmarkSpec, base: Path, out: Path, jobs: int, scheduler: str | None, device: str, progress: Progress
) -> list[dict[str, Any]]:
    """Prepare the data, run the cells, append other people's rows, and write the table."""
    total = len(spec.data) * len(spec.models)
    rows: dict[str, dict[str, Any]] = {}
    with executor(jobs, scheduler) as pool:
        progress(0, total, "data")
        calls = [(data, base, out / "data" / data.name, spec.seed) for data in spec.data]
        prepared = dict(_as_they_come(pool, prepare, calls))
        cells = [
            BenchmarkCell(
                folder=out / "cells" / data.name / model.name,
                store=prepared[number][0],
                fingerprint=prepared[number][1],
                data=data.name,
                model=model,
                base=base,
                seed=spec.seed,
                split=spec.split,
                max_patches=spec.max_patches,
                reference=spec.reference,
                leave_out=data.leave_out,
                device=device,
                metrics=spec.metrics,
                given="" if (path := given_path(model, base, data.name)) is None else content_digest(path),
            )
            for number, data in enumerate(spec.data)
            for model in spec.models
        ]
        for done, (number, row) in enumerate(_as_they_come(pool, run_cell, [(cell,) for cell in cells]), start=1):
            rows[_place(cells[number])] = row
            progress(done, total, f"{row['model']} on {row['data']}")
    ordered = [rows[_place(cell)] for cell in cells]
    fingerprints = {data.name: prepared[number][1] for number, data in enumerate(spec.data)}
    for name in spec.results:
        ordered += rows_of_others(base / name, fingerprints, spec.split)
    write_results(spec, ordered, out)
    return ordered


def prepare(data: DataSpec, base: Path, folder: Path, seed: int) -> tuple[Path, str]:
    """Simulate or ingest a data set, unless it is finished.

    Parameters
    ----------
    data : DataSpec
        The data set.
    base : Path
        Folder that its paths are relative to.
    folder : Path
        Folder to write; not used for an existing store.
    seed : int
        Seed of simulation and splits.

    Returns
    -------
    path : Path
        Patch store.
    fingerprint : str
        Its fingerprint.

    Raises
    ------
    DataError
        The store has another fingerprint than the spec requires.
    NoiseflowError
        The data cannot be simulated, ingested or read.
    """
    if data.store is not None:
        path = (base / data.store).resolve()
    else:
        path = folder / "patches.h5"
        key = digest("data", __version__, data, seed)
        folder.parent.mkdir(exist_ok=True)
        with writing(folder, folder=True, goes_on=True):
            if record_in(folder / DATA_RECORD).get("key") != key or not path.exists():
                made = {"marked": path.name}, {"folder": "raws"}, {"folder": partial_of(path).name}
                goes_on = record_in(folder / DATA_BEGUN).get("key") == key
                with nullcontext() if goes_on else refilled_folder(folder, "data", *made):
                    if not goes_on:
                        write_listed(folder, DATA_BEGUN, json.dumps({"key": key}).encode())
                    _make(data, base, folder, path, seed)
                    content = {"key": key, "data": asdict(data), "seed": seed}
                    write_listed(folder, DATA_RECORD, json.dumps(content, indent=1).encode())
    with PatchStore(path) as store:
        fingerprint = store.fingerprint
    if data.fingerprint not in (None, fingerprint):
        raise DataError(
            f"{path}: expected data of fingerprint {data.fingerprint}; got {fingerprint}. Get the right data, or "
            "change the fingerprint in the spec"
        )
    return path, fingerprint


def _make(data: DataSpec, base: Path, folder: Path, path: Path, seed: int) -> None:
    """Simulate raw files if the data set names a camera, and ingest."""
    sources = [(base / source).resolve() for source in data.sources]
    if data.camera is not None:
        sources = [folder / "raws"]
        # The folder appears only when complete, so an earlier, interrupted call may have left it to be used.
        if not sources[0].exists():
            simulate(
                sources[0],
                data.camera,
                data.isos or None,
                scenes=data.scenes,
                size=data.size,
                frames=data.frames,
                seed=seed,
            )
    options = built(IngestOptions, {"seed": seed, **data.ingest}, f"[[data]] {data.name!r}: ingest", DataError)
    # A worker process must not start processes of its own.
    if not path.exists():
        ingest(sources, path, options, jobs=1)


def _place(cell: BenchmarkCell) -> str:
    return str(cell.folder)


def _as_they_come(
    pool: Pool, function: Callable[..., Any], calls: Sequence[tuple[Any, ...]]
) -> Iterator[tuple[int, Any]]:
    """Run calls in a pool, at most one per worker at a time, and yield index and result of each as it finishes."""
    left = iter(enumerate(calls))
    running: dict[Future[Any], int] = {}
    try:
        while True:
            for number, arguments in itertools.islice(left, pool.workers - len(running)):
                running[pool.submit(_by_itself, pool.workers, function, arguments)] = number
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()
    finally:
        for future in running:
            future.cancel()


def _by_itself(workers: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Call a function with this process's share of the processors."""
    if workers > 1:
        torch.set_num_threads(max(processors() // workers, 1))
    return function(*arguments)
