"""What bad pixels change: parameters of fits, patches, and rare values, by kind, amount and pairing.

python -m tools.studies.zoo.bad_pixels --page docs/guide/results-zoo.md
"""

import itertools
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np
import torch
from numpy.typing import NDArray

from noiseflow.fit import FitSettings, fit, spec_for
from noiseflow.flows.conditions import Conditions
from noiseflow.models.model import NoiseModel
from noiseflow.patches import IngestOptions, PatchStore, ingest
from noiseflow.raw.formats.dng import write_dng
from noiseflow.raw.image import RawImage
from tools.benching.page import put_between, table

__all__ = ["KINDS", "PAIRINGS", "Cell", "Tail", "measured", "tail"]

Array = NDArray[np.float64]

BLACK, WHITE, GAIN, READ = 256, 4095, 1.0, 4.0
"""Of the camera, DN; the read noise is without rounding."""

SIZE, LARGE = (192, 256), (384, 512)
"""Of a frame in pixels; the larger is for telegraph pixels, whose rare jumps need many."""

LEAST = 0.001
"""Smallest fraction of bad pixels at which more than `nlf` is fitted."""

PAGE_MARK = "bad pixels"
COLUMNS = ("frames", "bad pixels", "part, %", "patches dropped, %", "masked, %")
OF_MODEL = ("σ, %", "K, %")
OF_TAIL = ("beyond 6 σ, ppm", "camera", "as paired", "error of the store, %")
DEFAULT = "physics_flow"

BRIGHT = 300.0
"""Signal at which K is taken, DN."""

DARK = 5.0
"""Patches of less signal are darks, DN."""

JUMP, OFTEN = 60.0, 0.1
"""Jump of a telegraph pixel, DN, and the part of the frames in which it is up."""

FAR = 6.0
"""Values beyond so many σ of the clean camera's dark are counted."""

DRAWS = 24
"""Times 2¹⁸ values of the dark in which they are."""


@dataclass(frozen=True)
class Pairing:
    """How frames are shot: their signals, DN, the number of frames of each, and whether the scene has structure."""

    levels: tuple[float, ...]
    frames: int
    scene: bool = False


PAIRINGS: Mapping[str, Pairing] = {
    "bursts": Pairing((0.0, 60.0, BRIGHT), 8, scene=True),
    "pairs": Pairing((0.0, 0.0, 0.0, 0.0, 20.0, 40.0, 80.0, 150.0, BRIGHT, 600.0), 2),
    "stacks": Pairing((0.0, 40.0, BRIGHT), 16),
}


def _hot(values: Array, rng: np.random.Generator) -> Array:
    return values + 500


def _dead(values: Array, rng: np.random.Generator) -> Array:
    return np.full_like(values, BLACK) + rng.normal(0, READ, len(values))


def _stuck(values: Array, rng: np.random.Generator) -> Array:
    return np.full_like(values, 1500.0)


def _telegraph(values: Array, rng: np.random.Generator) -> Array:
    up: Array = values + JUMP * (rng.random(len(values)) < OFTEN)
    return up


KINDS: Mapping[str, Callable[[Array, np.random.Generator], Array]] = {
    "hot": _hot,
    "dead": _dead,
    "stuck": _stuck,
    "telegraph": _telegraph,
}


@dataclass(frozen=True)
class Cell:
    """What ingest and one model made of a camera.

    Parameters
    ----------
    sigma_dn, gain : float
        σ of the dark in DN, and K in DN/e⁻, of samples.
    far : float
        Values beyond `FAR` in samples of the dark, ppm.
    """

    sigma_dn: float
    gain: float
    far: float


