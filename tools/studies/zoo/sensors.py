"""Real sensors: the default model against `nlf`, `noise_flow` and single options, and what it finds.

python -m tools.studies.zoo.sensors docs/guide/results-zoo.md --data ../shared/data --work /tmp/sensors
"""

import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import t as student

from noiseflow.core.errors import FitWarning
from noiseflow.evaluate import evaluate
from noiseflow.evaluate.statistics.intervals import Interval
from noiseflow.fit import FitSettings, fit, spec_for
from noiseflow.fit.discretised_objective import codes_of
from noiseflow.models import NoiseModel, load
from noiseflow.models.integers.discrete_log_prob import discrete_log_prob
from noiseflow.patches import IngestOptions, PatchStore, ingest
from noiseflow.raw.settings import RawSettings
from tools.benching.page import put_between, table

__all__ = ["MODELS", "SENSORS", "Sensor", "difference"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Sensor:
    """Frames of one camera, and how long fits of them take.

    Parameters
    ----------
    source : str
        Folder or file in the folder of real data.
    settings : RawSettings
        What the files do not state.
    fit : FitSettings
        Of all fits; the objective of the others is the default's.
    judged : str
        Split whose samples are judged: one that has enough pieces.
    """

    source: str
    settings: RawSettings = field(default_factory=RawSettings)
    fit: FitSettings = field(default_factory=lambda: FitSettings(epochs=2, steps_per_epoch=12))
    judged: str = "test"


SENSORS: Mapping[str, Sensor] = {
    "Nikon D7000, flats at ISO 100": Sensor("bayer/nikon_d7000_flats", judged="train"),
    "Seestar S50, 12 frames of the sky": Sensor(
        "bayer/seestar_s50", RawSettings(black=(400.0,), white=65535.0), judged="train"
    ),
    "sCMOS, 6 bias frames": Sensor("scmos/scmos_bias_6.npz", RawSettings(cfa="MONO", white=65535.0), judged="train"),
}

MODELS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "default": ("physics_flow", {}),
    "nlf": ("nlf", {}),
    "noise_flow": ("noise_flow", {}),
    "couplings=4": ("physics_flow", {"couplings": 4}),
    "column_noise": ("physics_flow", {"column_noise": True}),
    "row_flicker": ("physics_flow", {"row_flicker": True}),
    "row_memory": ("physics_flow", {"row_memory": True}),
    "neighbours=mosaic": ("physics_flow", {"neighbours": "mosaic"}),
    "neighbours=plane": ("physics_flow", {"neighbours": "plane"}),
    "bend": ("physics_flow", {"bend": True}),
    "telegraph": ("physics_flow", {"telegraph": True}),
}

ENOUGH = 8
"""Frames from which an interval is over frames, and not over patches."""

MARK = "sensors"


@torch.no_grad()
def nll_of(model: NoiseModel, store: PatchStore, split: str, *, codes: bool) -> tuple[Array, Array, Array]:
    """NLL of each patch of a split in nats, its number of values that are not masked, and the number of its frame."""
    nll, count, frame = [], [], []
    for batch in store.batches(split, 64):
        found, cond, levels = codes_of(batch)
        if codes:
            generator = torch.Generator().manual_seed(0)
            values = discrete_log_prob(model, found, cond, levels, samples=4, generator=generator).values
        else:
            values = model.log_prob(batch.noise, cond).double()
        seen = batch.noise[0].numel() if batch.observed is None else batch.observed.sum((1, 2, 3)).double().numpy()
        nll.append(-values.double().numpy())
        count.append(np.broadcast_to(seen, nll[-1].shape))
        frame.append(batch.table["source"].astype(np.int64))
    return np.concatenate(nll), np.concatenate(count).astype(np.float64), np.concatenate(frame)


def difference(own: Array, other: Array, count: Array, frame: Array) -> tuple[float, float, str]:
    """NLL of another model less one's own, nats/dim, half of its 95 % interval, and what that is over."""
    names, group = np.unique(frame, return_inverse=True)
    over = "frames" if len(names) >= ENOUGH else "patches"
    if over == "patches":
        group = np.arange(len(frame))
    size = np.bincount(group, count)
    mean = float((other - own).sum() / count.sum())
    departure = np.bincount(group, other - own) - mean * size
    groups = len(size)
    error = math.sqrt(groups / (groups - 1) * float(departure @ departure)) / float(size.sum())
    return mean, float(student.ppf(0.975, groups - 1)) * error, over


