"""Put the table of burst denoisers on docs/denoising.md: five frames in, one out, trained on noise in time.

python -m tools.denoising.bursts docs/denoising.md --work bursts
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor, nn

from noiseflow.core.version import __version__
from noiseflow.evaluate.benchmark.spec import digest
from noiseflow.models import TemporalNoise
from noiseflow.raw import pack
from noiseflow.simulate.scenes import PICTURES, render
from tools.benching.page import put_between
from tools.denoising.burst_camera import INDEPENDENT, OURS, TRUE, Burst, VideoCamera, burst_source, fit_models
from tools.denoising.cameras import HELD_OUT
from tools.denoising.networks import convolutions
from tools.denoising.page import AIM_DB, BURSTS, spread, standard_error

__all__ = ["BurstDnCNN", "BurstSettings", "main", "pictures", "section", "train_on"]

NOISES = (INDEPENDENT, OURS, TRUE)
AHEAD = 16
"""Steps whose noise is drawn at once."""


@dataclass(frozen=True)
class BurstSettings:
    """What the table is of.

    Parameters
    ----------
    camera : VideoCamera
        Whose noise is the truth.
    frames : int
        Of a burst.
    light : float
        White of the pictures, part of full scale.
    seeds : int
        Trainings on each noise.
    steps, batch, crop : int
        Of each training; crops in pixels.
    learning_rate : float
        Of Adam, falling to 0 along a cosine.
    """

    camera: VideoCamera = field(default_factory=VideoCamera)
    frames: int = 5
    light: float = 0.03
    seeds: int = 5
    steps: int = 1000
    batch: int = 4
    crop: int = 32
    learning_rate: float = 2e-3


class BurstDnCNN(nn.Module):
    """Convolutions that predict the noise of the mean of some frames, which is taken off it.

    Parameters
    ----------
    frames : int
        Of a burst.
    width, depth : int
        Hidden planes, and convolutions of 3×3.
    """

    def __init__(self, frames: int = 5, width: int = 16, depth: int = 5) -> None:
        super().__init__()
        self.noise = convolutions([frames, *[width] * (depth - 1), 1])

    def forward(self, burst: Tensor) -> Tensor:
        """(B, T, H, W) to (B, 1, H, W)."""
        found: Tensor = burst.mean(1, keepdim=True) - self.noise(burst)
        return found


@cache
def pictures(names: tuple[str, ...], crops: int, size: tuple[int, int], seed: int) -> NDArray[np.float32]:
    """Clean pictures, the first green plane, white about 1, (N, 1, h, w)."""
    found = []
    for place, name in enumerate(names):
        for crop in range(crops):
            rng = np.random.default_rng((seed, place, crop))
            found.append(pack(render(f"000_{name}", (2 * size[0], 2 * size[1]), rng), "RGGB")[1:2])
    return np.stack(found).astype(np.float32)


def train_on(noise: Burst, settings: BurstSettings, seed: int) -> nn.Module:
    """Train a denoiser on one noise; the seed gives the same weights and crops whatever the noise is."""
    clean = pictures(tuple(name for name in PICTURES if name not in HELD_OUT), 4, (96, 128), seed=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = BurstDnCNN(settings.frames)
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / settings.steps))
    )
    for target, burst in steps_of(clean, noise, settings, seed):
        optimizer.zero_grad(set_to_none=True)
        loss = (network(burst) - target).square().mean()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


def steps_of(
    clean: NDArray[np.float32], noise: Burst, settings: BurstSettings, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Clean crops and their bursts, white at 1, step by step; the noise of `AHEAD` steps is drawn at once."""
    rng, crop = np.random.default_rng(seed), settings.crop
    for start in range(0, settings.steps, AHEAD):
        steps = min(AHEAD, settings.steps - start)
        count = steps * settings.batch
        chosen = rng.integers(len(clean), size=count)
        tops, lefts = (rng.integers(length - crop + 1, size=count) for length in clean.shape[2:])
        windows = [
            clean[picture, :, top : top + crop, left : left + crop]
            for picture, top, left in zip(chosen, tops, lefts, strict=True)
        ]
        target = torch.from_numpy(np.stack(windows))
        burst = noise(settings.light * target, int(rng.integers(2**62))) / settings.light
        yield from zip(target.split(settings.batch), burst.split(settings.batch), strict=True)


def held_out(settings: BurstSettings) -> Iterator[tuple[Tensor, Tensor]]:
    """Held-out pictures and their bursts with true noise, the same at every call: (1, 1, h, w), (1, T, h, w)."""
    for index, clean in enumerate(pictures(HELD_OUT, 6, (96, 128), seed=2)):
        rng = np.random.default_rng((5, index))
        burst = settings.camera.expose(settings.light * clean.astype(np.float64), settings.frames, rng)
        yield torch.from_numpy(clean[None]), torch.from_numpy(burst) / settings.light


def psnr(found: Tensor, clean: Tensor) -> float:
    """In dB, both clipped to [0, 1]."""
    return -10 * math.log10(float((found.clamp(0, 1) - clean.clamp(0, 1)).double().square().mean()))


@torch.no_grad()
def score(network: nn.Module, settings: BurstSettings) -> float:
    """Mean PSNR of the held-out bursts."""
    return float(np.mean([psnr(network(burst), clean) for clean, burst in held_out(settings)]))


