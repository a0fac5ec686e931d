"""Small denoisers trained on sampled cameras, on the true camera and on other cameras, tried on cameras left out.

Two kinds of networks: one is told the noise level of the file, as `noiseflow denoise` is; the other is told the ISO
only, by the noise level that the mean of the prior has there, and has to see the rest in the pixels.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import t as student
from torch import Tensor

from noiseflow.augment.denoise.files import load_photo_denoiser
from noiseflow.augment.denoise.names import is_photo_denoiser
from noiseflow.augment.denoise.network import PhotoDenoiser, PhotoDenoiserSpec
from noiseflow.augment.denoise.training.cameras import NORMAL, DrawnCameras, NoisyCrops, add_noise
from noiseflow.augment.denoise.training.objective import CropSource
from noiseflow.augment.denoise.training.pictures import TRAINED_ON, clean_crops
from noiseflow.augment.denoise.training.train import DenoiserSettings, train_photo_denoiser
from noiseflow.calibrate.prior.curve import CameraCurve, curve_at
from noiseflow.calibrate.prior.few_shot import sample_camera
from noiseflow.calibrate.prior.learning import learn_prior
from noiseflow.calibrate.prior.posterior import CameraPrior
from noiseflow.raw.bayer import pack, unpack
from noiseflow.simulate.physics import CameraPhysics, expose, tukey_lambda_variance
from tools.benching.page import put_table
from tools.studies.cameras.facts import known_curves
from tools.studies.cameras.leave_one_out import BLACK, ROOT, WHITE, camera_of
from tools.studies.photo_denoiser import clean_pictures, psnr

__all__ = ["at_iso", "compared", "main", "rows_of", "rows_of_prior"]

Array = NDArray[np.float64]

LEFT_OUT = {"Sony A7S2": (1600.0, 6400.0), "Canon 70D": (1600.0, 6400.0), "Google Pixel": (800.0, 3200.0)}
"""Cameras that the prior is not learnt from, and the ISOs that they are tried at."""

OTHERS = (*LEFT_OUT, "Nikon D850", "Nikon Z6 II")
"""Cameras that a network of their own is trained on: each is another camera to those left out, and the prior is learnt
from the last two."""

ISOS = (100.0, 6400.0)
"""ISOs that are trained on."""

DRAWN = 1024
"""Cameras drawn from the prior, each at one ISO."""

SPEC = PhotoDenoiserSpec((16, 24), 1)
"""25,708 weights."""

SIDE, BATCH, BANK, LEAVES = 48, 6, 1536, 12
"""Side of a crop, crops of a step, clean crops kept, and dead-leaves pictures."""

LIGHTS = (1.0, 1 / 16)
"""Parts of full exposure."""

SPAN = WHITE - BLACK

DATA = ROOT.parent / "shared" / "data"

COLUMNS = (
    "camera left out", "the network is told", "on the true camera (dB)", "sampled − true", "best other camera",
    "sampled − best other", "others that sampled beats", "worst other",
)  # fmt: skip


@cache
def curves() -> tuple[CameraCurve, ...]:
    """Curves of all known cameras."""
    return tuple(known_curves(DATA))


@cache
def cameras() -> dict[str, CameraPhysics]:
    """Cameras to simulate, by name."""
    return {curve.name: camera_of(curve) for curve in curves() if curve.name in OTHERS}


def rows_of(camera: CameraPhysics) -> Array:
    """ISO, electrons at white, read noise without rows e⁻, row noise e⁻, Tukey shape; a row for each ISO trained on."""
    rows = []
    for iso, at in camera.isos.items():
        if ISOS[0] <= iso <= ISOS[1]:
            gain = at.gain_dn_per_e
            shape = at.read_lambda if camera.read_shape == "tukey-lambda" else NORMAL
            rows.append((iso, SPAN / gain, camera.read_sigma_dn(iso) / gain, at.row_sigma_dn / gain, shape))
    return np.array(rows)


def rows_of_prior(prior: CameraPrior, count: int, seed: int) -> Array:
    """As `rows_of`, of cameras drawn from a prior, each at an ISO of its own."""
    isos = np.exp(np.random.default_rng(seed).uniform(*np.log(ISOS), count))
    rows = []
    for number, iso in enumerate(isos):
        at = sample_camera(seed + number, [float(iso)], prior).settings[0].estimates
        gain, full = at["gain_dn_per_e"].value, at["saturation_e"].value
        read, row = at["read_noise_e"].value, at["row_noise_dn"].value / gain
        rows.append((iso, full, math.sqrt(read**2 - row**2), row, at["tukey_shape"].value))
    return np.array(rows)


def at_iso(prior: CameraPrior, iso: Array) -> tuple[Tensor, Tensor]:
    """Noise level of the prior's mean at some ISOs, (B, 4, 1, 1) each: all that an ISO says of a camera."""
    full, read = curve_at(prior.mean, iso, None)[:, :2].T
    parts = np.exp(-full), np.exp(2 * (read - full)) + 1 / 12 / SPAN**2
    slope, offset = (
        torch.from_numpy(part.astype(np.float32))[:, None, None, None].expand(-1, 4, 1, 1) for part in parts
    )
    return slope, offset


