"""What clipping of blacks costs: calibration, `eld`, exact counts and `nlf` on cameras of any black and depth.

python -m tools.studies.clipped_blacks --of intervals --page docs/calibrate.md
"""

import itertools
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr

from noiseflow.calibrate.from_frames import calibrate_frames
from noiseflow.calibrate.measurement import from_error
from noiseflow.calibrate.profiles.profile import Profile, Setting
from noiseflow.calibrate.sources import Frames, Group
from noiseflow.calibrate.stack import stack_frames
from noiseflow.fit import FitSettings, fit, spec_for
from noiseflow.fit.discretised_objective import codes_of
from noiseflow.flows.conditions import Conditions
from noiseflow.models.adc_levels import Levels
from noiseflow.models.capabilities import exact_codes
from noiseflow.models.closed_form.nlf import NoiseLevelFunction
from noiseflow.models.integers.discrete_log_prob import discrete_log_prob
from noiseflow.models.model import ModelSpec, NoiseModel
from noiseflow.models.physics.profile_models import from_profile
from noiseflow.patches import IngestOptions, ingest
from noiseflow.patches.store.patches import PatchBatch
from noiseflow.raw.formats.dng import write_dng
from noiseflow.raw.image import RawImage
from tools.benching.page import put_between, table
from tools.studies.zoo.frames import Frames as Shots, store_of

__all__ = ["cell", "default_cell", "held"]

Array = NDArray[np.float64]

SIZE, SMALL, FRAMES = (96, 128), (48, 64), 4
"""Of frames in pixels; the smaller is that of hundreds of calibrations, and each level of light has so many frames."""

PAGE_MARK = "clipped blacks"
COLUMNS = (
    "bits",
    "black, DN",
    "off in K, %",
    "in read noise, %",
    "in black, DN",
    "K held, %",
    "read noise held, %",
    "black held, %",
)

LIGHT = (0.0, 0.0, 0.002, 0.01, 0.05, 0.3)
"""Signals that likelihoods are averaged over, as parts of the range: a third of them dark."""

VALUES = 40_000
"""Codes at each."""

PARAMETERS = ("K", "read noise", "black")


def _codes(rng: np.random.Generator, signal: Array, gain: float, black: float, noise: float, white: float) -> Array:
    values = black + gain * rng.poisson(signal / gain) + noise * rng.standard_normal(signal.shape)
    return np.clip(np.rint(values), 0, white)


def _calibrated(
    rng: np.random.Generator, gain: float, black: float, noise: float, white: float, size: tuple[int, int] = SIZE
) -> Profile:
    groups = []
    for seconds, level in [(0.001, 0.0), *((s, s * 0.6 * white) for s in np.linspace(0.1, 1, 10))]:
        signal = np.full((FRAMES, *size), level)
        frames = _codes(rng, signal, gain, black, noise, white).astype(np.uint16)
        stack = stack_frames(list(frames), white)
        groups.append(Group(100.0, seconds, seconds, level == 0, [stack], [""] * FRAMES))
    return calibrate_frames(Frames("Clipped", "mono", (black,), white, groups)).profile


def _true(gain: float, black: float, noise: float, white: float) -> Profile:
    numbers = {"gain_dn_per_e": gain, "read_noise_dn": np.sqrt(noise**2 + 1 / 12), "black_dn": black}
    units = {"gain_dn_per_e": "DN/e-", "read_noise_dn": "DN", "black_dn": "DN"}
    estimates = {name: from_error(float(value), 0.0, units[name]) for name, value in numbers.items()}
    return Profile("Clipped", "mono", white, (Setting(100.0, "Y", estimates),))


def _levels(count: int, black: float, white: float) -> Levels:
    return Levels(torch.full((count, 1), black).double(), torch.full((count,), white).double())