def shot(folder: Path, pairing: Pairing, kind: str, part: float, seed: int, size: tuple[int, int] = SIZE) -> None:
    """Write the frames; the same random numbers with and without bad pixels."""
    down, across = np.mgrid[: size[0], : size[1]] / size[0]
    place = np.random.default_rng(seed).permutation(size[0] * size[1])[: round(part * size[0] * size[1])]
    for scene, level in enumerate(pairing.levels):
        rng, jumps = np.random.default_rng([seed, scene]), np.random.default_rng([seed, scene, 1])
        (folder / f"{scene}").mkdir(parents=True)
        shape = 1 + 0.5 * np.sin(7 * down + scene) * np.cos(5 * across) if pairing.scene else np.ones(size)
        for frame in range(pairing.frames):
            values = BLACK + GAIN * rng.poisson(level * shape / GAIN) + rng.normal(0, READ, size)
            if len(place):
                values.ravel()[place] = KINDS[kind](values.ravel()[place], jumps)
            codes = np.clip(np.rint(values), 0, WHITE).astype(np.uint16)
            image = RawImage(codes, "RGGB", (BLACK,) * 4, WHITE, iso=400, exposure_s=0.01, make="Test", model="Body")
            write_dng(folder / f"{scene}" / f"{frame:02}.dng", image)


@torch.no_grad()
def measured(model: NoiseModel) -> Cell:
    """σ of the dark, K and rare values of what a model samples: the same random numbers for every model."""
    limit, variances, far = FAR * np.hypot(READ, 12**-0.5), [], 0.0
    for level, draws in ((0.0, DRAWS), (BRIGHT, 4)):
        cond = Conditions(torch.full((16, 4, 64, 64), level / (WHITE - BLACK)), 400.0, 0).resolve(model.cameras)
        generator, squares = torch.Generator().manual_seed(0), []
        for number in range(draws):
            noise = model.sample(cond, generator).double() * (WHITE - BLACK)
            if number < 4:
                squares.append(float(noise.var()))
            if level == 0:
                far += float((noise.abs() > limit).double().mean()) / draws
        variances.append(float(np.mean(squares)))
    return Cell(variances[0] ** 0.5, (variances[1] - variances[0]) / BRIGHT, 1e6 * far)


@dataclass(frozen=True)
class Tail:
    """Values beyond `FAR` of the true noise of a dark with telegraph pixels.

    Parameters
    ----------
    camera : float
        Of one frame about the mean of its pixel, ppm.
    paired : float
        Of one frame about the mean of the others, scaled to the variance of one, ppm: what a store holds.
    error : float
        Relative standard error of the second in a store with a number of telegraph pixels, by chance of their jumps.
    """

    camera: float
    paired: float
    error: float


def tail(pairing: Pairing, part: float, pixels: float) -> Tail:
    """The true tail, and its error in a store.

    Parameters
    ----------
    pairing : Pairing
        How frames are shot.
    part : float
        Fraction of telegraph pixels.
    pixels : float
        Number of pixels of the darks.
    """
    rng, count = np.random.default_rng(0), 2_000_000 // pairing.frames
    up = JUMP * (rng.random((count, pairing.frames)) < OFTEN) + rng.normal(0, READ, (count, pairing.frames))
    others = (up.sum(1, keepdims=True) - up) / (pairing.frames - 1)
    noise = (up - others) / np.sqrt(1 + 1 / (pairing.frames - 1))
    limit = FAR * np.hypot(READ, 12**-0.5)
    camera, far = np.abs(up - JUMP * OFTEN) > limit, np.abs(noise) > limit
    # The values of a pixel depend on each other, so that pixels are counted.
    each = far.sum(1)
    error = each.std() / each.mean() / np.sqrt(max(part * pixels, 1e-9))
    return Tail(1e6 * part * float(camera.mean()), 1e6 * part * float(far.mean()), float(error))


def spread(part: float) -> float:
    """σ of the dark with telegraph pixels over that without."""
    return float(np.sqrt(1 + part * OFTEN * (1 - OFTEN) * JUMP**2 / (READ**2 + 1 / 12)))


