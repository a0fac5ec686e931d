"""Fits in processes that are killed: a nursery that imports once and forks a child for each sitting.

It never trains itself, so that a child finds torch as a process of its own would.
Arguments: store, run folder, plan (JSON list of kills).  Prints how each sitting ended.
"""

import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # What an optimiser imports at its first use, in a second or two: here once for all children.

from noiseflow.fit import FitSettings, fit, spec_for
from noiseflow.models.io.run_folder import holds_state
from noiseflow.patches import PatchStore

with suppress(ImportError):
    import torch.utils.tensorboard

SETTINGS = FitSettings(
    epochs=14, batch=16, steps_per_epoch=5, patience=None, ema=0.9, schedule="plateau", held_out=32, state_seconds=0.0
)
"""A state after every step."""

WRITING = ("os.mkdir", "open", "os.rename", "shutil.rmtree")
"""Operations on a file or folder that does not have its name yet."""


def sit(store: Path, out: Path, told: int, kill: dict[str, float]) -> None:
    """Fit, or go on; say each step to a pipe.  Dies by its own hand at a file operation on the run folder."""
    torch.set_num_threads(1)

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        if arguments and isinstance(arguments[0], (str, Path)) and str(arguments[0]).startswith(str(out)):
            count.left -= 1  # type: ignore[attr-defined]
            if count.left == 0:  # type: ignore[attr-defined]
                os.kill(os.getpid(), signal.SIGKILL)

    def step(done: int, total: int, note: str = "") -> None:
        if note.startswith("epoch"):
            os.write(told, b".")

    def count_writing(event: str, arguments: tuple[Any, ...]) -> None:
        if event in WRITING and arguments and "/.noiseflow-" in str(arguments[0]):
            count(event, arguments)

    if "operation" in kill or "writing" in kill:
        count.left = int(kill.get("operation", kill.get("writing", 0)))  # type: ignore[attr-defined]
        sys.addaudithook(count if "operation" in kill else count_writing)
    data = PatchStore(store)
    fit(data, spec_for(data, "sdn5|unc|gain4|unc"), out, SETTINGS, resume=holds_state(out), progress=step)


def sitting(store: Path, out: Path, kill: dict[str, float]) -> str:
    """One sitting in a child, killed as `kill` says; how it ended."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            os.close(read)
            sit(store, out, write, kill)
            status = 0
        finally:
            os._exit(status)
    os.close(write)
    steps = 0
    while os.read(read, 1):
        steps += 1
        if steps == kill.get("steps"):
            time.sleep(kill["delay"])
            os.kill(child, signal.SIGKILL)
    os.close(read)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    where = " while writing" if any(out.rglob(".noiseflow-*")) else ""
    return {0: "done", -signal.SIGKILL: f"killed{where}"}.get(code, f"failed with {code}")


if __name__ == "__main__":
    for each in json.loads(sys.argv[3]):
        print(sitting(Path(sys.argv[1]), Path(sys.argv[2]), each), flush=True)