def _exact(rows: Array) -> DrawnCameras:
    """Cameras of the rows and nothing else: 14 bits, no columns, no fixed pattern."""
    _, full, read, row, shape = rows.T
    scale = read / np.sqrt([tukey_lambda_variance(float(each)) for each in shape])
    zero = np.zeros(len(rows))
    values = (
        full, scale / full, shape, read / full, row / full, zero, zero, zero, zero, zero, zero + 1 / SPAN,
        zero - BLACK / SPAN,
    )  # fmt: skip
    return DrawnCameras(*(torch.from_numpy(np.asarray(each, np.float32))[:, None, None, None] for each in values))


def crops_of(rows: Array, clean: Tensor, only_iso: CameraPrior | None) -> CropSource:
    """Source of noisy crops of cameras; told their noise level, or that of the ISO under a prior."""

    def draw(rng: np.random.Generator, generator: torch.Generator, count: int) -> NoisyCrops:
        chosen = clean[torch.from_numpy(rng.integers(len(clean), size=count))]
        taken = rows[rng.integers(len(rows), size=count)]
        crops = add_noise(chosen, _exact(taken), generator, jitter=0.0 if only_iso else 0.05)
        return crops if only_iso is None else _told(crops, *at_iso(only_iso, taken[:, 0]))

    return draw


def _told(crops: NoisyCrops, slope: Tensor, offset: Tensor) -> NoisyCrops:
    return replace(crops, slope=slope, offset=offset)


def shot(clean: Tensor, camera: CameraPhysics, iso: float, seed: int) -> NoisyCrops:
    """A picture as the simulator takes it, (1, 4, H, W), with its true noise level."""
    signal = unpack(clean[0].double().numpy(), camera.cfa) * SPAN
    codes = expose(signal, camera, iso, np.random.default_rng((seed, int(iso))))
    noisy = torch.from_numpy((pack(codes, camera.cfa).astype(np.float32) - BLACK) / SPAN)[None]
    slope, offset = (torch.full((1, 4, 1, 1), float(part)) for part in camera.noise_profile(iso))
    return NoisyCrops(clean, noisy, slope, offset, torch.full((1, 4, 1, 1), -BLACK / SPAN))


@cache
def shots(name: str, draws: int) -> tuple[tuple[tuple[NoisyCrops, float, float], ...], ...]:
    """Every picture and draw of a camera left out: frames at each ISO and light, (crops, ISO, light)."""
    camera = cameras()[name]
    return tuple(
        tuple(
            (shot(light * clean, camera, iso, 1000 * draw + number), iso, light)
            for iso in LEFT_OUT[name]
            for light in LIGHTS
        )
        for number, clean in enumerate(clean_pictures())
        for draw in range(draws)
    )


@torch.no_grad()
def tried(network: PhotoDenoiser, name: str, draws: int, only_iso: CameraPrior | None) -> Array:
    """PSNR in dB of each held-out picture and draw of the noise, mean over ISOs and lights, (pictures · draws,)."""
    found = []
    for frames in shots(name, draws):
        values = []
        for crops, iso, light in frames:
            if only_iso is not None:
                crops = _told(crops, *at_iso(only_iso, np.array([iso])))
            values.append(psnr(network(crops.noisy, crops.slope, crops.offset, crops.floor), crops, light))
        found.append(float(np.mean(values)))
    return np.array(found)


@cache
def bank() -> Tensor:
    """Clean crops that every training draws from."""
    return clean_crops(TRAINED_ON, 0, LEAVES)(np.random.default_rng(0), BANK, SIDE)


