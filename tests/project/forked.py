"""Commands in odd surroundings, as copies of one process that has imported what they need: a trial takes no start.

As a program it answers requests, one JSON line each; `Commands` starts it and asks.
"""

import atexit
import gc
import io
import json
import os
import pwd
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOMS = {"little": 8 << 20, "some": 24 << 20}
"""Bytes of memory that are left; with less than one MiB the HDF5 library itself crashes."""

LIMIT_S = 60.0
"""Seconds of processor time or of waiting after which a command is taken for one that hangs."""


def plain() -> None:
    pass


def no_account() -> None:
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "USER", "LOGNAME"):
        os.environ.pop(name, None)

    def unknown(number: object) -> pwd.struct_passwd:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    pwd.getpwuid = pwd.getpwnam = unknown  # type: ignore[assignment]


def read_only_home() -> None:
    # Nobody writes there, not even root.
    os.environ.update(HOME="/proc", XDG_CACHE_HOME="/proc/cache", TMPDIR="/proc")
    tempfile.tempdir = None


def missing_home() -> None:
    os.environ.update(HOME="/missing/home", TMPDIR="/missing/tmp")
    os.environ.pop("XDG_CACHE_HOME", None)
    tempfile.tempdir = None


def no_tmp() -> None:
    """As where /tmp, /var/tmp and the working folder take nothing."""
    tempfile.tempdir = None
    tempfile._candidate_tempdir_list = lambda: ["/proc"]  # type: ignore[attr-defined]


def removed_folder() -> None:
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    os.rmdir(folder)


def small_files() -> None:
    # Python itself leaves a compiled module half-written where files are limited.
    sys.dont_write_bytecode = True
    resource.setrlimit(resource.RLIMIT_FSIZE, (700, 700))


def no_more_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (5, 5))


def memory(room: int) -> Callable[[], None]:
    def limit() -> None:
        held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + room, held + room))

    return limit


def no_processes() -> None:
    # Of no account: root is not limited.
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def closed(*descriptors: int) -> Callable[[], None]:
    def close() -> None:
        for each in descriptors:
            os.close(each)

    return close


def full(*descriptors: int) -> Callable[[], None]:
    def redirect() -> None:
        device = os.open("/dev/full", os.O_WRONLY)
        for each in descriptors:
            os.dup2(device, each)
        os.close(device)

    return redirect


def broken_pipe() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    os.dup2(writer, 1)
    os.close(writer)


def without_a_buffer(around: Callable[[], None]) -> Callable[[], None]:
    def unbuffered() -> None:
        os.environ["PYTHONUNBUFFERED"] = "1"
        around()

    return unbuffered


def clock_going_back() -> None:
    began, beats = time.time(), [0]

    def earlier() -> float:
        beats[0] += 1
        return began - 3600.0 * beats[0]

    time.time = earlier
    time.time_ns = lambda: int(earlier() * 1e9)


def narrow_letters() -> None:
    os.environ.update(LC_ALL="C", LANG="C", PYTHONIOENCODING="ascii")


def odd_terminal() -> None:
    os.environ.update(COLUMNS="1", LINES="0", TERM="nonsense", FORCE_COLOR="1")


def strange_threads() -> None:
    os.environ.update(OMP_NUM_THREADS="abc", NOISEFLOW_NATIVE="maybe", MPLBACKEND="nonsense", MPLCONFIGDIR="/proc")


SURROUNDINGS: dict[str, Callable[[], None]] = {
    "plain": plain,
    "no account": no_account,
    "read-only home": read_only_home,
    "missing home": missing_home,
    "no temporary files": no_tmp,
    "removed folder": removed_folder,
    "small files": small_files,
    "no more files": no_more_files,
    "little memory": memory(ROOMS["little"]),
    "some memory": memory(ROOMS["some"]),
    "no processes": no_processes,
    "closed stdout": closed(1),
    "closed stderr": closed(2),
    "closed streams": closed(0, 1, 2),
    "full stdout": full(1),
    "full stderr": full(2),
    "broken pipe": broken_pipe,
    "full stdout without a buffer": without_a_buffer(full(1)),
    "broken pipe without a buffer": without_a_buffer(broken_pipe),
    "clock going back": clock_going_back,
    "narrow letters": narrow_letters,
    "odd terminal": odd_terminal,
    "strange settings": strange_threads,
}


@dataclass(frozen=True)
class Ended:
    """How a command ended: its status, negative for a signal; what it printed; processor time in seconds."""

    status: int
    out: str
    err: str
    seconds: float


class Commands:
    """Runs commands in surroundings; to be closed."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, folder: Path, words: Sequence[str], surroundings: str = "plain") -> Ended:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([str(folder), list(words), surroundings]) + "\n")
        self.process.stdin.flush()
        return Ended(*json.loads(self.process.stdout.readline()))

    def close(self) -> None:
        self.process.communicate(timeout=60)


def become(folder: str, words: Sequence[str], surroundings: str, said: Path) -> None:
    """Run a command in this process, and end it as the interpreter would."""
    from noiseflow.cli import main

    os.chdir(folder)
    for number, name in ((0, "/dev/null"), (1, f"{said}.out"), (2, f"{said}.err")):
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT)
        os.dup2(descriptor, number)
        os.close(descriptor)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["noiseflow", *words]
    SURROUNDINGS[surroundings]()
    sys.stdin, sys.stdout, sys.stderr = (_stream(number) for number in range(3))
    status = 1
    try:
        main(prog_name="noiseflow")
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    # As the interpreter does at its end, without a second of tidying up.
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except OSError:
            status = 120
    os._exit(status)


def _stream(number: int) -> Any:
    """A standard stream as the interpreter opens it."""
    try:
        os.fstat(number)
    except OSError:
        return None
    letters = os.environ.get("PYTHONIOENCODING", "utf-8")
    errors = "backslashreplace" if number == 2 else "strict"
    if number and os.environ.get("PYTHONUNBUFFERED"):
        return io.TextIOWrapper(io.FileIO(number, "w"), letters, errors, write_through=True)  # type: ignore[arg-type]
    return open(number, "w" if number else "r", 1 if number == 2 else -1, encoding=letters, errors=errors)


def answer(request: str, place: Path) -> Ended:
    said = place / "said"
    pid = os.fork()
    if not pid:
        become(*json.loads(request), said)
        raise AssertionError("a command ends by itself")
    until = time.monotonic() + LIMIT_S
    while True:
        found, status, used = os.wait4(pid, os.WNOHANG)
        if found:
            break
        if time.monotonic() > until:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)
    texts = [Path(f"{said}{end}") for end in (".out", ".err")]
    out, err = (each.read_text(errors="backslashreplace") if each.exists() else "" for each in texts)
    for each in texts:
        each.unlink(missing_ok=True)
    return Ended(os.waitstatus_to_exitcode(status), out, err, used.ru_utime + used.ru_stime)


def serve(place: Path) -> None:
    # The HDF5 library can end a process by a signal if its own start finds no memory.
    import h5py  # noqa: F401

    import noiseflow.cli.workflows.describe
    import noiseflow.evaluate.samples.drawn
    import noiseflow.fit
    import noiseflow.simulate  # noqa: F401

    # What commands would import themselves takes memory that some surroundings do not leave.
    # Copies share what they do not touch.
    gc.collect()
    gc.freeze()
    for request in sys.stdin:
        ended = answer(request, place)
        print(json.dumps([ended.status, ended.out, ended.err, ended.seconds]), flush=True)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
