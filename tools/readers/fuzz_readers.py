"""Mutate small valid files of every kind that our readers take, and watch what reading them does.

    python -m tools.readers.fuzz_readers --count 10000
    python -m tools.readers.fuzz_readers --count 1000 --kind "ser" --kind "npy stack"

Fails if any case ends in an exception that is not ours, takes more than 5 s, kills the process,
or brings it over 1 GB of memory.  The same seed makes the same cases.
"""

import multiprocessing
import resource
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np

from noiseflow.core.errors import NoiseflowError
from tools.readers.fuzz_kinds import kinds

MAX_SECONDS = 5.0
MAX_BYTES = 1 << 30


@dataclass
class Report:
    """What the cases did."""

    cases: int = 0
    read: int = 0
    refused: int = 0
    by_kind: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    slowest: str = ""
    peak_bytes: int = 0
    seconds: float = 0.0


def mutated(data: bytes, pool: list[bytes], rng: np.random.Generator) -> bytes:
    """One to four changes: bytes flipped, fields set to extremes, cut, doubled, spliced with another file."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        # Headers are where the lies are: half of the changes go to the first 256 bytes.
        end = len(changed) if rng.random() < 0.5 else min(256, len(changed))
        at = int(rng.integers(0, max(end, 1)))
        how = int(rng.integers(0, 7))
        if how <= 1 and changed:
            for _ in range(int(rng.integers(1, 9))):
                changed[int(rng.integers(0, max(end, 1)))] = int(rng.integers(0, 256))
        elif how <= 3:
            width = int(rng.choice([1, 2, 4, 8]))
            value = int(rng.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1, 65535, 32768, 1_000_000_000]))
            order = "little" if rng.random() < 0.5 else "big"
            changed[at : at + width] = (value % 256**width).to_bytes(width, order)  # type: ignore[arg-type]
        elif how == 4:
            del changed[at:]
        elif how == 5:
            length = int(rng.integers(1, 64))
            changed[at:at] = changed[at : at + length]
        else:
            other = pool[int(rng.integers(0, len(pool)))]
            start = int(rng.integers(0, max(len(other), 1)))
            changed[at : at + 64] = other[start : start + 64]
    return bytes(changed)


def _work(seed: int, first: int, count: int, only: tuple[str, ...], current: Any, results: Any) -> None:
    """Run cases in this process, telling each outcome; another process watches."""
    with tempfile.TemporaryDirectory() as made_in:
        all_kinds = kinds(Path(made_in))
    pool = [kind.data for kind in all_kinds]
    all_kinds = [kind for kind in all_kinds if not only or kind.name in only]
    for case in range(first, count):
        rng = np.random.default_rng((seed, case))
        kind = all_kinds[case % len(all_kinds)]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / kind.file
            path.parent.mkdir(exist_ok=True)
            for name, data in kind.others.items():
                (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
                (Path(folder) / name).write_bytes(data)
            path.write_bytes(mutated(kind.data, pool, rng))
            current.value = case
            began, outcome = time.monotonic(), "read"
            try:
                kind.call(path)
            except NoiseflowError as error:
                outcome = "refused" if "\n" not in str(error) else f"more than one line: {error!s:.200}"
            except Exception as error:
                outcome = f"{type(error).__name__}: {error!s:.200}"
            results.send((case, kind.name, outcome, time.monotonic() - began, _peak_bytes()))
    results.send(None)


def _peak_bytes() -> int:
    """Largest resident memory of this process."""
    status = Path("/proc/self/status")
    if status.exists():
        # The peak of getrusage is inherited from the process that started this one.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def fuzz(count: int, seed: int = 0, only: tuple[str, ...] = ()) -> Report:
    """Run `count` cases of all kinds, or of those named.

    They run in a watched process, which is started anew when a case kills it or hangs.
    """
    report, first, began = Report(), 0, time.monotonic()
    context = multiprocessing.get_context("spawn")
    while first < count:
        current = context.Value("q", first)
        receiver, sender = context.Pipe(duplex=False)
        worker = context.Process(target=_work, args=(seed, first, count, only, current, sender), daemon=True)
        worker.start()
        sender.close()
        done = _watch(receiver, report)
        worker.kill()
        worker.join()
        if done:
            break
        case = max(current.value, first)
        report.failures.append(f"case {case}: hung or killed the process (exit {worker.exitcode})")
        report.cases += 1
        first = case + 1
    report.seconds = time.monotonic() - began
    return report


def _watch(receiver: Any, report: Report) -> bool:
    """Take outcomes; whether the last case was done."""
    patience = 60.0
    while receiver.poll(patience):
        try:
            answer = receiver.recv()
        except EOFError:
            return False
        if answer is None:
            return True
        patience = 2 * MAX_SECONDS
        case, kind, outcome, seconds, peak = answer
        report.cases += 1
        report.by_kind[kind] += 1
        report.read += outcome == "read"
        report.refused += outcome == "refused"
        if outcome not in ("read", "refused"):
            report.failures.append(f"case {case} ({kind}): {outcome}")
        if seconds > MAX_SECONDS:
            report.failures.append(f"case {case} ({kind}): took {seconds:.1f} s")
        if peak > MAX_BYTES >= report.peak_bytes:
            report.failures.append(f"case {case} ({kind}): memory at {peak / 1e6:.0f} MB")
        if seconds > report.slowest_s:
            report.slowest_s, report.slowest = seconds, f"case {case}, {kind}"
        report.peak_bytes = max(report.peak_bytes, peak)
    return False


@click.command()
@click.option("--count", type=click.IntRange(1), default=10_000, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--kind", "only", multiple=True, help="Only files of this kind; may be repeated.")
def main(count: int, seed: int, only: tuple[str, ...]) -> None:
    """Fuzz our readers and print what happened."""
    report = fuzz(count, seed, only)
    click.echo(
        f"{report.cases} cases of {len(report.by_kind)} kinds in {report.seconds:.0f} s: {report.read} read, "
        f"{report.refused} refused, {len(report.failures)} failures; slowest {report.slowest_s:.2f} s "
        f"({report.slowest}), peak memory {report.peak_bytes / 1e6:.0f} MB"
    )
    for failure in report.failures:
        click.echo(failure)
    sys.exit(bool(report.failures))


if __name__ == "__main__":
    main()