def trained(
    work: Path, name: str, rows: Callable[[], Array], only_iso: CameraPrior | None, length: tuple[int, int], seed: int
) -> PhotoDenoiser:
    """A network trained on some cameras; every training of a seed sees the same crops and starts alike.

    `length` is the number of rounds and of steps in each, in which the learning rate falls to 0.
    """
    start: PhotoDenoiser | PhotoDenoiserSpec = replace(SPEC, seed=seed)
    for turn in range(length[0]):
        out = work / f"{name}-{seed}-{turn}".replace(" ", "_")
        if not is_photo_denoiser(out):
            settings = DenoiserSettings(
                steps=length[1],
                batch=BATCH,
                side=SIDE,
                validations=2,
                held_out=24,
                precision="bf16",
                seed=seed + 100 * turn,
            )
            source = crops_of(rows(), bank(), only_iso)
            train_photo_denoiser(source, source, out, settings, start=start, overwrite=True)
        start = load_photo_denoiser(out)
    assert isinstance(start, PhotoDenoiser)
    return start.eval()


def compared(one: Array, other: Array) -> tuple[float, float, float]:
    """Mean of a paired difference in dB and its 95 % interval."""
    difference = one - other
    half = float(student.ppf(0.975, len(difference) - 1) * difference.std(ddof=1) / math.sqrt(len(difference)))
    return float(difference.mean()), float(difference.mean()) - half, float(difference.mean()) + half


def _said(found: tuple[float, float, float]) -> str:
    return "{:+.2f} ({:+.2f} to {:+.2f})".format(*found)


def row_of(name: str, told: str, values: Mapping[str, Array]) -> tuple[str, ...]:
    """A line of the table from the PSNRs by training camera; `sampled` is that of the prior."""
    others = {other: each for other, each in values.items() if other not in (name, "sampled")}
    order = sorted(others, key=lambda other: -float(others[other].mean()))
    against = {other: compared(values["sampled"], others[other]) for other in order}
    beaten = sum(low > 0 for _, low, _ in against.values())
    return (
        name, told, f"{values[name].mean():.2f}", _said(compared(values["sampled"], values[name])), order[0],
        _said(against[order[0]]), f"{beaten} of {len(order)}", f"{order[-1]}, {_said(against[order[-1]])}",
    )  # fmt: skip


def _all(
    prior: CameraPrior, told: str, work: Path, length: tuple[int, int], seeds: int, draws: int
) -> Iterator[tuple[str, ...]]:
    """Train and try every network of one kind."""
    only_iso = prior if told == "ISO" else None
    sources: dict[str, Callable[[], Array]] = {"sampled": partial(rows_of_prior, prior, DRAWN, 0)}
    sources |= {name: partial(rows_of, cameras()[name]) for name in OTHERS}
    values: dict[str, dict[str, list[Array]]] = {name: {other: [] for other in sources} for name in LEFT_OUT}
    for seed in range(seeds):
        for other, rows in sources.items():
            network = trained(work, f"{told}-{other}", rows, only_iso, length, seed)
            for name in LEFT_OUT:
                values[name][other].append(tried(network, name, draws, only_iso))
                click.echo(f"told {told}, seed {seed}: {other} on {name}: {values[name][other][-1].mean():.2f} dB")
    for name, by_other in values.items():
        yield row_of(name, told, {other: np.concatenate(each) for other, each in by_other.items()})


@click.command()
@click.option("--work", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of the networks.")
@click.option("--page", type=click.Path(path_type=Path, exists=True), help="Page to put the table in.")
@click.option("--told", "kinds", type=click.Choice(["noise level", "ISO"]), multiple=True, help="Kinds; both if none.")
@click.option("--steps", default=300, show_default=True, help="Steps of a round.")
@click.option("--rounds", default=1, show_default=True, help="Rounds of a training.")
@click.option("--seeds", default=1, show_default=True, help="Trainings of each network.")
@click.option("--draws", default=3, show_default=True, help="Draws of the noise of each picture.")
def main(work: Path, page: Path | None, kinds: Sequence[str], rounds: int, steps: int, seeds: int, draws: int) -> None:
    """Train small denoisers, and try them on three cameras that the prior has not seen; trained ones are kept in WORK.

    \b
    python -m tools.studies.cameras.denoisers --work /tmp/denoisers --page docs/guide/cameras.md
    """  # noqa: D301
    torch.set_num_threads(1)
    work.mkdir(parents=True, exist_ok=True)
    prior = learn_prior([curve for curve in curves() if curve.name not in LEFT_OUT])
    table = []
    for told in kinds or ("noise level", "ISO"):
        for row in _all(prior, told, work, (rounds, steps), seeds, draws):
            table.append(row)
            click.echo("  ".join(row))
    if page is not None:
        put_table(page, COLUMNS, table)


if __name__ == "__main__":
    main()
