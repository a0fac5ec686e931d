import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from builders import burst_folder

COPIED = """
    import sys, threading
    from noiseflow.patches.ingestion.executors import executor

    known = "as imported"

    def seen():
        return known

    if __name__ == "__main__":
        known = "as it is now"
        asked = threading.Event()
        if sys.argv[1] == "with a thread":
            threading.Thread(target=asked.wait).start()
        with executor(2) as pool:
            print({pool.submit(seen).result() for _ in range(4)})
        asked.set()
"""
BY_COMMAND = """
    import sys
    from noiseflow.cli import main
    from noiseflow.patches.ingestion import executors

    starting = executors._starting
    executors._starting = lambda: (context := starting(), print(context.get_start_method()))[0]
    main(["ingest", *sys.argv[1:], "--jobs", "2"], standalone_mode=False)
"""
KILLED = """
    import os, signal
    from noiseflow.patches.ingestion.executors import executor

    if __name__ == "__main__":
        with executor(2) as pool:
            workers = {pool.submit(os.getpid).result() for _ in range(4)}
            print(*workers, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
"""
linux = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="the number of threads is not known")


def run(folder: Path, code: str, *arguments: object) -> str:
    (folder / "script.py").write_text(textwrap.dedent(code))
    command = [sys.executable, str(folder / "script.py"), *map(str, arguments)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    return found.stdout


def lives(process: Path) -> bool:
    try:
        return "State:\tZ" not in (process / "status").read_text()
    except FileNotFoundError:
        return False


@linux
def test_processes_are_copies_of_one_that_has_no_other_thread(tmp_path: Path) -> None:
    assert run(tmp_path, COPIED, "alone") == "{'as it is now'}\n"


def test_processes_are_no_copies_of_one_with_threads(tmp_path: Path) -> None:
    assert run(tmp_path, COPIED, "with a thread") == "{'as imported'}\n"


@linux
def test_the_command_has_one_thread_when_it_starts_processes(tmp_path: Path) -> None:
    burst_folder(tmp_path / "raws", frames=3, size=(64, 64), seed=0)
    told = run(tmp_path, BY_COMMAND, tmp_path / "raws", "--patch-size", 8, "--out", tmp_path / "s.h5")
    assert told.startswith("fork\n")


@linux
def test_processes_that_decode_say_nothing_of_their_own(shared_data: Path, tmp_path: Path) -> None:
    content = (shared_data / "raw" / "_DSC2164.ARW").read_bytes()
    (tmp_path / "raws").mkdir()
    for number in range(2):
        (tmp_path / "raws" / f"{number}.ARW").write_bytes(content + bytes([number]))
    command = [
        sys.executable,
        "-m",
        "noiseflow",
        "ingest",
        tmp_path / "raws",
        "--jobs",
        "2",
        "--patches-per-frame",
        "3",
    ]
    command += ["--patches-per-frame", "3", "--pairing", "none", "--out", tmp_path / "s.h5"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "rawpy" not in found.stderr


@linux
def test_no_process_is_left_of_an_ingest_that_was_killed(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(textwrap.dedent(KILLED))
    # Into a file: a pipe would be kept open by what is left.
    with (tmp_path / "told").open("w", encoding="ascii") as told:
        subprocess.run([sys.executable, tmp_path / "script.py"], stdout=told, check=False)
    left = [Path("/proc", number) for number in (tmp_path / "told").read_text(encoding="ascii").split()]
    assert left
    last = time.monotonic() + 10
    while any(map(lives, left)):
        assert time.monotonic() < last, "a process was left"
        time.sleep(0.05)
