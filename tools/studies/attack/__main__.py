"""Attack the commands that write: equal ones at once, kills, interrupts and a full disk, at writes and at any time.

python -m tools.studies.attack --pairs 10 --stops 20
"""

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from tools.studies.attack.shim import Control, built
from tools.studies.attack.targets import TARGETS, prepare
from tools.studies.attack.trials import AT_A_TIME, AT_A_WRITE, Attack, Tally

FAULTS = (*AT_A_WRITE, *AT_A_TIME)


def report(name: str, what: str, tally: Tally, seconds: float) -> None:
    """Print how the processes of one attack ended."""
    click.echo(f"{name}: {what}: statuses {dict(tally.statuses)}, {len(tally.faults)} faults, {seconds:.0f} s")
    for fault in tally.faults[:10]:
        click.echo(f"  {fault}")
    sys.stdout.flush()


def attacks(
    attack: Attack, pairs: int, stops: int, kinds: Sequence[str], moments: random.Random
) -> dict[str, Callable[[Tally], None]]:
    """The attacks of a command by what they are called."""
    events = attack.events

    def faults(action: str) -> Callable[[Tally], None]:
        def trials(tally: Tally) -> None:
            for each in range(stops):
                # The last renames matter most: half of the trials are among the last events.
                low = 1 if each % 2 else max(1, events - 40)
                stands = each % 4 < 2 and bool(attack.target.overwrite)
                attack.fault(action, moments, moments.randint(low, events), tally, stands=stands)

        return trials

    def at_once(tally: Tally) -> None:
        for _ in range(pairs):
            attack.pair(tally)

    first = {f"{pairs} pairs": at_once} if pairs else {}
    where = {
        kind: f" at {events} events" if kind in AT_A_WRITE else f" within {attack.seconds:.1f} s" for kind in kinds
    }
    return {**first, **{f"{stops} × {kind}{where[kind]}": faults(kind) for kind in kinds if stops}}


@click.command()
@click.option("--pairs", type=int, default=10, show_default=True, help="Pairs of equal commands started at once.")
@click.option("--stops", type=int, default=5, show_default=True, help="Trials of each kind of fault.")
@click.option("--only", type=click.Choice(list(TARGETS)), multiple=True, help="Commands to attack; all if none.")
@click.option("--fault", type=click.Choice(FAULTS), multiple=True, default=FAULTS, help="Faults; all if none.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the moments.")
def main(pairs: int, stops: int, only: tuple[str, ...], fault: tuple[str, ...], seed: int) -> None:
    """Attack commands that write, and print how they ended and what was wrong."""
    if "FAULT_CONTROL" not in os.environ:
        with tempfile.TemporaryDirectory() as above:
            Control(Path(above) / "control")
            added = {"LD_PRELOAD": str(built(Path(above))), "FAULT_CONTROL": f"{above}/control"}
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
            attack = Attack(inputs, place, TARGETS[name], control)
            attack.learn()
            for what, trials in attacks(attack, pairs, stops, fault, moments).items():
                began, tally = time.monotonic(), Tally()
                trials(tally)
                report(name, what, tally, time.monotonic() - began)


if __name__ == "__main__":
    main()
