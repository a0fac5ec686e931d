"""Executors for an ingest: this process, several processes of this machine, or a Dask cluster."""

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
"""Most processes on one machine; a larger number is a typing error and would overload the machine."""

SECONDS_TO_ANSWER = 10.0
"""Longest wait in seconds for a Dask scheduler."""

SMALL_BYTES = 1 << 26
"""Sources smaller than 64 MiB in all are read in this process, since starting others would take longer."""

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Parameters of glibc's `mallopt`."""

PR_SET_PDEATHSIG = 1
"""Option of Linux's `prctl` that sets the signal to receive when the parent ends."""

MOST_KEPT = 1 << 28
"""Bytes of free memory that a process keeps, enough for the codes of a large sensor and a copy."""


@dataclass(frozen=True)
class Pool:
    """An executor and its number of workers.

    Parameters
    ----------
    executor : Executor
        Runs the calls.
    workers : int
        Number of calls that run at the same time.
    """

    executor: Executor
    workers: int

    def submit(self, call: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        """Submit a call of a module-level function."""
        return self.executor.submit(call, *arguments)


def processors() -> int:
    """Number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


class InThisProcess(Executor):
    """An executor that runs each call at once, in this process."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Run a call now; an exception is stored in the returned future, as with any executor."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@contextmanager
def executor(jobs: int, scheduler: str | None = None) -> Iterator[Pool]:
    """Provide an executor for the duration of a block.

    Parameters
    ----------
    jobs : int
        Number of processes; 1 means this process.
    scheduler : str, optional
        Address of a Dask scheduler, such as ``tcp://host:8786``.  Its workers must reach the
        sources and the store's folder under the same paths.

    Raises
    ------
    NoiseflowError
        If `jobs` is out of range, ``dask.distributed`` is not installed, or no scheduler answers at the address.
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
    """Choose how processes start: by fork if this process has one thread, since that takes no time.

    A fork of a process with threads (of torch, HDF5 or OpenMP) would copy them in the middle of their work.  In that
    case workers are forks of a server process that has only imported the modules they need.
    """
    methods = multiprocessing.get_all_start_methods()
    if _alone() or "forkserver" not in methods:
        return multiprocessing.get_context("fork" if _alone() else "spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["noiseflow.patches.ingestion.tasks"])
    from multiprocessing import forkserver

    # The server imports the modules while this process continues.
    forkserver.ensure_running()
    return context


def _alone() -> bool:
    """Whether this process is known to have only one thread."""
    threads = Path("/proc/self/task")
    return threads.is_dir() and len(os.listdir(threads)) == 1


def one_thread() -> None:
    """Keep NumPy from starting threads on import; an ingest multiplies no large matrices."""
    if "numpy" not in sys.modules:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _settle() -> None:
    """Prepare a worker process."""
    keep_memory()
    # Ctrl-C on a terminal reaches all processes: the parent stops the workers when their calls are done.
    for number, handler in (
        (signal.SIGINT, signal.SIG_IGN),
        (signal.SIGHUP, signal.SIG_IGN),
        (signal.SIGTERM, signal.SIG_DFL),
    ):
        signal.signal(number, handler)
    # rawpy warns in every fork; this one is safe, since its parent had no OpenMP threads.
    warnings.filterwarnings("ignore", "rawpy is being used in a process created by multiprocessing", RuntimeWarning)
    if sys.platform == "linux":
        # Otherwise a worker would wait for ever after its parent was killed.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def keep_memory() -> None:
    """Make this process reuse the memory of one frame for the next.

    By default the C library returns large blocks to the system, and clearing their pages again takes a quarter of the
    time to decode a frame.
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
        # Making a part twice gives the same files, so the work of a lost worker can be repeated.
        yield Pool(client.get_executor(pure=False, retries=3), sum(client.ncores().values()) or 1)
    finally:
        client.close()
