"""Mutate files of our own formats, open and use them as the commands do, and watch what happens.

    python -m tools.readers.fuzz_own --count 3000
    python -m tools.readers.fuzz_own --count 500 --kind run --kind profile
    python -m tools.readers.fuzz_own --structured --resealed --count 300

Fails if a case ends in an exception that is not ours, in other numbers without a word, takes more than 5 s of the
processor, kills the process, or takes more than 1 GB of memory.  The same seed makes the same cases.
"""

import copy
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np

from noiseflow.core.errors import NoiseflowError
from tools.readers.fuzz_readers import mutated
from tools.readers.newer_kinds import NEWER_KINDS
from tools.readers.own_kinds import KINDS, Made
from tools.readers.resealed import reseal
from tools.readers.structured import mutate

ALL_KINDS = {**KINDS, **NEWER_KINDS}

MAX_SECONDS, MAX_BYTES = 5.0, 1 << 30

EXTREME = (
    0,
    -1,
    2**31,
    2**63,
    10**30,
    1e308,
    -1e308,
    1e-320,
    0.1,
    True,
    None,
    "",
    "x",
    "\u202e",
    [],
    {},
    [[]],
    {"a": 1},
)
WORDS = ("NaN", "Infinity", "-Infinity", "1e999", "nan", "inf", "[" * 5000, '{"a":' * 5000, "9" * 5000, '"\\ud800"')


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all values in nested tables and lists."""
    found = [path]
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in children:
        found += _places(each, (*path, key))
    return found


def _changed_value(value: Any, rng: np.random.Generator) -> Any:
    how = int(rng.integers(0, 4))
    if isinstance(value, (int, float)) and not isinstance(value, bool) and how == 0:
        return value * float(rng.choice([-1, 0.5, 1.0001, 1e3, 1e9]))
    if isinstance(value, list) and value and how <= 1:
        return value[:-1] if rng.random() < 0.5 else [*value, value[int(rng.integers(0, len(value)))]]
    if isinstance(value, str) and value and how <= 1:
        return value[:-1] + chr(int(rng.integers(32, 127)))
    # A copy: what is put into one list must not stand in itself.
    return copy.deepcopy(EXTREME[int(rng.integers(0, len(EXTREME)))])


def of_json(data: bytes, rng: np.random.Generator) -> bytes:
    """Values of wrong types and sizes, entries taken out or doubled, words that are no numbers, deep nesting."""
    content = json.loads(data)
    for _ in range(int(rng.integers(1, 4))):
        places = _places(content)
        if len(places) < 2:
            break
        *above, last = places[int(rng.integers(1, len(places)))]
        parent = content
        for key in above:
            parent = parent[key]
        how = int(rng.integers(0, 5))
        if how == 0:
            del parent[last]
        elif how == 1 and isinstance(parent, dict):
            parent[f"{last}x" if rng.random() < 0.5 else "new"] = copy.deepcopy(parent[last])
        else:
            parent[last] = _changed_value(parent[last], rng)
    text = json.dumps(content, indent=1)
    if rng.random() < 0.2:
        numbers = list(re.finditer(r"(?<=: )-?\d[\d.e+-]*", text))
        if numbers:
            one = numbers[int(rng.integers(0, len(numbers)))]
            text = text[: one.start()] + WORDS[int(rng.integers(0, len(WORDS)))] + text[one.end() :]
    if rng.random() < 0.1:
        lines = text.splitlines()
        at = int(rng.integers(0, len(lines)))
        text = "\n".join([*lines[: at + 1], *lines[at:]])
    return text.encode("utf-8", "surrogatepass")


def of_lines(data: bytes, rng: np.random.Generator) -> bytes:
    """Lines taken out, doubled and swapped; values exchanged for extreme ones."""
    lines = data.decode("utf-8", "replace").splitlines()
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(0, max(len(lines), 1)))
        how = int(rng.integers(0, 4))
        if not lines:
            break
        if how == 0:
            del lines[at]
        elif how == 1:
            lines.insert(at, lines[at])
        else:
            words = re.split(r"([=;,\s]+)", lines[at])
            index = int(rng.integers(0, len(words)))
            value = EXTREME[int(rng.integers(0, len(EXTREME)))] if how == 2 else WORDS[int(rng.integers(0, len(WORDS)))]
            words[index] = str(value)
            lines[at] = "".join(words)
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def mutation(made: Made, name: str, data: bytes, pool: list[bytes], rng: np.random.Generator) -> bytes:
    """A mutated file: of bytes, or by what the format is made of."""
    if rng.random() < 0.5:
        if name.endswith(".json"):
            return of_json(data, rng)
        if name.endswith((".toml", ".csv", ".txt")):
            return of_lines(data, rng)
    return mutated(data, pool, rng)


@dataclass(frozen=True)
class Way:
    """How files are mutated.

    Parameters
    ----------
    structured : bool
        Whether a mutation keeps to the format's structure, by `tools.readers.structured`.
    resealed : bool
        Whether checksums are then brought up to what was changed: other numbers are no fault of ours then.
    """

    structured: bool = False
    resealed: bool = False


@dataclass
class Tally:
    """What the cases of one kind did."""

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0
    peak: int = 0


def _peak() -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def _case(made: Made, expected: str, folder: Path, pool: list[bytes], seed: tuple[int, ...], way: Way) -> str:
    """Mutate a file of a copy of what was made, and use it; the outcome in words."""
    rng = np.random.default_rng(seed)
    box = folder / "box"
    shutil.rmtree(box, ignore_errors=True)
    shutil.copytree(made.folder, box)
    name = made.files[int(rng.integers(0, len(made.files)))]
    data = (made.folder / name).read_bytes()
    if way.structured:
        mutate(box / name, rng)
    else:
        (box / name).write_bytes(mutation(made, name, data, pool, rng))
    changed = (box / name).read_bytes()
    if way.resealed:
        reseal(box, name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = made.use(box)
    except NoiseflowError as error:
        return "refused" if "\n" not in str(error) else f"FAULT more than one line: {error!s:.200}"
    except Exception as error:
        if way.resealed and isinstance(error, ArithmeticError) and str(error).startswith("garbage"):
            # Weights under a checksum that fits are what somebody wished for.
            return "read"
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"FAULT {type(error).__name__} at {Path(where.filename).name}:{where.lineno}: {error!s:.120}"
    if changed == data or found == expected:
        return "same"
    if way.resealed:
        return "read"
    return "FAULT other numbers without a word" if made.protected(box) else "read"


def _run(made: Made, folder: Path, pool: list[bytes], seed: int, first: int, count: int, pipe: int, way: Way) -> None:
    """Cases in a process of its own, each told in a line."""
    expected = made.use(made.folder)
    with os.fdopen(pipe, "w") as told:
        for case in range(first, count):
            print(f"begin {case}", file=told, flush=True)
            began, before = time.process_time(), _peak()
            outcome = _case(made, expected, folder, pool, (seed, case, sum(map(ord, made.name))), way)
            spent, grown = time.process_time() - began, _peak() - before
            print(f"end {case} {spent:.3f} {grown} {outcome!a}", file=told, flush=True)


def fuzz(made: Made, count: int, seed: int, folder: Path, pool: list[bytes], way: Way = Way()) -> Tally:
    """All cases of one kind; a process that is killed or hangs is started anew behind that case."""
    tally, first = Tally(), 0
    while first < count:
        read, write = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(read)
            status = 1
            try:
                _run(made, folder, pool, seed, first, count, write, way)
                status = 0
            finally:
                os._exit(status)
        os.close(write)
        first = _watch(read, pid, first, tally)
        os.close(read)
    return tally


def _watch(read: int, pid: int, first: int, tally: Tally) -> int:
    """Take what a process tells; the case to go on with."""
    import select

    text, case, began = b"", first, time.monotonic()
    while True:
        ready, _, _ = select.select([read], [], [], 1.0)
        if ready:
            block = os.read(read, 1 << 16)
            *lines, text = (text + block).split(b"\n")
            for line in lines:
                words = line.decode().split(" ", 4)
                case = int(words[1])
                if words[0] == "begin":
                    began = time.monotonic()
                    continue
                seconds, grown, outcome = float(words[2]), int(words[3]), words[4].strip("'\"")
                tally.outcomes[outcome.split()[0]] += 1
                tally.slowest, tally.peak = max(tally.slowest, seconds), max(tally.peak, grown)
                case += 1
                if outcome.startswith("FAULT"):
                    tally.failures.append(f"case {case - 1}: {outcome}")
                if grown > MAX_BYTES:
                    tally.failures.append(f"case {case - 1}: took {grown / 1e6:.0f} MB")
                if seconds > MAX_SECONDS:
                    tally.failures.append(f"case {case - 1}: took {seconds:.1f} s")
            if not block:
                _, status = os.waitpid(pid, 0)
                if status:
                    tally.failures.append(f"case {case}: killed the process ({os.waitstatus_to_exitcode(status)})")
                    return case + 1
                return 1 << 60
        elif time.monotonic() - began > 12 * MAX_SECONDS:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            tally.failures.append(f"case {case}: hung")
            return case + 1


@click.command()
@click.option("--count", type=click.IntRange(1), default=3000, show_default=True, help="Cases of each kind.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the mutations.")
@click.option("--kind", "only", multiple=True, type=click.Choice(list(ALL_KINDS)), help="Only files of this kind.")
@click.option("--structured", is_flag=True, help="Mutations that keep to the formats' structure.")
@click.option("--resealed", is_flag=True, help="Bring checksums up to what was changed.")
def main(count: int, seed: int, only: tuple[str, ...], structured: bool, resealed: bool) -> None:
    """Fuzz the readers of our own files, and print what happened."""
    failed = 0
    with tempfile.TemporaryDirectory() as place:
        made = {name: ALL_KINDS[name](Path(place) / name) for name in ALL_KINDS if not only or name in only}
        pool = [(each.folder / file).read_bytes() for each in made.values() for file in each.files]
        for name, each in made.items():
            began = time.monotonic()
            tally = fuzz(each, count, seed, Path(place) / f"{name}-box", pool, Way(structured, resealed))
            failed += len(tally.failures)
            click.echo(
                f"{name}: {count} cases in {time.monotonic() - began:.0f} s: {dict(tally.outcomes)}, "
                f"{len(tally.failures)} failures, slowest {tally.slowest:.2f} s, grown by {tally.peak / 1e6:.0f} MB"
            )
            for failure, times in Counter(re.sub(r"^case \d+: ", "", text) for text in tally.failures).most_common(12):
                first = next(text for text in tally.failures if text.endswith(failure))
                click.echo(f"  {times} × {first}")
            sys.stdout.flush()
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
