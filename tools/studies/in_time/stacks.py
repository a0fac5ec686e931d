"""The EMVA stacks in time: what the later frames owe to the earlier, model beside camera.

Each stack is split by tiles, every other one to fit to, and by time: the fit sees the first half of the frames.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from noiseflow.evaluate.in_time.evaluate_in_time import TimeScores, evaluate_in_time
from noiseflow.evaluate.in_time.frame_correlation import FrameCorrelation
from noiseflow.evaluate.in_time.given_the_past import GivenThePast
from noiseflow.evaluate.in_time.mean_of_frames import MeanOfFrames
from noiseflow.evaluate.metric import DATA
from noiseflow.fit.sequences.choose_parts import TemporalFit, fit_temporal
from noiseflow.fit.sequences.tiles import SequenceTiles, tiles_of
from noiseflow.flows.conditions import Conditions
from noiseflow.models import ModelSpec, build
from noiseflow.raw.formats.emva import NOMINAL_ISO, EmvaFolder, Series, read_emva, read_frame

SETS = {"001": "EMVA1288_ReferenceSet_001_CCD_12Bit", "002": "EMVA1288_ReferenceSet_002_CMOS_08Bit_left640"}
"""Reference set → its folder."""

KINDS = {"b": "bright", "d": "dark"}
__all__ = ["Row", "facts_of", "measure", "measured", "table"]

LAGS = (1, 2, 5, 10)
MEASURES = "given_the_past", "frame_correlation", "mean_of_frames"


@dataclass(frozen=True, eq=False)
class Row:
    """One stack."""

    name: str
    fit: TemporalFit
    scores: TimeScores


def frames_of(folder: EmvaFolder, series: Series, seed: int = 0) -> list[NDArray[np.float64]]:
    """Normalised frames of a series, with a uniform ±½ code added to each value: a density needs it."""
    rng = np.random.default_rng(seed)
    frames = []
    for file in series.files:
        image = read_frame(folder, series, file)
        planes = image.planes("mono") + rng.random((1, *folder.shape)) - 0.5
        black, white = image.levels("mono")
        frames.append((planes - black) / (white - black))
    return frames


def tiles_with_half_known(frames: list[NDArray[np.float64]], name: str, most: int) -> tuple[SequenceTiles, int]:
    """Tiles of all frames; the even scene is a surface through the first half of the frames."""
    half = len(frames) // 2
    facts = {"iso": NOMINAL_ISO, "camera": "emva", "source": name, "scene": "flat", "most": most}
    early, late = (tiles_of(part, **facts) for part in (frames[:half], frames[half:]))  # type: ignore[arg-type]
    later = late.noise + late.clean - early.clean
    return replace(early, noise=torch.cat([early.noise, later], 1)), half


def measure(folder: EmvaFolder, series: Series, name: str, most: int) -> Row:
    """Fit to one stack, and score what the fit did not see."""
    tiles, half = tiles_with_half_known(frames_of(folder, series), name, most)
    fitted, held_out = tiles.halves()
    seen = replace(fitted, noise=fitted.noise[:, :half])
    frame = build(ModelSpec("gaussian", "mono", ("emva",), (NOMINAL_ISO,)))
    with torch.no_grad():
        frame.log_variance.fill_(float(seen.noise.double().square().mean().log()))  # type: ignore[operator, union-attr]
    fit = fit_temporal(frame, [seen])
    return Row(name, fit, evaluate_in_time({"model": fit.model}, held_out))


def measured(data: Path, tiles: int, only: tuple[str, ...] = ()) -> Iterator[Row]:
    """The longest dark and bright series of both sets, one after the other."""
    for number, folder_name in SETS.items():
        folder = read_emva(data / folder_name)
        for kind, word in KINDS.items():
            name = f"{number} {word}"
            if not only or name in only:
                series = max((each for each in folder.series if each.kind == kind), key=lambda each: len(each.files))
                yield measure(folder, series, name, tiles)


def table(rows: list[Row]) -> str:
    """Markdown."""
    at = ", ".join(map(str, LAGS))
    lines = [
        f"| stack | parts | later frames given the earlier, nats/dim (interval) | correlation at lag {at}: camera "
        "| model | largest difference | variance of the mean of n frames, model/camera | most off |",
        "|---|---|---|---|---|---:|---|---:|",
    ]
    for row in rows:
        scores = row.scores.scores
        past, correlation, mean = (scores[name] for name in MEASURES)
        assert isinstance(past, GivenThePast)
        assert isinstance(correlation, FrameCorrelation)
        assert isinstance(mean, MeanOfFrames)
        gain = past.gain["model"]
        places = [correlation.lags.index(lag) for lag in LAGS]
        real, model = ([correlation.values[name][place] for place in places] for name in (DATA, "model"))
        apart = max(abs(a - b) for a, b in zip(real, model, strict=True))
        ratios = [b / a for a, b in zip(mean.values[DATA], mean.values["model"], strict=True)]
        shown = ", ".join(f"{count}: {ratio:.3f}" for count, ratio in zip(mean.counts, ratios, strict=True))
        off = max(abs(ratio - 1) for ratio in ratios)
        parts = ", ".join(row.fit.model.parts) or "none"
        lines.append(
            f"| {row.name} | {parts} | {gain.value:.4f} ({gain.low:.4f} to {gain.high:.4f}) | "
            f"{_list(real)} | {_list(model)} | {apart:.4f} | {shown} | {100 * off:.1f} % |"
        )
    return "\n".join(lines) + "\n"


def _list(values: list[float]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)


@torch.no_grad()
def facts_of(row: Row) -> dict[str, dict[str, float]]:
    """What the fitted parts are in the field's words."""
    model = row.fit.model
    cond = Conditions(torch.zeros(1, 1, 1, 1), NOMINAL_ISO).resolve(model.cameras)
    return {name: part.facts(cond) for name, part in model.parts.items()}