def _log_prob(model: NoiseModel, codes: Array, signal: Array, black: float, white: float) -> Array:
    """Log P of codes, (S, N), of a clean signal in DN above black, (S, N), that all models get alike."""
    span, levels = white - black, _levels(len(codes), black, white)
    cond = Conditions(torch.from_numpy(signal / span)[:, None, None, :], 100.0, 0).resolve(model.cameras)
    exact = exact_codes(model)
    assert exact is not None
    with torch.no_grad():
        values: Array = exact.log_prob_of_codes(torch.from_numpy(codes)[:, None, None, :], cond, levels).numpy()
    return values.reshape(codes.shape)


def _of_samples(eld: NoiseModel, truth: NoiseModel, signal: Array, blacks: tuple[float, float], white: float) -> float:
    """KL of the true code probabilities from `eld`'s, by counts of its samples, their chance taken off, nats."""
    total, (true_black, black) = 0.0, blacks
    for row in signal:
        span = white - black
        clean = torch.full((1, 1, 1, 10 * VALUES), row[0] / span, dtype=torch.float64)
        cond = Conditions(clean, 100.0, 0).resolve(eld.cameras)
        codes = ((eld.sample(cond, torch.Generator().manual_seed(1)) + clean) * span + black).round()
        counts = np.bincount(codes.flatten().long().clamp(min=0).numpy(), minlength=int(white) + 1)
        seen = np.flatnonzero(counts > 5)
        true = _log_prob(truth, seen[None].astype(float), np.full((1, len(seen)), row[0]), true_black, white)[0]
        share = np.exp(true)
        total += float(share @ (true - np.log(counts[seen] / counts.sum()))) - len(seen) / (2 * counts.sum())
    return total / len(signal)


def cell(bits: int, black: float, noise: float, gain: float = 0.5, seed: int = 0) -> dict[str, float]:
    """Departures in percent (black in DN) and costs in nats/dim of one camera.

    Parameters
    ----------
    bits : int
        Depth of the converter; the white level is its last code.
    black, noise, gain : float
        Black level and read noise, DN, and K, DN/e⁻.
    seed : int
        Of all random numbers.
    """
    rng, white = np.random.default_rng(seed), 2.0**bits - 1
    profile = _calibrated(rng, gain, black, noise, white)
    estimates = profile.settings[0].estimates
    truth = from_profile("poisson_gaussian_exact", _true(gain, black, noise, white))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, eld = (from_profile(name, profile) for name in ("poisson_gaussian_exact", "eld"))
    signal = np.array(LIGHT)[:, None] * (white - black) * np.ones(VALUES)
    codes = _codes(rng, signal, gain, black, noise, white)
    count = len(signal)
    levels, own = _levels(count, black, white), estimates["black_dn"].value
    true = _log_prob(truth, codes, signal, black, white)
    nlf = NoiseLevelFunction(ModelSpec("nlf", "mono", ("Clipped",), (100.0,))).double()
    clean = torch.from_numpy(signal / (white - black))[:, None, None, :]
    cond = Conditions(clean, 100.0, 0).resolve(("Clipped",))
    with torch.no_grad():
        nlf.log_beta1.fill_(np.log(gain / (white - black)))
        nlf.log_beta2.fill_(2 * np.log(noise / (white - black)))
    nlf.start_from_codes(torch.from_numpy(codes)[:, None, None, :], cond, levels)
    read = float(nlf.log_beta2.detach().exp()) ** 0.5 * (white - black)
    return {
        "K": 100 * (estimates["gain_dn_per_e"].value / gain - 1),
        "read noise": 100 * (estimates["read_noise_dn"].value / np.sqrt(noise**2 + 1 / 12) - 1),
        "black": estimates["black_dn"].value - black,
        "exact": float((true - _log_prob(found, codes, signal, own, white)).mean()),
        "eld": _of_samples(eld, truth, signal, (black, own), white),
        "nlf K": 100 * (float(nlf.log_beta1.detach().exp()) * (white - black) / gain - 1),
        "nlf read noise": 100 * (read / noise - 1),
        "nlf": float((true - _log_prob(nlf, codes, signal, black, white)).mean()),
    }