def measured(sensor: Sensor, folder: Path, data: Path, names: Sequence[str]) -> dict[str, Any]:
    """Ingest, fit each model, and compare; a file keeps what is finished."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "measured.json"
    found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    if not (folder / "store.h5").exists():
        told = ingest([data / sensor.source], folder / "store.h5", IngestOptions(settings=sensor.settings), jobs=1)
        left_out = told.masked + told.clipped
        found["dropped"] = left_out / (left_out + sum(told.patches.values()))
    with PatchStore(folder / "store.h5") as store:
        objective = found.get("objective", "auto")
        nll: dict[str, tuple[Array, Array, Array]] = {}
        for name in names:
            model, options = MODELS[name]
            run = folder / name.replace("=", "_")
            if not run.exists():
                settings = replace(sensor.fit, objective=objective)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", FitWarning)
                    result = fit(store, spec_for(store, model, options), run, settings)
                if name == "default":
                    objective = found["objective"] = result.objective.name
                    found["components"] = list(result.components)
            nll[name] = nll_of(load(run), store, "test", codes=objective == "discretised")
            if name != "default":
                found[name] = difference(nll["default"][0], nll[name][0], *nll["default"][1:])
            kept.write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")
        if "accuracy" not in found:
            default = load(folder / "default")
            scores = evaluate({"physics_flow": default}, store, split=sensor.judged, max_patches=1000).scores
            found["accuracy"] = _numbers(scores["two_sample"].accuracy.get("physics_flow"))  # type: ignore[attr-defined]
            found["cost"] = _numbers(scores["denoising"].cost.get("physics_flow"))  # type: ignore[attr-defined]
            found["floor"] = _numbers(scores["denoising"].floor)  # type: ignore[attr-defined]
        kept.write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")
    return found


def _numbers(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [float(interval.value), float(interval.low), float(interval.high)]


def _signed(values: Sequence[Any]) -> str:
    mean, half, _ = values
    return f"{mean:+.5f} ± {half:.5f}"


def _range(values: Sequence[float] | None, factor: float = 1.0, digits: int = 2) -> str:
    if values is None:
        return "too few"
    value, low, high = (factor * each for each in values)
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def page(found: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """The tables in Markdown."""
    rows = [
        (
            name,
            "discretised" if each["objective"] == "discretised" else "continuous",
            "; ".join(each["components"]),
            _range(each["accuracy"], 100, 1),
            _range(each["cost"]),
            _range(each["floor"]),
        )
        for name, each in found.items()
    ]
    columns = ("sensor", "objective", "found", "two-sample test, %", "cost of a denoiser, dB", "floor")
    yield table(columns, rows)
    names = list(found)
    others = [name for name in MODELS if name != "default" and any(name in each for each in found.values())]
    rows = [
        (f"`{other}`", *(_signed(found[name][other]) if other in found[name] else "–" for name in names))
        for other in others
    ]
    over = ["over " + next(each[other][2] for other in others if other in each) for each in found.values()]
    yield table(("default better than", *(f"{name}, {each}" for name, each in zip(names, over, strict=True))), rows)


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path, exists=True), default=Path("../shared/data"), show_default=True)
@click.option("--work", type=click.Path(path_type=Path), required=True, help="Folder of stores and runs.")
@click.option("--sensor", "sensors", multiple=True, type=click.Choice([*SENSORS]), help="All by default.")
@click.option("--model", "models", multiple=True, type=click.Choice([*MODELS]), help="All by default.")
def main(out: Path, data: Path, work: Path, sensors: tuple[str, ...], models: tuple[str, ...]) -> None:
    """Write the tables of the real sensors to the page OUT; what is finished in --work is not run again."""
    torch.set_num_threads(1)
    found = {}
    for place, (name, sensor) in enumerate(SENSORS.items()):
        if not sensors or name in sensors:
            wanted = [each for each in MODELS if not models or each in models or each == "default"]
            found[name] = measured(sensor, work / f"sensor_{place}", data, wanted)
            click.echo(f"{name}: {json.dumps(found[name], ensure_ascii=False)}")
    put_between(out, MARK, "\n".join(page(found)))


if __name__ == "__main__":
    main()
