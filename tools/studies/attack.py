"""Attack the commands that write: equal ones at once, kills, interrupts and a full disk at chosen writes.

python -m tools.studies.attack --pairs 200 --stops 20

Commands run as copies of one process that has imported everything, so that thousands of trials take minutes.
"""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

from tools.studies.shim import Control, built

LIMIT_S = 600
CAMERA = "PG-12"
PUBLISHED = Path(__file__).resolve().parents[3] / "shared" / "data" / "published" / "noise_flow_weights.npz"
"""What `import` is tried with; without it that command only fails."""


@dataclass(frozen=True)
class Target:
    """A command, its output, the files in it that must be the same after any stop, and whether it can replace."""

    words: str
    out: str
    same: tuple[str, ...] = ()
    overwrite: str = "--overwrite"


FIT = (
    "fit p.h5 --model realnvp --option couplings=2 --option width=4 --epochs 1 --steps-per-epoch 2 --batch 8 "
    "--no-compile "
    "--state-seconds 0 --out OUT"
)
TARGETS = {
    "simulate": Target("simulate OUT --camera PG-12 --iso 100 --scenes 2 --size 32 48", "OUT", ("simulation.json",)),
    "ingest": Target("ingest raws --patch-size 8 --jobs 1 --out OUT.h5", "OUT.h5", ("",)),
    "calibrate": Target("calibrate series/flats series/darks --out OUT.json", "OUT.json", ("",)),
    "fit": Target(FIT, "OUT", ("model.safetensors", "spec.json")),
    "distill": Target(
        "distill maf --steps 3 --batch 2 --store p.h5 --out OUT", "OUT", ("model.safetensors", "spec.json")
    ),
    "sample": Target("sample run raws/frame_00.dng --iso 400 --out OUT.dng", "OUT.dng", ("",)),
    "transfer": Target(
        "transfer raws/frame_00.dng --from sony-a7s2 --to PG-12 --out OUT.dng --seed 1", "OUT.dng", ("",)
    ),
    "export": Target("export run OUT.pt2", "OUT.pt2"),
    "import": Target("import weights.npz --out OUT", "OUT", ("model.safetensors", "spec.json")),
    "synthesize": Target("synthesize raws --run run --isos 400 --jobs 1 --out OUT", "OUT", ("manifest.jsonl",)),
    "evaluate": Target("evaluate run p.h5 --max-patches 40 --out OUT", "OUT"),
    "benchmark": Target("benchmark spec.toml --out OUT", "OUT", (), ""),
    "profiles": Target("profiles Sony_A7S2 --out OUT.json", "OUT.json", ("",)),
}
"""What is attacked.  To attack another command, give it a line."""


@dataclass
class Tally:
    """How the processes ended, and what was wrong."""

    statuses: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Ended:
    """A command that ended: its status, negative for a signal, and what it said."""

    status: int
    said: str

    @property
    def last(self) -> str:
        """The last line that it said."""
        return (self.said.strip().splitlines() or [""])[-1]


class Running:
    """A command in a copy of this process."""

    def __init__(self, folder: Path, words: Sequence[str]) -> None:
        # Not where writes are counted.
        self.said = Path(os.environ["FAULT_CONTROL"]).with_name(f"said-{random.getrandbits(64):x}")
        self.pid = os.fork()
        if not self.pid:
            _become(folder, words, self.said)

    def wait(self) -> Ended:
        """The end of the command; one that takes too long is killed."""
        until = time.monotonic() + LIMIT_S
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > until:
                os.kill(self.pid, signal.SIGKILL)
                until += LIMIT_S
            time.sleep(0.002)
        text = self.said.read_text(errors="replace") if self.said.exists() else ""
        self.said.unlink(missing_ok=True)
        return Ended(os.waitstatus_to_exitcode(status), text)


def _become(folder: Path, words: Sequence[str], said: Path) -> None:
    """Run a command in this process, and end."""
    from noiseflow.cli import main

    status = 1
    try:
        os.chdir(folder)
        descriptor = os.open(said, os.O_WRONLY | os.O_CREAT, 0o666)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        sys.argv = ["noiseflow", *words]
        # A shell that starts this tool in the background has it ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            main(list(words), prog_name="noiseflow")
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        sys.stdout.flush()
    except BaseException:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


def words_of(target: Target, name: str, *more: str) -> list[str]:
    """Words of a command whose output has a name."""
    words = [word.replace("OUT", name).replace("Sony_A7S2", "Sony A7S2") for word in target.words.split()]
    return [*words, *(word for word in more if word)]


def run(folder: Path, words: Sequence[str]) -> Ended:
    """Run a command to its end."""
    return Running(folder, words).wait()


