"""A zoo of cameras: what a default fit finds of each, and what its samples lack.

python -m tools.studies.zoo docs/guide/results-zoo.md
"""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import torch

import noiseflow
from noiseflow.fit import FitSettings
from tools.studies.zoo.cameras import CAMERAS, GAIN, READ, ROWS
from tools.studies.zoo.frames import Frames, alone
from tools.studies.zoo.measures import FIGURES, RATIOS, Deviation
from tools.studies.zoo.trial import Trial, tried
from tools.studies.zoo.truth import COVARIANCES
from tools.studies.zoo.unseen import UNSEEN

ZOO: Mapping[str, tuple[Frames, str]] = {name: (alone(camera), option) for name, (camera, option) in CAMERAS.items()}

KEPT = "## What the tables show"
"""Heading of what is written by hand, to the end of the page."""

SIGNALS, DRAWS = 2, 8
"""Scenes of each light that samples are compared on, and frames of each."""

NAMES = (*FIGURES, "frame means")
HEAD = (
    "camera",
    "planted",
    "found",
    "objective",
    "better than nlf, nats/dim",
    "behind the truth, 10⁻³ nats/dim",
    "cost of a denoiser, dB",
    *NAMES,
)
TABLES = (0, 1, 2, 3, 4, 5, 6), (0, 7, 8, 9, 10, 11), (0, 12, 13, 14, 15, 16)
"""Places in `HEAD` of the columns of each table: what is found, rows and variance, neighbours and the rest."""

TEXT = """# Results: a zoo of cameras

Made by `{command}` with noiseflow {version}, torch {torch}.

Each simulated camera has shot noise (K = {gain:g} DN/e⁻), read noise ({read:g} DN), row noise ({rows:g} DN) and
one more property; those of the second section have several, or other strengths, or other kinds of frames
(`tools/studies/zoo/unseen.py`). A default `physics_flow` is fitted to 24 frames of 256 × 384 pixels from dark to
95 % of full scale, three at each of eight levels of light. It is compared with the camera on {signals} other
scenes at each level, with {draws} frames of each. The columns show sampled over real variance (for correlations:
sampled minus real), ± the standard error, at the level of light with the largest deviation; row and column means
are relative to the mean of their frame. The number in brackets is the same for a second draw from the camera: a
perfect model would deviate as much by chance. *Planted* and *found* are options of the spec. *Behind the truth*
is the NLL of new crops minus that of normal noise with the true covariance; it is below 0 if the skewness of shot
noise matters. *Cost* is the loss in dB of the best linear denoiser designed for the samples instead of for other
noise of the camera, at the level of light with the largest loss.
"""


def cell(name: str, figure: Deviation, floor: Deviation) -> str:
    """One cell: the value and its error, and the floor."""
    if name in RATIOS or name == "frame means":
        return f"{figure.value:.3f} ± {figure.error:.3f} ({floor.floor:.3f})"
    return f"{figure.value:+.3f} ± {figure.error:.3f} ({floor.floor:+.3f})"


def row_of(name: str, planted: str, trial: Trial) -> list[str]:
    """The cells of one camera, in the order of `HEAD`."""
    floors = {}
    for each in FIGURES:
        nought = 1.0 if each in RATIOS else 0.0
        floors[each] = max((light[each] for light in trial.each.values()), key=lambda at: abs(at.floor - nought))
    floors["frame means"] = trial.figures["frame means"]
    cells = [cell(each, trial.figures[each], floors[each]) for each in NAMES]
    behind = "–" if trial.behind is None else f"{1e3 * trial.behind.value:+.2f} ± {1e3 * trial.behind.error:.2f}"
    cost = f"{-trial.cost.value:+.2f} ± {trial.cost.error:.2f}"
    head = [name, planted, trial.found, trial.result.objective.name, f"{trial.gain:.4f}", behind, cost]
    return [*head, *cells]


def page(rows: Mapping[str, list[list[str]]], command: str, before: str = "") -> str:
    """The page with its tables; from `KEPT` on it stays as it was `before`."""
    text = TEXT.format(
        command=command,
        version=noiseflow.__version__,
        torch=torch.__version__,
        gain=GAIN,
        read=READ,
        rows=ROWS,
        signals=SIGNALS,
        draws=DRAWS,
    )
    lines = [text]
    for title, several in rows.items():
        if several:
            lines.append(f"## {title}\n")
            for places in TABLES:
                head, *body = ("| " + " | ".join(each[place] for place in places) + " |" for each in (HEAD, *several))
                lines += [head, "|" + "---|" * len(places), *body, ""]
    return "\n".join([*lines, before[before.index(KEPT) :] if KEPT in before else ""])


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--camera", "names", multiple=True, type=click.Choice([*ZOO, *UNSEEN]), help="All by default.")
@click.option("--steps", default=8, show_default=True, help="Steps of each fit.")
@click.option("--seed", default=0, show_default=True)
def main(out: Path, names: tuple[str, ...], steps: int, seed: int) -> None:
    """Fit the default model to each camera of the zoo and write the page OUT; what is written by hand is kept."""
    settings = FitSettings(epochs=1, steps_per_epoch=steps)
    rows: dict[str, list[list[str]]] = {
        "One property each": [],
        "Several properties, other strengths, other frames": [],
    }
    for title, cameras in zip(rows, (ZOO, UNSEEN), strict=True):
        for name, (frames, planted) in cameras.items():
            if names and name not in names:
                continue
            with TemporaryDirectory() as folder:
                known = COVARIANCES.get(name)
                trial = tried(frames, Path(folder), settings, seed, signals=SIGNALS, draws=DRAWS, covariance=known)
            rows[title].append(row_of(name, planted, trial))
            click.echo(f"{name}: {'; '.join((*trial.result.components, *trial.warned))}\n{' | '.join(rows[title][-1])}")
            # After each, so that a stop loses one camera.
            which = "".join(f' --camera "{each}"' for each in names)
            command = f"python -m tools.studies.zoo {out}{which} --steps {steps} --seed {seed}"
            before = out.read_text(encoding="utf-8") if out.exists() else ""
            out.write_text(page(rows, command, before), encoding="utf-8")


if __name__ == "__main__":
    main()
