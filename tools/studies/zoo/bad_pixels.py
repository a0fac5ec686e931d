"""What bad pixels change: parameters of fits, patches, and rare values, by kind, amount and pairing.

python -m tools.studies.zoo.bad_pixels
"""

import itertools
import warnings
from collections.abc import Callable, Mapping
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

__all__ = ["KINDS", "PAIRINGS", "Cell", "measured"]

Array = NDArray[np.float64]

SIZE, BLACK, WHITE, GAIN, READ = (192, 256), 256, 4095, 1.0, 4.0
"""Of a frame in pixels, and of the camera in DN; the read noise is without rounding."""

BRIGHT = 300.0
"""Signal at which K is taken, DN."""

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
    "pairs": Pairing((0.0, 0.0, 20.0, 40.0, 80.0, 150.0, BRIGHT, 600.0), 2),
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


def shot(folder: Path, pairing: Pairing, kind: str, part: float, seed: int) -> None:
    """Write the frames; the same random numbers with and without bad pixels."""
    down, across = np.mgrid[: SIZE[0], : SIZE[1]] / SIZE[0]
    place = np.random.default_rng(seed).permutation(SIZE[0] * SIZE[1])[: round(part * SIZE[0] * SIZE[1])]
    for scene, level in enumerate(pairing.levels):
        rng, jumps = np.random.default_rng([seed, scene]), np.random.default_rng([seed, scene, 1])
        (folder / f"{scene}").mkdir(parents=True)
        shape = 1 + 0.5 * np.sin(7 * down + scene) * np.cos(5 * across) if pairing.scene else np.ones(SIZE)
        for frame in range(pairing.frames):
            values = BLACK + GAIN * rng.poisson(level * shape / GAIN) + rng.normal(0, READ, SIZE)
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


def tail(pairing: Pairing, part: float) -> float:
    """Values beyond `FAR` of the true temporal noise of a dark with telegraph pixels, as paired, ppm."""
    rng, count = np.random.default_rng(0), 2_000_000 // pairing.frames
    up = JUMP * (rng.random((count, pairing.frames)) < OFTEN) + rng.normal(0, READ, (count, pairing.frames))
    others = (up.sum(1, keepdims=True) - up) / (pairing.frames - 1)
    noise = (up - others) / np.sqrt(1 + 1 / (pairing.frames - 1))
    return 1e6 * part * float((np.abs(noise) > FAR * np.hypot(READ, 12**-0.5)).mean())


def spread(part: float) -> float:
    """σ of the dark with telegraph pixels over that without."""
    return float(np.sqrt(1 + part * OFTEN * (1 - OFTEN) * JUMP**2 / (READ**2 + 1 / 12)))


@click.command()
@click.option("--part", "parts", multiple=True, type=float, default=(0.0001, 0.001, 0.01), show_default=True)
@click.option("--kind", "kinds", multiple=True, type=click.Choice([*KINDS]), default=tuple(KINDS))
@click.option("--pairing", "pairings", multiple=True, type=click.Choice([*PAIRINGS]), default=tuple(PAIRINGS))
@click.option("--model", "models", multiple=True, default=("nlf", "physics_flow"), show_default=True)
@click.option("--steps", default=5, show_default=True, help="Steps of each fit.")
@click.option("--seed", default=0, show_default=True)
def main(
    parts: tuple[float, ...],
    kinds: tuple[str, ...],
    pairings: tuple[str, ...],
    models: tuple[str, ...],
    steps: int,
    seed: int,
) -> None:
    """Print, for each kind, amount and pairing, what bad pixels change against the clean camera."""
    torch.set_num_threads(1)
    click.echo(
        "| pairing | bad | part, % | patches dropped, % | masked, % | model | σ, % | K, % | beyond 6 σ, ppm (true) |"
    )
    click.echo("|---|---|---:|---:|---:|---|---:|---:|---:|")
    for name in pairings:
        clean: dict[str, Cell] = {}
        for kind, part in [("none", 0.0), *itertools.product(kinds, parts)]:
            with TemporaryDirectory() as folder, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                root = Path(folder)
                shot(root / "raw", PAIRINGS[name], kind, part, seed)
                found = ingest([root / "raw"], root / "store.h5", IngestOptions(patch_size=32), jobs=1)
                with PatchStore(found.path) as store:
                    dropped = 100 * (found.masked + found.clipped) / (len(store) + found.masked + found.clipped)
                    observed = store.read(np.arange(len(store))).observed
                    masked = 0.0 if observed is None else 100 * float((~observed).double().mean())
                    for model in models:
                        settings = FitSettings(epochs=1, steps_per_epoch=steps)
                        cell = measured(fit(store, spec_for(store, model), root / model, settings).model)
                        base, jumps = clean.setdefault(model, cell), kind == "telegraph"
                        sigma = 100 * (cell.sigma_dn / base.sigma_dn / (spread(part) if jumps else 1) - 1)
                        gain = 100 * (cell.gain / base.gain - 1)
                        true = tail(PAIRINGS[name], part) if jumps else 0.0
                        numbers = f"{dropped:.2f} | {masked:.3f} | {model} | {sigma:+.2f} | {gain:+.2f}"
                        rare = f"{cell.far:.1f} ({true:.1f})"
                        click.echo(f"| {name} | {kind} | {100 * part:g} | {numbers} | {rare} |")


if __name__ == "__main__":
    main()
