"""Where the work of an ingest runs: here, in processes of this machine, or on a Dask cluster."""

import ctypes
import multiprocessing
import multiprocessing.context
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noiseflow.core.errors import NoiseflowError
from noiseflow.core.extras import install

__all__ = ["SMALL_BYTES", "InThisProcess", "Pool", "executor", "one_thread", "processors"]


MOST_PROCESSES = 1024
"""Processes of one machine; more is a slip of the finger, and starting them would stop the machine."""

SECONDS_TO_ANSWER = 10.0
"""Of a Dask scheduler."""

SMALL_BYTES = 1 << 26
"""Sources of less than 64 MiB are read in this process: others would take longer to start."""

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Parameters of glibc's `mallopt`."""

PR_SET_PDEATHSIG = 1
"""Of Linux' `prctl`: which signal to get when the parent ends."""

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
        More processes than machines run, ``dask.distributed`` is not installed, or nothing answers at that address.
    """
    if not 1 <= jobs <= MOST_PROCESSES:
        raise NoiseflowError(f"jobs: expected 1 to {MOST_PROCESSES:,} processes; got {jobs:,}")
    if scheduler is not None:
        with _cluster(scheduler) as cluster:
            yield cluster
    elif jobs == 1:
        yield Pool(InThisProcess(), 1)
    else:
        pool = ProcessPoolExecutor(jobs, mp_context=_starting(), initializer=_settle)
        try:
            yield Pool(pool, jobs)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _starting() -> multiprocessing.context.BaseContext:
    """How processes are started: as copies of this one where it is one thread, which takes no time.

    A copy of one with threads, of torch, HDF5 or OpenMP, has them half-way through their work.  Then they are copies
    of a process that imports what the work needs, and does nothing else.
    """
    methods = multiprocessing.get_all_start_methods()
    if _alone() or "forkserver" not in methods:
        return multiprocessing.get_context("fork" if _alone() else "spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["noiseflow.patches.ingestion.tasks"])
    from multiprocessing import forkserver

    # It imports that while this one goes on.
    forkserver.ensure_running()
    return context


def _alone() -> bool:
    """Whether this process is one thread, as far as the system tells."""
    threads = Path("/proc/self/task")
    return threads.is_dir() and len(os.listdir(threads)) == 1


def one_thread() -> None:
    """Have NumPy start no threads when it is imported: an ingest multiplies no large matrices."""
    if "numpy" not in sys.modules:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _settle() -> None:
    """Prepare a process that others give work to."""
    keep_memory()
    # A Ctrl-C on a terminal goes to all processes: the first one stops the others when their call is done.
    for number, handler in (
        (signal.SIGINT, signal.SIG_IGN),
        (signal.SIGHUP, signal.SIG_IGN),
        (signal.SIGTERM, signal.SIG_DFL),
    ):
        signal.signal(number, handler)
    # It says so of every process that is a copy; this one's parent had no thread of OpenMP, nor any other.
    warnings.filterwarnings("ignore", "rawpy is being used in a process created by multiprocessing", RuntimeWarning)
    if sys.platform == "linux":
        # Else it waits for ever for the work of one that was killed.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


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
        raise NoiseflowError(f"--scheduler needs dask.distributed: {install('cluster')}") from error
    try:
        client: Any = distributed.Client(address, timeout=SECONDS_TO_ANSWER, set_as_default=False)
    except (OSError, ValueError) as error:
        raise NoiseflowError(f"{address}: no Dask scheduler answers ({error})") from error
    try:
        # The same part made twice is the same part: a lost worker's work is given to another.
        yield Pool(client.get_executor(pure=False, retries=3), sum(client.ncores().values()) or 1)
    finally:
        client.close()