def prepare(folder: Path) -> None:
    """Make the inputs of all commands: a small series, its burst, stores, runs and a spec."""
    from noiseflow.models import ModelSpec, build, save
    from noiseflow.simulate import simulate_series

    simulate_series(folder / "series", CAMERA, [400.0], size=(64, 96))
    shutil.copytree(folder / "series" / "burst", folder / "raws")
    for path in sorted((folder / "raws").glob("*"))[4:]:
        if path.suffix == ".dng":
            path.unlink()
    first = sorted((folder / "raws").glob("*.dng"))[0]
    if first.name != "frame_00.dng":
        first.rename(folder / "raws" / "frame_00.dng")
    for words in ("ingest raws --patch-size 8 --jobs 1 --out p.h5", "fit p.h5 --model nlf --out run"):
        ended = run(folder, words.split())
        assert ended.status == 0, ended.said
    if PUBLISHED.exists():
        shutil.copy(PUBLISHED, folder / "weights.npz")
    save(build(ModelSpec("maf", cameras=(CAMERA,), isos=(400.0,))), folder / "maf")
    (folder / "spec.toml").write_text(
        'max_patches = 40\n[[data]]\nname = "a"\nstore = "p.h5"\n[[model]]\nname = "nlf"\n'
    )


def whole(path: Path) -> str:
    """What is wrong with an output; empty if it is whole."""
    import torch.export

    from noiseflow.calibrate import read_profile
    from noiseflow.cli.workflows.describe import describe
    from noiseflow.core.errors import NoiseflowError
    from noiseflow.core.output.manifest import foreign
    from noiseflow.patches import PatchStore

    try:
        if path.suffix == ".h5":
            with PatchStore(path) as store:
                store.verify()
        elif path.suffix == ".json":
            read_profile(path)
        elif path.suffix == ".pt2":
            torch.export.load(path)
        elif path.suffix:
            describe(path)
        elif others := foreign(path):
            return f"holds {others[:3]}"
        elif (path / "spec.json").exists():
            describe(path)
    except (NoiseflowError, OSError, ValueError, RuntimeError) as error:
        return str(error)
    return ""


def digests(path: Path, names: Sequence[str]) -> dict[str, str]:
    """SHA-256 of files of an output, or of all of it."""
    if not names:
        found = [each for each in path.rglob("*") if each.is_file() and each.name != ".noiseflow"]
        return {str(each.relative_to(path)): hashlib.sha256(each.read_bytes()).hexdigest() for each in found}
    files = {name: path / name if name else path for name in names}
    return {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items() if file.exists()}


def leftovers(folder: Path, before: set[str]) -> list[str]:
    """Names in a folder that are none of the inputs, the output or its list."""
    return sorted({path.name for path in folder.iterdir()} - before)


@dataclass
class Attack:
    """Trials of one command in a copy of a folder of inputs."""

    inputs: Path
    place: Path
    target: Target
    control: Control
    expected: dict[str, str]
    number: int = 0

    def box(self, *, stands: bool) -> Path:
        """A new copy of the inputs, in which an earlier output stands or not."""
        self.number += 1
        box = self.place / f"box{self.number}"
        shutil.copytree(self.inputs, box)
        if stands:
            ended = run(box, words_of(self.target, "out"))
            assert ended.status == 0, ended.said
        return box

    def out(self, box: Path) -> Path:
        """Path of the output."""
        return box / self.target.out.replace("OUT", "out")

    def events(self) -> int:
        """Writes of a whole run."""
        box = self.box(stands=False)
        self.control.arm(box)
        run(box, words_of(self.target, "out"))
        shutil.rmtree(box)
        return self.control.disarm()

    def pair(self, tally: Tally) -> None:
        """Start two equal commands at once: one must win, the other say in one line why not."""
        box = self.box(stands=False)
        both = [Running(box, words_of(self.target, "out")) for _ in range(2)]
        ends = [each.wait() for each in both]
        tally.statuses[" ".join(str(each.status) for each in sorted(ends, key=lambda end: end.status))] += 1
        lost = [end for end in ends if end.status]
        # A benchmark that starts after the other has ended finds its cells done.
        if len(lost) != 1 and not (not lost and not self.target.overwrite):
            tally.faults.append(f"{ends}")
        if any("Traceback" in end.said for end in ends):
            tally.faults.append(f"traceback: {ends}")
        self._check(box, tally, "pair")
        shutil.rmtree(box)

    def fault(self, action: str, at: int, tally: Tally, *, stands: bool) -> None:
        """Stop a command at an event, see that what stands is whole, and give it again."""
        box, target = self.box(stands=stands), self.target
        flag = target.overwrite if stands else ""
        names = {path.name for path in box.iterdir()} | {self.out(box).name}
        about = f"{action} at {at}{', replacing' if stands else ''}"
        before = digests(self.out(box), ()) if stands and self.out(box).is_dir() else {}
        self.control.arm(box, action, at)
        ended = run(box, words_of(target, "out", flag))
        self.control.disarm()
        tally.statuses[str(ended.status)] += 1
        self._check_end(action, ended, about, tally)
        if stands and target.overwrite and before and ended.status:
            self._check_stands(box, before, about, tally)
        goes_on = "--resume" if self._has_state(box) and not self._is_run(self.out(box), before) else ""
        again = run(box, words_of(target, "out", goes_on or flag))
        already = ("exists" in again.said or "already" in again.said) and not whole(self.out(box))
        if again.status and not already:
            tally.faults.append(f"{about}: does not go on ({goes_on or flag}): {again.said[-400:]}")
        self._check(box, tally, about)
        if left := leftovers(box, names):
            tally.faults.append(f"{about}: left {left}")
        shutil.rmtree(box)

    def _check_end(self, action: str, ended: Ended, about: str, tally: Tally) -> None:
        wanted = {"kill": {-9}, "interrupt": {130}, "terminate": {143}}.get(action, {1})
        if ended.status not in wanted | {0}:
            tally.faults.append(f"{about}: status {ended.status}: {ended.said[-400:]}")
        if "Traceback" in ended.said:
            tally.faults.append(f"{about}: traceback: {ended.said[-600:]}")
        if ended.status in (130, 143) and "stopped by" not in ended.last:
            tally.faults.append(f"{about}: says {ended.last!r}")
        if ended.status == 1 and action.startswith("full") and not ended.last.startswith("noiseflow: "):
            tally.faults.append(f"{about}: says {ended.said[-300:]!r}")

    def _check_stands(self, box: Path, before: dict[str, str], about: str, tally: Tally) -> None:
        """The earlier output, or the new one, is whole under its name, at once."""
        if wrong := whole(self.out(box)) or ("" if self.out(box).exists() else "is gone"):
            tally.faults.append(f"{about}: the output {wrong}")

    def _has_state(self, box: Path) -> bool:
        return any(box.glob("out/state/0*")) or any(box.glob("out.partial/state/0*"))

    def _is_run(self, out: Path, before: dict[str, str]) -> bool:
        return (out / "spec.json").exists() and not Path(f"{out}.partial").exists()

    def _check(self, box: Path, tally: Tally, about: str) -> None:
        out = self.out(box)
        if not out.exists():
            tally.faults.append(f"{about}: no output in the end")
            return
        if wrong := whole(out):
            tally.faults.append(f"{about}: {wrong}")
        elif self.target.same and digests(out, self.target.same) != self.expected:
            tally.faults.append(f"{about}: other content")


