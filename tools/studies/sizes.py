"""What the size of `physics_flow` is worth: held-out NLL of larger and smaller ones, at the same budget of training.

python -m tools.studies.sizes --data ../shared/data --work sizes --page docs/physics-flow.md
"""

import itertools
import json
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray

from noiseflow.evaluate.baselines import baselines
from noiseflow.evaluate.benchmark.run_benchmark import prepare
from noiseflow.evaluate.benchmark.spec import read_spec
from noiseflow.evaluate.statistics.intervals import LEVEL, bootstrap_ratio
from noiseflow.fit import FitSettings, fit, spec_for
from noiseflow.fit.batches import conditions_of
from noiseflow.models import NoiseModel
from noiseflow.patches import PatchStore
from noiseflow.patches.store.patches import PatchBatch
from tools.benching.page import put_table

SPEC = Path(__file__).resolve().parents[1] / "results.toml"

EMVA = "EMVA 1288 set 001"
STACKS = f"{EMVA}, stacks"
"""The same store without its pairs of frames, whose clean signal holds the noise that is scored."""
SHARED = "PG-12, neighbours"
"""Noise that is blurred along the columns."""

SETTINGS = FitSettings(batch=64, learning_rate=1e-3, warmup=20, held_out=512, patience=None, compile="on")
LOOKS = 3
SIZES = ((4, 16, 8), (2, 8, 8), (1, 8, 8), (0, 16, 8), (0, 8, 8), (0, 8, 4))
REFERENCES = ("nlf", "noise_flow")
COLUMNS = ("couplings, width, bins", "parameters")

Record = dict[str, Any]
Array = NDArray[np.float64]


@dataclass(frozen=True, order=True)
class Size:
    """Options of the spec."""

    couplings: int
    width: int
    bins: int

    @property
    def name(self) -> str:
        """As in the table."""
        return f"{self.couplings}, {self.width}, {self.bins}"


class Stacks:
    """Patches whose clean signal is a mean of many frames; all else as the store has it."""

    def __init__(self, store: PatchStore) -> None:
        self.store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def indices(self, split: str) -> NDArray[np.int64]:
        """Row numbers of a split."""
        rows = self.store.indices(split)
        return rows[self.store.table["clean_variance"][rows] < 0.1]


class Neighbours(Stacks):
    """All patches, with noise that pixels side by side share: n'(x) = (n(x) + 0.3 n(x + 1)) / √1.09."""

    def indices(self, split: str) -> NDArray[np.int64]:
        """Row numbers of a split."""
        return self.store.indices(split)

    def read(self, rows: NDArray[Any], dtype: torch.dtype = torch.float32, *, pairs: bool = False) -> PatchBatch:
        """Patches by row number."""
        batch = self.store.read(rows, dtype, pairs=pairs)
        return replace(batch, noise=(batch.noise + 0.3 * batch.noise.roll(-1, 3)) / 1.09**0.5)


SEEN: dict[str, Callable[[PatchStore], Any]] = {STACKS: Stacks, SHARED: Neighbours}
"""What of a store is seen under another name than its own."""


def parts(store: Any, data: str) -> dict[str, NDArray[np.int64]]:
    """Held-out rows that are scored, by what they are called."""
    if EMVA not in data:
        return {data: store.indices("test")}
    rows = Stacks(store).indices("test")
    scenes = store.table["scene"][rows]
    found = {scene: rows[scenes == scene] for scene in np.unique(scenes)}
    dark = min(found, key=lambda scene: float(store.read(found[scene]).clean.mean()))
    return {f"{data}, {'dark' if scene == dark else 'bright'}": some for scene, some in found.items()}


@torch.no_grad()
def scores(model: NoiseModel, store: Any, data: str) -> dict[str, dict[str, list[float]]]:
    """NLL summed over each frame in nats, and its values, by part."""
    found = {}
    for part, rows in parts(store, data).items():
        pieces = []
        for start in range(0, len(rows), 64):
            batch = store.read(rows[start : start + 64])
            pieces.append(-model.log_prob(batch.noise, conditions_of(batch)).double().numpy())
        _, frame = np.unique(store.table[rows][["camera", "iso", "scene", "frame"]], return_inverse=True)
        count = np.bincount(frame) * math.prod(store.patch_shape)
        found[part] = {"nats": np.bincount(frame, np.concatenate(pieces)).tolist(), "values": count.tolist()}
    return found