def cell(
    pairing: Pairing,
    kind: str,
    part: float,
    models: Sequence[str],
    settings: FitSettings,
    seed: int,
    size: tuple[int, int],
) -> tuple[list[str], dict[str, Cell], Tail]:
    """Percentages of patches dropped and of values masked, what each model made of the frames, and the true tail."""
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        root = Path(folder)
        shot(root / "raw", pairing, kind, part, seed, size)
        found = ingest([root / "raw"], root / "store.h5", IngestOptions(patch_size=32), jobs=1)
        left_out = found.masked + found.clipped
        with PatchStore(found.path) as store:
            dropped = 100 * left_out / (len(store) + left_out)
            every = store.read(np.arange(len(store)))
            masked = 0.0 if every.observed is None else 100 * float((~every.observed).double().mean())
            fitted = store.read(store.indices("train"))
            dark = fitted.clean.double().mean((1, 2, 3)) * (WHITE - BLACK) < DARK
            values = int(dark.sum()) * fitted.noise[0].numel()
            made = {}
            for model in models:
                made[model] = measured(fit(store, spec_for(store, model), root / model, settings).model)
    jumping = part if kind == "telegraph" else 0.0
    return [f"{dropped:.2f}", f"{masked:.3f}"], made, tail(pairing, jumping, values / pairing.frames)


def cells_of(
    models: Sequence[str], kind: str, part: float, made: Mapping[str, Cell], clean: Mapping[str, Cell], true: Tail
) -> list[str]:
    """The columns of the models, against the clean camera, and those of the tail of the default one."""
    cells, wider = [], spread(part) if kind == "telegraph" else 1.0
    for name in models:
        found, base = made.get(name), clean[name]
        cells += (
            ["–", "–"]
            if found is None
            else [
                f"{100 * (found.sigma_dn / base.sigma_dn / wider - 1):+.2f}",
                f"{100 * (found.gain / base.gain - 1):+.2f}",
            ]
        )
    if DEFAULT in models:
        cells.append(f"{made[DEFAULT].far:.1f}" if DEFAULT in made else "–")
        cells += [f"{true.camera:.1f}", f"{true.paired:.1f}", f"{100 * true.error:.0f}" if true.paired else "–"]
    return cells


@click.command()
@click.option("--part", "parts", multiple=True, type=float, default=(0.0001, 0.001, 0.01), show_default=True)
@click.option("--kind", "kinds", multiple=True, type=click.Choice([*KINDS]), default=tuple(KINDS))
@click.option("--pairing", "pairings", multiple=True, type=click.Choice([*PAIRINGS]), default=tuple(PAIRINGS))
@click.option("--model", "models", multiple=True, default=("nlf", DEFAULT), show_default=True)
@click.option("--epochs", default=10, show_default=True, help="Epochs of each fit.")
@click.option("--steps", default=5, show_default=True, help="Steps of each epoch.")
@click.option("--seed", default=0, show_default=True)
@click.option("--page", type=click.Path(path_type=Path, exists=True), help="Page to put the table in.")
def main(
    parts: tuple[float, ...],
    kinds: tuple[str, ...],
    pairings: tuple[str, ...],
    models: tuple[str, ...],
    epochs: int,
    steps: int,
    seed: int,
    page: Path | None,
) -> None:
    """Print, for each kind, amount and pairing, what bad pixels change against the clean camera."""
    torch.set_num_threads(1)
    settings, rows = FitSettings(epochs=epochs, steps_per_epoch=steps), []
    columns = [*COLUMNS, *(f"`{name}` {figure}" for name in models for figure in OF_MODEL)]
    columns += OF_TAIL if DEFAULT in models else ()
    for name in pairings:
        for size in (SIZE, LARGE):
            bad = [kind for kind in kinds if (kind == "telegraph") == (size == LARGE)]
            clean: dict[str, Cell] = {}
            for kind, part in [("none", 0.0), *itertools.product(bad, parts)] if bad else []:
                fitted = [model for model in models if model == "nlf" or not 0 < part < LEAST]
                of_store, made, true = cell(PAIRINGS[name], kind, part, fitted, settings, seed, size)
                clean = clean or made
                shown = cells_of(models, kind, part, made, clean, true)
                rows.append([name, kind, f"{100 * part:g}", *of_store, *shown])
                click.echo(" | ".join(rows[-1]))
    text = table(columns, rows)
    click.echo(text)
    if page is not None:
        put_between(page, PAGE_MARK, text)


if __name__ == "__main__":
    main()