def report(name: str, what: str, tally: Tally, seconds: float) -> None:
    """Print how the processes of one attack ended."""
    click.echo(f"{name}: {what}: statuses {dict(tally.statuses)}, {len(tally.faults)} faults, {seconds:.0f} s")
    for fault in tally.faults[:10]:
        click.echo(f"  {fault}")
    sys.stdout.flush()


FAULTS = ("kill", "interrupt", "full once", "full")


def attacks(
    attack: Attack, pairs: int, stops: int, kinds: Sequence[str], moments: random.Random
) -> dict[str, Callable[[Tally], None]]:
    """The attacks of a command by what they are called."""
    events = attack.events()

    def faults(action: str) -> Callable[[Tally], None]:
        def trials(tally: Tally) -> None:
            for each in range(stops):
                # The last renames matter most: half of the trials are among the last events.
                low = 1 if each % 2 else max(1, events - 40)
                stands = each % 4 < 2 and bool(attack.target.overwrite)
                attack.fault(action, moments.randint(low, events), tally, stands=stands)

        return trials

    def at_once(tally: Tally) -> None:
        for _ in range(pairs):
            attack.pair(tally)

    first = {f"{pairs} pairs": at_once} if pairs else {}
    return {**first, **{f"{stops} × {kind} at {events} events": faults(kind) for kind in kinds}}


@click.command()
@click.option("--pairs", type=int, default=10, show_default=True, help="Pairs of equal commands started at once.")
@click.option("--stops", type=int, default=5, show_default=True, help="Trials of each kind of fault.")
@click.option("--only", type=click.Choice(list(TARGETS)), multiple=True, help="Commands to attack; all if none.")
@click.option("--fault", type=click.Choice(FAULTS), multiple=True, default=FAULTS, help="Faults; all if none.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the moments.")
def main(pairs: int, stops: int, only: tuple[str, ...], fault: tuple[str, ...], seed: int) -> None:
    """Attack commands that write, and print how they ended and what was wrong."""
    if "FAULT_CONTROL" not in os.environ:
        with tempfile.TemporaryDirectory() as place:
            Control(Path(place) / "control")
            added = {"LD_PRELOAD": str(built(Path(place))), "FAULT_CONTROL": f"{place}/control"}
            command = [sys.executable, "-m", "tools.studies.attack", *sys.argv[1:]]
            sys.exit(subprocess.run(command, env={**os.environ, **added}, check=False).returncode)
    import noiseflow.cli.workflows.describe
    import noiseflow.evaluate
    import noiseflow.fit  # noqa: F401

    moments = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder).resolve()
        inputs = place / "inputs"
        inputs.mkdir()
        prepare(inputs)
        control = Control(Path(os.environ["FAULT_CONTROL"]))
        for name in only or TARGETS:
            attack = Attack(inputs, place, TARGETS[name], control, {})
            box = attack.box(stands=True)
            attack.expected = digests(attack.out(box), TARGETS[name].same)
            shutil.rmtree(box)
            for what, trials in attacks(attack, pairs, stops, fault, moments).items():
                began, tally = time.monotonic(), Tally()
                trials(tally)
                report(name, what, tally, time.monotonic() - began)


if __name__ == "__main__":
    main()