def cell(settings: BurstSettings, model: TemporalNoise, noise: str, seed: int, work: Path) -> float:
    """PSNR after one training, from its record if there is one of this very cell."""
    record = work / f"{noise.replace(' ', '_')}-{seed}.json"
    weights = [] if noise == TRUE else [each.double().sum().item() for each in model.state_dict().values()]
    key = digest("burst", asdict(settings), noise, seed, weights)
    if record.exists():
        known: Mapping[str, Any] = json.loads(record.read_text("utf-8"))
        if known["key"] == key:
            return float(known["psnr"])
    found = score(train_on(burst_source(settings.camera, noise, settings.frames, model), settings, seed), settings)
    record.write_text(json.dumps({"key": key, "psnr": found}), encoding="utf-8")
    return found


def section(settings: BurstSettings, parts: Sequence[str], found: Mapping[str, NDArray[np.float64]]) -> Iterator[str]:
    """Markdown of the table and what it is of."""
    camera = settings.camera
    white = settings.light * camera.span / camera.gain
    yield f"""## Bursts: {settings.frames} frames in, one out

Made by `python -m tools.denoising.bursts docs/denoising.md` with noiseflow {__version__}.

A simulated monochrome camera whose noise is correlated between frames: read noise {camera.read:g} e⁻;
offsets ({camera.dsnu:g} e⁻) and gains ({100 * camera.prnu:g} %) of its pixels that are constant in a burst;
light that flickers by {100 * camera.flicker:g} % (φ = {camera.phi:g}); shot noise; rounding at
{camera.gain:g} DN/e⁻. White of the pictures is {white:.0f} e⁻. `temporal` is an `nlf` fitted to single
frames of darks and flats, with the parts that `fit-video` found ({", ".join(parts)}); *independent frames*
are drawn from the same `nlf`. Each training has {settings.steps} steps of {settings.batch} crops of
{settings.crop}×{settings.crop} pixels, with five convolutions of 16 planes; a seed gives the same weights
and crops for every noise. Scored on held-out pictures with true noise, each at another position on the
sensor.

| trained with noise of | seeds | PSNR, dB | against true noise, dB (95 %) |
|---|---|---|---|"""
    before = float(np.mean([psnr(burst.mean(1, keepdim=True), clean) for clean, burst in held_out(settings)]))
    yield f"| (mean of the frames) | | {before:.2f} | |"
    for noise in NOISES:
        values = found[noise]
        name = f"`{noise}`" if noise == OURS else noise
        gap = "" if noise == TRUE else interval(values - found[TRUE])
        yield f"| {name} | {len(values)} | {spread(float(values.mean()), float(values.std(ddof=1)), 3)} | {gap} |"
    yield ""
    yield verdict(found)


def half_width(every: NDArray[np.float64]) -> float:
    """Half of the 95 % interval of the mean, by Student's t."""
    return float(stats.t.ppf(0.975, len(every) - 1)) * standard_error(every)


def interval(every: NDArray[np.float64]) -> str:
    """Mean of paired differences and its interval."""
    gap, half = float(every.mean()), half_width(every)
    return f"{gap:+.3f} ({gap - half:+.3f} to {gap + half:+.3f})"


def verdict(found: Mapping[str, NDArray[np.float64]]) -> str:
    """Whether ours is within the aim, and independent frames are surely worse."""
    ours, other = (found[noise] - found[TRUE] for noise in (OURS, INDEPENDENT))
    low, high = (float(ours.mean()) + sign * half_width(ours) for sign in (-1, 1))
    within = "is not decided"
    if low > -AIM_DB:
        within = "is reached"
    elif high < -AIM_DB:
        within = "is missed"
    worse = "are worse by more than their interval" if other.mean() + half_width(other) < 0 else "are not surely worse"
    return f"The aim, `{OURS}` within {AIM_DB} dB of true noise, {within}; independent frames {worse}."


@click.command()
@click.argument("page", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--work", type=click.Path(path_type=Path), default=Path("bursts"), show_default=True, help="Folder to work in."
)
@click.option("--seeds", default=BurstSettings.seeds, show_default=True, help="Trainings on each noise.")
@click.option("--steps", default=BurstSettings.steps, show_default=True, help="Steps of each.")
def main(page: Path, work: Path, seeds: int, steps: int) -> None:
    """Put the table of burst denoisers on PAGE, between its marks; what is finished in the folder is not done again."""
    torch.set_num_threads(1)
    settings = BurstSettings(seeds=seeds, steps=steps)
    work.mkdir(parents=True, exist_ok=True)
    model = fit_models(settings.camera, work / "temporal")
    found: dict[str, list[float]] = {noise: [] for noise in NOISES}
    for seed in range(seeds):
        for noise in NOISES:
            found[noise].append(cell(settings, model, noise, seed, work))
            click.echo(f"{noise}, seed {seed}: {found[noise][-1]:.3f} dB", err=True)
    text = "\n".join(section(settings, list(model.parts), {noise: np.array(each) for noise, each in found.items()}))
    put_between(page, BURSTS, text + "\n")


if __name__ == "__main__":
    main()