@torch.no_grad()
def _behind(model: NoiseModel, truth: NoiseModel, batch: PatchBatch) -> float:
    """NLL of the codes of a model less that of the truth, nats/dim; a bound of 16 samples where it is one."""
    codes, cond, levels = codes_of(batch)
    found = discrete_log_prob(model, codes, cond, levels, samples=16, generator=torch.Generator().manual_seed(0))
    exact = exact_codes(truth)
    assert exact is not None
    at = Conditions(batch.clean.double(), 100.0, 0).resolve(truth.cameras)
    true = exact.log_prob_of_codes(codes.double(), at, levels)
    return float((true.sum() - found.values.sum()) / codes.numel())


def default_cell(bits: int, black: float, noise: float, gain: float = 0.5, seed: int = 0) -> dict[str, float]:
    """What the default model makes of one camera with a clean twin, and what an ingest of its stacks drops.

    Parameters
    ----------
    bits, black, noise, gain, seed
        As of `cell`.

    Returns
    -------
    dict of str to float
        Departures of K and read noise in percent, NLL of the codes behind the truth in nats/dim, patches dropped and
        pixels masked in percent.
    """
    white = 2.0**bits - 1

    def draw(rng: np.random.Generator, signal: Array, iso: float) -> Array:
        drawn: Array = gain * rng.poisson(signal / gain) + noise * rng.standard_normal(signal.shape)
        return drawn

    frames = Shots({"Clipped": draw}, cfa="MONO", black=black, white=white, lights=LIGHT, size=(128, 192))
    truth = from_profile("poisson_gaussian_exact", _true(gain, black, noise, white))
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        root = Path(folder)
        with store_of(root / "store.h5", frames, seed) as store:
            settings = FitSettings(epochs=1, steps_per_epoch=5)
            model = fit(store, spec_for(store, "physics_flow"), root / "run", settings).model
            behind = _behind(model, truth, store.read(store.indices("test")))
        read, shot = (float(each.detach().exp()) for each in (model.shot_read.log_beta2, model.shot_read.log_beta1))
        rng = np.random.default_rng(seed)
        for place, level in enumerate(LIGHT):
            (root / "raw" / f"{place}").mkdir(parents=True)
            for frame in range(8):
                codes = _codes(rng, np.full((128, 192), level * (white - black)), gain, black, noise, white)
                image = RawImage(codes.astype(np.uint16), "RGGB", (black,) * 4, white, iso=100, exposure_s=0.01)
                write_dng(root / "raw" / f"{place}" / f"{frame}.dng", image)
        found = ingest([root / "raw"], root / "raw.h5", IngestOptions(), jobs=1)
        left_out = found.clipped + found.masked
    return {
        "K": 100 * (shot * (white - black) / gain - 1),
        "read noise": 100 * (read**0.5 * (white - black) / noise - 1),
        "behind": behind,
        "dropped": 100 * left_out / (left_out + sum(found.patches.values())),
    }


def rounded(level: float, noise: float) -> float:
    """Standard deviation of normal values of a level after rounding, DN: at 0.5 DN up to 1.2 % from √(σ² + 1/12)."""
    code = np.arange(np.floor(level - 9 * noise) - 1, level + 9 * noise + 2)
    part = ndtr((code + 0.5 - level) / noise) - ndtr((code - 0.5 - level) / noise)
    return float(np.sqrt(part @ code**2 - (part @ code) ** 2))


