"""Where the work of an ingest runs: here, in processes of this machine, or on a Dask cluster."""

import ctypes
import multiprocessing
import multiprocessing.context
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noiseflow.errors import NoiseflowError

__all__ = ["SMALL_BYTES", "InThisProcess", "Pool", "executor", "processors", "start_ahead"]


SECONDS_TO_ANSWER = 10.0
"""Of a Dask scheduler."""

SMALL_BYTES = 1 << 26
"""Sources of less than 64 MiB are read in this process: others would take longer to start."""

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Parameters of glibc's `mallopt`."""

MOST_KEPT = 1 << 28
"""Bytes of free memory that a process keeps: the frames of a large sensor, its codes and their copy."""


@dataclass(frozen=True)
class Pool:
    """Something that runs calls, and how many at a time."""

    executor: Executor
    workers: int

    def submit(self, call: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        """Run a call of a function of a module, some time."""
        return self.executor.submit(call, *arguments)


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


class InThisProcess(Executor):
    """Runs each call when it is submitted."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Call it now; its error is in the future, as with any executor."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@contextmanager
def executor(jobs: int, scheduler: str | None = None) -> Iterator[Pool]:
    """An executor for the time of a block.

    Parameters
    ----------
    jobs : int
        Processes; 1 is this one.
    scheduler : str, optional
        Address of a Dask scheduler, such as ``tcp://host:8786``, whose workers reach the
        sources and the store's folder under the same names.

    Raises
    ------
    NoiseflowError
        ``dask.distributed`` is not installed, or nothing answers at that address.
    """
    if scheduler is not None:
        with _cluster(scheduler) as cluster:
            yield cluster
    elif jobs == 1:
        yield Pool(InThisProcess(), 1)
    else:
        pool = ProcessPoolExecutor(jobs, mp_context=_starting(), initializer=keep_memory)
        try:
            yield Pool(pool, jobs)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def start_ahead(sources: Iterable[Path], jobs: int | None = None, modules: Sequence[str] = ()) -> None:
    """Begin to start the process that others are copied from, if an ingest of these sources is likely to want any.

    It imports what the work needs, while this process does so too.

    Parameters
    ----------
    sources : iterable of Path
        Files and folders; what cannot be read is not counted.
    jobs : int, optional
        Processes wanted; as the sizes of the sources say if None.
    modules : sequence of str
        What is likely to be wanted beside, and takes long to import.
    """
    context = _starting(modules)
    if context.get_start_method() == "forkserver" and ((jobs or 1) > 1 or (jobs is None and _large(sources))):
        from multiprocessing import forkserver

        forkserver.ensure_running()


def _large(sources: Iterable[Path]) -> bool:
    size = 0
    for file in (file for source in sources for file in _files(source)):
        with suppress(OSError):
            size += file.stat().st_size
        if size >= SMALL_BYTES:
            return processors() > 1
    return False


def _files(source: Path) -> Iterator[Path]:
    if not source.is_dir():
        yield source
    for folder, _, names in os.walk(source):
        yield from (Path(folder, name) for name in names)


def _starting(modules: Sequence[str] = ()) -> multiprocessing.context.BaseContext:
    """How processes are started: as copies of one that has imported what the work needs, and done nothing yet.

    Copies of this one would inherit the threads of torch, HDF5 and OpenMP half-way through their work.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["noiseflow.patches.work", *modules])
    return context


def keep_memory() -> None:
    """Let this process keep the memory of one frame for the next.

    The C library gives large blocks back to the system, which takes a quarter of a frame's decoding to clear
    their pages anew.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, MOST_KEPT)


@contextmanager
def _cluster(address: str) -> Iterator[Pool]:
    try:
        import distributed
    except ImportError as error:
        raise NoiseflowError("--scheduler needs dask.distributed: pip install 'camera-noiseflow[cluster]'") from error
    try:
        client: Any = distributed.Client(address, timeout=SECONDS_TO_ANSWER, set_as_default=False)
    except OSError as error:
        raise NoiseflowError(f"{address}: no Dask scheduler answers ({error})") from error
    try:
        # The same part made twice is the same part: a lost worker's work is given to another.
        yield Pool(client.get_executor(pure=False, retries=3), sum(client.ncores().values()) or 1)
    finally:
        client.close()
