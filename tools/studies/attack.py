"""Attack the commands that write: equal ones at once, kills and interrupts at random moments.

python -m tools.studies.attack --pairs 200 --stops 20
"""

import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import click

from noiseflow.calibrate import read_profile
from noiseflow.cli.workflows.describe import describe
from noiseflow.core.errors import NoiseflowError, OutputError
from noiseflow.core.output.manifest import foreign
from noiseflow.patches import PatchStore
from noiseflow.simulate import simulate_series

NOISEFLOW = (sys.executable, "-m", "noiseflow")


@dataclass(frozen=True)
class Target:
    """A command, its output, how to see that the output is whole, and what to add to go on after a kill."""

    words: str
    out: str
    whole: Callable[[Path], object]
    add: str = ""


def _store(path: Path) -> None:
    with PatchStore(path) as store:
        store.verify()


def _listed(path: Path) -> None:
    others = foreign(path)
    if others:
        raise OutputError(f"{path}: {others[:3]}")


def _json(path: Path) -> None:
    json.loads(path.read_text(encoding="utf-8"))


def _run(path: Path) -> None:
    _listed(path)
    describe(path)


TARGETS = {
    "ingest": Target("ingest raws --patch-size 8 --out OUT.h5", "OUT.h5", _store),
    "fit": Target(
        "fit p.h5 --model noise_flow --epochs 5 --no-compile --state-seconds 0.1 --out OUT", "OUT", _run, "--resume"
    ),
    "evaluate": Target("evaluate run p.h5 --max-patches 200 --out OUT", "OUT", _listed),
    "synthesize": Target("synthesize raws --run run --out OUT", "OUT", _listed),
    "benchmark": Target("benchmark spec.toml --out OUT", "OUT/results.json", _json),
    "calibrate": Target("calibrate series/flats series/darks --out OUT.json", "OUT.json", read_profile),
    "sample": Target("sample run raws/frame_0.dng --iso 400 --out OUT.dng", "OUT.dng", describe),
}
"""What is attacked.  To attack another command, give it a line."""


@dataclass
class Tally:
    """How the processes ended, and what was wrong."""

    statuses: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def prepare(folder: Path) -> None:
    """Make the inputs of all commands: a small series, its burst, a store, a run and a spec."""
    simulate_series(folder / "series", "PG-12", [400.0], size=(64, 96))
    shutil.copytree(folder / "series" / "burst", folder / "raws")
    words = "ingest raws --patch-size 8 --out p.h5", "fit p.h5 --model nlf --out run"
    for each in words:
        subprocess.run([*NOISEFLOW, *each.split()], cwd=folder, check=True, capture_output=True)
    (folder / "spec.toml").write_text('[[data]]\nname = "a"\nstore = "p.h5"\n[[model]]\nname = "nlf"\n')


def started(folder: Path, words: str) -> "subprocess.Popen[str]":
    """A command under way."""
    pipe = subprocess.PIPE
    return subprocess.Popen([*NOISEFLOW, *words.split()], cwd=folder, stdout=pipe, stderr=pipe, text=True)


def check(folder: Path, target: Target, name: str, tally: Tally) -> None:
    """Note an output that stands under its final name and is not whole."""
    path = folder / target.out.replace("OUT", name)
    if path.exists():
        try:
            target.whole(path)
        except (NoiseflowError, OSError, ValueError) as error:
            tally.faults.append(f"{path.name}: {error}")


def pair(folder: Path, target: Target, name: str, tally: Tally) -> None:
    """Start two equal commands at once: one must win, the other say in one line why not."""
    both = [started(folder, target.words.replace("OUT", name)) for _ in range(2)]
    ends = [(process.communicate()[1], process.returncode) for process in both]
    tally.statuses[" ".join(str(status) for status in sorted(status for _, status in ends))] += 1
    lost = [text for text, status in ends if status]
    # Two that do not overlap: without --overwrite the second finds the output of the first; a benchmark finds its own.
    if len(lost) != 1 and not (not lost and target.words.startswith("benchmark")):
        tally.faults.append(f"{name}: {ends}")
    if any("Traceback" in text for text in lost):
        tally.faults.append(f"{name}: {lost}")
    check(folder, target, name, tally)


def stop(folder: Path, target: Target, name: str, number: int, seconds: float, tally: Tally) -> None:
    """Stop a command at a moment, see that what stands is whole, and go on to the end."""
    words = target.words.replace("OUT", name)
    process = started(folder, words)
    time.sleep(seconds)
    process.send_signal(number)
    _, said = process.communicate()
    status = process.returncode
    tally.statuses[str(status)] += 1
    if status not in (0, -number, 128 + number):
        tally.faults.append(f"{name}: status {status}: {said[-200:]}")
    if status == 128 + number and "stopped by" not in said:
        tally.faults.append(f"{name}: says {said[-200:]!r}")
    check(folder, target, name, tally)
    out = folder / target.out.replace("OUT", name)
    if not out.exists() or target.add:
        has_state = bool(list(folder.glob(f"{name}/state/0*")))
        again = subprocess.run(
            [*NOISEFLOW, *words.split(), *([target.add] if target.add and has_state else [])],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if again.returncode and "pass --overwrite" not in again.stderr:
            tally.faults.append(f"{name}: does not go on: {again.stderr[-300:]}")
        check(folder, target, name, tally)


def report(name: str, what: str, tally: Tally) -> None:
    """Print how the processes of one attack ended."""
    click.echo(f"{name}: {what}: statuses {dict(tally.statuses)}, {len(tally.faults)} faults")
    for fault in tally.faults:
        click.echo(f"  {fault}")


@click.command()
@click.option("--pairs", type=int, default=10, show_default=True, help="Pairs of equal commands started at once.")
@click.option("--stops", type=int, default=5, show_default=True, help="kill -9, and as many Ctrl-C, at random moments.")
@click.option("--only", type=click.Choice(list(TARGETS)), multiple=True, help="Commands to attack; all if none.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the moments.")
def main(pairs: int, stops: int, only: tuple[str, ...], seed: int) -> None:
    """Attack commands that write, and print how they ended and what was wrong."""
    moments = random.Random(seed)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        prepare(folder)
        for name in only or TARGETS:
            target = TARGETS[name]
            began = time.monotonic()
            started(folder, target.words.replace("OUT", f"{name}-alone")).communicate()
            alone = time.monotonic() - began
            tally = Tally()
            for each in range(pairs):
                pair(folder, target, f"{name}-pair-{each}", tally)
            report(name, f"{pairs} pairs", tally)
            for what, number in (("kills", signal.SIGKILL), ("interrupts", signal.SIGINT)):
                tally = Tally()
                for each in range(stops):
                    seconds = moments.uniform(0.1, 1) * alone
                    stop(folder, target, f"{name}-{what}-{each}", number, seconds, tally)
                report(name, f"{stops} {what}", tally)
            left = sum(path.name.startswith(".noiseflow-") for path in folder.iterdir())
            click.echo(f"{name}: {left} private files left")


if __name__ == "__main__":
    main()