def run(store: Any, data: str, model: str, options: dict[str, int], seed: int, steps: int) -> Record:
    """Fit and score one model."""
    settings = replace(SETTINGS, seed=seed, epochs=LOOKS, steps_per_epoch=steps // LOOKS)
    if model == "noise_flow":
        settings = replace(settings, learning_rate=2e-3, warmup=0)
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        spec = spec_for(store, model, options if model == "nlf" else {**options, "seed": seed})
        fitted = fit(store, spec, Path(folder) / "run", settings).model
    spent = time.process_time() - began
    parameters = sum(each.numel() for each in fitted.parameters())
    return {"parameters": parameters, "processor_s": round(spent, 1), "scores": scores(fitted, store, data)}


def once(path: Path, make: Any) -> Record:
    """What a file holds, made now if it is not there."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        partial.write_text(json.dumps(make()), encoding="utf-8")
        partial.replace(path)
    held: Record = json.loads(path.read_text(encoding="utf-8"))
    return held


def record(work: Path, store: Any, data: str, name: str, options: dict[str, int], seed: int, steps: int) -> Record:
    """A finished cell, or one that is made now."""
    path = work / "cells" / data / f"{name}, {steps} steps, seed {seed}.json"
    model = "physics_flow" if options else name
    return once(path, lambda: run(store, data, model, options, seed, steps))


def truth(work: Path, store: Any, data: str) -> Record | None:
    """Scores of the density that simulated data were drawn from."""
    if not store.truth or data in SEEN:
        return None
    oracle = baselines(store, {})["oracle"]
    return once(work / "cells" / data / "oracle.json", lambda: {"scores": scores(oracle, store, data)})


def against(records: Sequence[Record], others: Sequence[Record], part: str) -> tuple[float, str]:
    """Mean NLL over seeds in nats/dim; how much more it is than others', 10⁻³ nats/dim, with half its 95 % interval."""
    nats, other = (np.mean([each["scores"][part]["nats"] for each in some], 0) for some in (records, others))
    values = np.array(records[0]["scores"][part]["values"], np.float64)
    paired = bootstrap_ratio(numerator=nats - other, denominator=values, level=LEVEL)
    return float(nats.sum() / values.sum()), f"{1e3 * paired.value:+.2f} ± {1e3 * (paired.half_width or math.nan):.2f}"


def spread(records: Sequence[Record], part: str) -> float:
    """Largest difference between seeds, nats/dim."""
    means = [float(np.sum(each["scores"][part]["nats"]) / np.sum(each["scores"][part]["values"])) for each in records]
    return max(means) - min(means)


def lines(cells: dict[str, list[Record]], reference: str, names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Rows of the table."""
    for name, records in cells.items():
        row = [name, f"{records[0]['parameters']:,}" if "parameters" in records[0] else "–"]
        for part in names:
            nll, behind = against(records, cells[reference], part)
            row.append(f"{nll:.5f}" if name == reference else behind)
        yield tuple(row)


@click.command()
@click.option(
    "--spec", type=click.Path(path_type=Path, exists=True), default=Path(__file__).resolve().parents[1] / "results.toml"
)
@click.option("--data", type=click.Path(path_type=Path, exists=True), default=Path("../shared/data"))
@click.option(
    "--work", type=click.Path(path_type=Path), default=Path("sizes"), show_default=True, help="Kept; resumed."
)
@click.option("--on", multiple=True, default=(EMVA, STACKS, "PG-12", "Sony A7S2", SHARED), show_default=True)
@click.option(
    "--size",
    type=(int, int, int),
    multiple=True,
    default=SIZES,
    show_default=True,
    help="Couplings, width of the nets, bins of the spline; the first is what the others are compared with.",
)
@click.option("--seed", multiple=True, default=(0, 1), show_default=True, help="Of starting weights and batches.")
@click.option("--steps", default=300, show_default=True, help="Of training, 64 patches each.")
@click.option("--page", type=click.Path(path_type=Path, exists=True), help="Page to put the tables in.")
def main(
    spec: Path,
    data: Path,
    work: Path,
    on: tuple[str, ...],
    size: tuple[tuple[int, int, int], ...],
    seed: tuple[int, ...],
    steps: int,
    page: Path | None,
) -> None:
    """Fit every size to all data with every seed, and print NLL against the reference's, frame by frame."""
    torch.set_num_threads(1)
    sizes = [Size(*each) for each in size]
    wanted = read_spec(spec)
    for name in on:
        source = next(each for each in wanted.data if name.split(",")[0] == each.name)
        path, _ = prepare(source, data.resolve(), (work / "data" / source.name).resolve(), wanted.seed)
        with PatchStore(path) as whole:
            store = SEEN[name](whole) if name in SEEN else whole
            cells: dict[str, list[Record]] = {}
            for number, each in itertools.product(seed, sizes):
                options = asdict(each)
                cells.setdefault(each.name, []).append(record(work, store, name, each.name, options, number, steps))
            for model in REFERENCES:
                cells[model] = [record(work, store, name, model, {}, number, steps) for number in seed]
            oracle = truth(work, store, name)
            if oracle is not None:
                cells["oracle"] = [oracle]
            names = list(parts(store, name))
        columns = (*COLUMNS, *names)
        rows = list(lines(cells, sizes[0].name, names))
        click.echo("\t".join(columns))
        for row in rows:
            click.echo("\t".join(row))
        for part in names:
            apart = max(spread(records, part) for each, records in cells.items() if each not in (*REFERENCES, "oracle"))
            click.echo(f"{part}: seeds are up to {1e3 * apart:.2f} millinats/dim apart")
        if page is not None:
            put_table(page, columns, rows)


if __name__ == "__main__":
    main()