def held(
    bits: int, black: float, noise: float, gain: float = 0.5, *, trials: int = 200, first: int = 0
) -> dict[str, float]:
    """Mean departures of calibrations, and the percentage of them whose 95 % interval holds the truth.

    Parameters
    ----------
    bits, black, noise, gain
        As of `cell`.
    trials, first : int
        Number of calibrations, and the first seed.

    Returns
    -------
    dict of str to float
        Mean departures in percent (black in DN), each with its standard error, and percentages.
    """
    white = 2.0**bits - 1
    truth = {"gain_dn_per_e": gain, "read_noise_dn": rounded(black, noise), "black_dn": black}
    values: dict[str, list[float]] = {name: [] for name in truth}
    inside = dict.fromkeys(truth, 0)
    for seed in range(first, first + trials):
        rng = np.random.default_rng([seed, bits, round(10 * black), round(10 * noise)])
        setting = _calibrated(rng, gain, black, noise, white, SMALL).settings[0]
        for name, value in truth.items():
            if name == "read_noise_dn" and "row_noise_dn" in setting.absent:
                # The likelihood of clipped codes gives the noise before rounding; 1/12 is added.
                value = float(np.hypot(noise, 12**-0.5))
            low, high = setting.estimates[name].interval
            found = setting.estimates[name].value
            inside[name] += low <= value <= high
            values[name].append(found - value if name == "black_dn" else 100 * (found / value - 1))
    figures: dict[str, float] = {}
    for name, word in zip(truth, PARAMETERS, strict=True):
        figures |= {word: float(np.mean(values[name])), f"± {word}": float(np.std(values[name]) / trials**0.5)}
    return figures | {f"{word} held": 100 * inside[name] / trials for name, word in zip(truth, PARAMETERS, strict=True)}


def summary(cells: Mapping[tuple[int, float, float], Mapping[str, float]]) -> list[list[str]]:
    """A row for each depth and black: the farthest mean over the read noises; the mean and least of what is held."""
    rows = []
    for bits, black in dict.fromkeys(each[:2] for each in cells):
        some = [found for each, found in cells.items() if each[:2] == (bits, black)]
        rows.append([f"{bits}", f"{black:g}"])
        for word in PARAMETERS:
            most = max(some, key=lambda found, word=word: abs(found[word]))  # type: ignore[misc]
            rows[-1].append(f"{most[word]:+.3f} ± {most[f'± {word}']:.3f}")
        for word in PARAMETERS:
            shares = [found[f"{word} held"] for found in some]
            rows[-1].append(f"{np.mean(shares):.1f} ({min(shares):.1f})")
    return rows


@click.command()
@click.option("--bits", multiple=True, type=int, default=(8, 10, 12), show_default=True)
@click.option("--black", multiple=True, type=float, default=(0.0, 1.0, 2.0, 4.0), show_default=True)
@click.option("--noise", multiple=True, type=float, default=(0.5, 1.0, 2.0, 4.0, 8.0), show_default=True)
@click.option("--gain", default=0.5, show_default=True, help="K, DN/e-.")
@click.option("--of", type=click.Choice(["calibration", "default", "intervals"]), default="calibration")
@click.option("--trials", default=200, show_default=True, help="Calibrations of each camera, for intervals.")
@click.option("--page", type=click.Path(path_type=Path, exists=True), help="Page to put the intervals in.")
def main(
    bits: tuple[int, ...],
    black: tuple[float, ...],
    noise: tuple[float, ...],
    gain: float,
    of: str,
    trials: int,
    page: Path | None,
) -> None:
    """Print departures and costs of every camera: of calibration and `nlf`, of the default model, or of intervals.

    \b
    python -m tools.studies.clipped_blacks --bits 8 --noise 0.5
    """  # noqa: D301
    cells: dict[tuple[int, float, float], dict[str, float]] = {}
    kinds = {"calibration": cell, "default": default_cell, "intervals": partial(held, trials=trials)}
    for one in itertools.product(bits, black, noise):
        found = cells[one] = kinds[of](*one, gain)
        if len(cells) == 1:
            click.echo("bits black noise " + "".join(f"{name:>15}" for name in found))
        click.echo("{:4d} {:5g} {:5g} ".format(*one) + "".join(f"{value:15.4f}" for value in found.values()))
    if page is not None and of == "intervals":
        put_between(page, PAGE_MARK, table(COLUMNS, summary(cells)))


if __name__ == "__main__":
    main()
