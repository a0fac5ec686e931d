"""Trials of one command: what happens to it, and what is looked at afterwards."""

import random
import re
import shlex
import shutil
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tools.studies.attack.processes import Ended, Running, import_what_it_needs, run
from tools.studies.attack.shim import Control
from tools.studies.attack.targets import Target, words_of
from tools.studies.attack.wholeness import digests, leftovers, whole

__all__ = ["AT_A_TIME", "AT_A_WRITE", "Attack", "Tally"]

AT_A_WRITE = {"kill": {-9}, "interrupt": {130}, "terminate": {143}, "full once": {1}, "full": {1}}
"""What happens at a chosen write, and how a command may end then."""

AT_A_TIME = {
    "kill later": (signal.SIGKILL, {-9}),
    "interrupt later": (signal.SIGINT, {130}),
    "terminate later": (signal.SIGTERM, {143}),
}
"""What happens at a moment of any work, and how a command may end then."""

GOES_ON = "; continue with: noiseflow "


@dataclass
class Tally:
    """How the processes ended, and what was wrong."""

    statuses: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


@dataclass
class Attack:
    """Trials of one command in a copy of a folder of inputs."""

    inputs: Path
    place: Path
    target: Target
    control: Control
    expected: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    events: int = 0
    number: int = 0

    def learn(self) -> None:
        """Run the command once: how long it takes, what it writes, and how often."""
        box = self.box(stands=False)
        import_what_it_needs(box, words_of(self.target, "out"))
        shutil.rmtree(box)
        box = self.box(stands=False)
        self.control.arm(box)
        began = time.monotonic()
        ended = run(box, words_of(self.target, "out"))
        self.seconds = time.monotonic() - began
        self.events = self.control.disarm()
        assert ended.status == 0, ended.said
        assert not whole(self.out(box)), whole(self.out(box))
        self.expected = digests(self.out(box), self.target.same)
        assert len(self.expected) == len(self.target.same) or not self.target.same, self.expected
        shutil.rmtree(box)

    def box(self, *, stands: bool) -> Path:
        """A new copy of the inputs, in which an earlier output stands or not."""
        self.number += 1
        box = self.place / f"box{self.number}"
        shutil.copytree(self.inputs, box)
        if stands:
            began = time.monotonic()
            ended = run(box, words_of(self.target, "out"))
            # The machine may have been busy at first.
            self.seconds = min(self.seconds, time.monotonic() - began)
            assert ended.status == 0, ended.said
        return box

    def out(self, box: Path) -> Path:
        """Path of the output."""
        return box / self.target.out.replace("OUT", "out")

    def outs(self, box: Path) -> list[Path]:
        """Paths of all outputs."""
        return [self.out(box), *(box / name.replace("OUT", "out") for name in self.target.also)]

    def pair(self, tally: Tally) -> None:
        """Start two equal commands at once: one must win, the other say in one line why not."""
        box = self.box(stands=False)
        names = {path.name for path in [*box.iterdir(), *self.outs(box)]}
        both = [Running(box, words_of(self.target, "out")) for _ in range(2)]
        ends = [each.wait() for each in both]
        tally.statuses[" ".join(str(each.status) for each in sorted(ends, key=lambda end: end.status))] += 1
        lost = [end for end in ends if end.status]
        # A benchmark that starts after the other has ended finds its cells done.
        if len(lost) != 1 and not (not lost and not self.target.overwrite):
            tally.faults.append(f"{ends}")
        for end in lost:
            ours = [line for line in end.said.splitlines() if line.startswith("noiseflow: ") and "warning" not in line]
            if ours != [end.last] or not re.search("is being written by process|already|exists", end.last):
                tally.faults.append(f"the loser says {end.said[-600:]!r}")
        if any("Traceback" in end.said for end in ends):
            tally.faults.append(f"traceback: {ends}")
        self._check(box, tally, "pair")
        if left := leftovers(box, names):
            tally.faults.append(f"pair: left {left}")
        shutil.rmtree(box)

    def fault(self, action: str, moments: random.Random, at: int, tally: Tally, *, stands: bool) -> None:
        """Stop a command at an event or a time, see that what stands is whole, and give it again."""
        box, target = self.box(stands=stands), self.target
        flag = target.overwrite if stands else ""
        names = {path.name for path in [*box.iterdir(), *self.outs(box)]}
        words = words_of(target, "out", flag)
        if action in AT_A_TIME:
            number, wanted = AT_A_TIME[action]
            after_s = moments.uniform(0, self.seconds)
            about = f"{action}, {after_s:.2f} of {self.seconds:.2f} s{', replacing' if stands else ''}"
            ended = Running(box, words).wait(number, after_s)
        else:
            wanted = AT_A_WRITE[action]
            about = f"{action} at {at}{', replacing' if stands else ''}"
            self.control.arm(box, action, at)
            ended = run(box, words)
            self.control.disarm()
        tally.statuses[str(ended.status)] += 1
        self._check_end(action, wanted, ended, about, tally)
        self._check_stands(box, about, tally, ended, stands=stands)
        self._go_on(box, ended, flag, about, tally)
        self._check(box, tally, about)
        if left := leftovers(box, names):
            tally.faults.append(f"{about}: left {left}")
        shutil.rmtree(box)

    def _go_on(self, box: Path, ended: Ended, flag: str, about: str, tally: Tally) -> None:
        """Give the command that a stopped one says, or else what a user would, and see that it goes on."""
        if GOES_ON in ended.last:
            said = shlex.split(ended.last.partition(GOES_ON)[2])
            again = run(box, said)
            if again.status:
                tally.faults.append(f"{about}: {said} does not go on: {again.said[-400:]}")
            return
        # A run that is to be replaced has its own states, which are not gone on with.
        goes_on = "--resume" if self._has_state(box, replacing=bool(flag)) else ""
        again = run(box, words_of(self.target, "out", flag, goes_on))
        missing = [out for out in self.outs(box) if not out.exists()]
        if again.status and missing and "exists; pass --overwrite" in again.last:
            # Of two outputs one was written.
            again = run(box, words_of(self.target, "out", self.target.overwrite))
        already = ("exists" in again.said or "already" in again.said) and not any(map(whole, self.outs(box)))
        if again.status and not already:
            tally.faults.append(f"{about}: does not go on ({goes_on or flag}): {again.said[-400:]}")

    def _check_end(self, action: str, wanted: set[int], ended: Ended, about: str, tally: Tally) -> None:
        if ended.status not in wanted | {0}:
            tally.faults.append(f"{about}: status {ended.status}: {ended.said[-400:]}")
        if "Traceback" in ended.said:
            tally.faults.append(f"{about}: traceback: {ended.said[-600:]}")
        if ended.status in (130, 143) and "stopped by" not in ended.last and (action in AT_A_WRITE or ended.said):
            tally.faults.append(f"{about}: says {ended.last!r}")
        if ended.status == 1 and action.startswith("full") and not ended.last.startswith("noiseflow: "):
            tally.faults.append(f"{about}: says {ended.said[-300:]!r}")

    def _check_stands(self, box: Path, about: str, tally: Tally, ended: Ended, *, stands: bool) -> None:
        """What stands under a final name is whole, or an unfinished folder that says so, and what is said is true."""
        for out in self.outs(box):
            if not out.exists():
                # A folder that is filled under its own name comes back when the next command takes its lock.
                if stands and not list(box.glob(".noiseflow-*.kept")):
                    tally.faults.append(f"{about}: {out.name} is gone")
                continue
            unfinished = out.is_dir() and not stands and not (out / "spec.json").exists()
            if not unfinished and (wrong := whole(out)):
                tally.faults.append(f"{about}: {out.name}: {wrong}")
        for name in re.findall(r"is kept in ([^,;]+)", ended.last):
            if not (box / name).exists():
                tally.faults.append(f"{about}: {name} is not there: {ended.last}")
        if (
            ended.status in (130, 143)
            and " whole" in ended.last
            and GOES_ON not in ended.last
            and not all(out.exists() for out in self.outs(box))
        ):
            tally.faults.append(f"{about}: not whole: {ended.last}")

    def _has_state(self, box: Path, *, replacing: bool) -> bool:
        unfinished = any(box.glob("out/state/0*")) and not (box / "out" / "spec.json").exists() and not replacing
        return unfinished or any(box.glob("out.partial/state/0*"))

    def _check(self, box: Path, tally: Tally, about: str) -> None:
        for out in self.outs(box):
            if not out.exists():
                tally.faults.append(f"{about}: no {out.name} in the end")
                return
            if wrong := whole(out):
                tally.faults.append(f"{about}: {out.name}: {wrong}")
        if self.target.same and digests(self.out(box), self.target.same) != self.expected:
            tally.faults.append(f"{about}: other content")
