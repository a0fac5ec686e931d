"""How often the 95 % intervals of `noiseflow calibrate` hold the truth, on simulated sensors."""

from collections.abc import Mapping
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from noiseflow.calibrate.estimators.tukey_lambda import tukey_quantile
from noiseflow.calibrate.from_frames import calibrate_frames
from noiseflow.calibrate.measurement import Measurement
from noiseflow.calibrate.measurements.burst import burst_noise
from noiseflow.calibrate.sources import Frames, Group
from noiseflow.calibrate.stack import stack_frames
from noiseflow.simulate.physics import tukey_lambda_variance
from tools.benching.page import put_table

__all__ = ["burst_trial", "calibration_trial", "coverage"]

Array = NDArray[np.float64]

SIZE = (48, 64)
BLACK, WHITE, K = 128.0, 4095.0, 1.5
SHAPE, SCALE, ROW, COLUMN = 0.05, 2.0, 0.8, 0.5
PRNU = {"pixel": 0.010, "row": 0.004, "column": 0.004}
DSNU = {"pixel": 1.0, "row": 0.5, "column": 0.5}
CURRENT = 8.0
"""Dark current, DN/s."""
SECONDS = (0.001, 1.0, 2.0, 3.0)
LEVELS, STEP = 18, 0.065
"""Exposures of the flats, and their step as a part of that which fills the range."""

STRAIGHT = (
    "gain_at_zero_dn_per_e",
    "read_noise_likelihood_dn",
    "read_noise_dn",
    "black_dn",
    "dark_current_dn_per_s",
    "row_noise_dn",
    "column_noise_dn",
    "tukey_shape",
    "tukey_scale_dn",
    "dsnu_dn",
)
"""What a response that bends leaves as it is."""

COLUMNS = ("parameter", "truth within the interval")

READ = float(np.sqrt(SCALE**2 * tukey_lambda_variance(SHAPE) + ROW**2 + COLUMN**2))


def _pattern(rng: np.random.Generator, sigma: Mapping[str, float], size: tuple[int, int]) -> Array:
    height, width = size
    rows, columns = (rng.standard_normal(shape) for shape in ((height, 1), (1, width)))
    return sigma["pixel"] * rng.standard_normal(size) + sigma["row"] * rows + sigma["column"] * columns


def _frames(
    rng: np.random.Generator, signal: Array | float, n: int, fixed: Array, bend: float = 0.0
) -> NDArray[np.uint16]:
    height, width = fixed.shape
    light = K * rng.poisson(np.broadcast_to(np.maximum(signal, 0) / K, (n, *fixed.shape)))
    light = light * (1 - bend * (light / (WHITE - BLACK)) ** 3)
    noise = SCALE * tukey_quantile(rng.uniform(size=(n, *fixed.shape)), SHAPE)
    noise += ROW * rng.standard_normal((n, height, 1)) + COLUMN * rng.standard_normal((n, 1, width))
    return np.clip(np.rint(BLACK + light + fixed + noise), 0, WHITE).astype(np.uint16)


def _group(seconds: float, dark: bool, frames: NDArray[np.uint16]) -> Group:
    return Group(100.0, seconds, seconds, dark, [stack_frames(frames, WHITE)], [""] * len(frames))


def true_variance(electrons: Array) -> Array:
    """Temporal variance averaged over pixels of unequal response, clipped at the white level, DN²."""
    # The response differs from pixel to pixel: an average over its distribution.
    at = np.linspace(-4, 4, 161)
    weight = np.exp(-0.5 * at**2)
    mean = K * electrons[:, None] * (1 + np.sqrt(sum(s**2 for s in PRNU.values())) * at)
    sigma, top = np.sqrt(K * mean + READ**2), WHITE - BLACK
    edge = (top - mean) / sigma
    density, inside = np.exp(-0.5 * edge**2) / np.sqrt(2 * np.pi), ndtr(edge)
    first = inside * mean - sigma * density + (1 - inside) * top
    second = inside * (mean**2 + sigma**2) - sigma * density * (mean + top) + (1 - inside) * top**2
    averaged: Array = (second - first**2) @ weight / weight.sum()
    return averaged


def truths(levels: Array, fixed: Array, response: Array) -> dict[str, float]:
    """What the intervals should hold, for one sensor and its series of exposures, DN."""
    half = 0.5 * (WHITE - BLACK)
    total = {name: float(np.sqrt(sum(s**2 for s in parts.values()))) for name, parts in (("p", PRNU), ("d", DSNU))}
    # EMVA's saturation: the exposure of the series at which the variance is largest.
    electrons = response.mean() * levels / K
    full = float(electrons[np.argmax(true_variance(electrons))])
    least = float(np.hypot(np.sqrt(READ**2 + 1 / 12) / K, 0.5) + 0.5)
    return {
        "gain_dn_per_e": K,
        "gain_likelihood_dn_per_e": K,
        "gain_at_zero_dn_per_e": K,
        "read_noise_likelihood_dn": float(np.sqrt(READ**2 + 1 / 12)),
        "read_noise_dn": float(np.sqrt(READ**2 + 1 / 12)),
        "read_noise_e": READ / K,
        "black_dn": BLACK + float(fixed.mean()),
        "dark_current_dn_per_s": CURRENT,
        "dark_current_e_per_s": CURRENT / K,
        "row_noise_dn": ROW,
        "column_noise_dn": COLUMN,
        "black_drift_dn_per_frame": 0.0,
        "tukey_shape": SHAPE,
        "tukey_scale_dn": SCALE,
        "saturation_e": full,
        "sensitivity_threshold_e": least,
        "dynamic_range_db": float(20 * np.log10(full / least)),
        "snr_max_db": float(10 * np.log10(full)),
        "prnu_dn": total["p"] * half,
        "prnu_percent": 100 * total["p"],
        **{f"prnu_{name}_dn": sigma * half for name, sigma in PRNU.items()},
        "dsnu_dn": total["d"],
        **{f"dsnu_{name}_dn": sigma for name, sigma in DSNU.items()},
    }


def calibration_trial(seed: int, bend: float = 0.0, size: tuple[int, int] = SIZE) -> dict[str, float]:
    """Errors of one simulated calibration in halves of its 95 % intervals: beyond ±1 the truth was missed.

    Parameters
    ----------
    seed : int
        Of all random numbers.
    bend : float
        The response is y·(1 − bend·(y/y_max)³).  Where it is not straight K is the slope at no signal, and what is
        defined at a level of light, or by a straight response, has no truth of its own.
    size : tuple of int
        Height and width of the frames.
    """
    rng = np.random.default_rng(seed)
    fixed, response = _pattern(rng, DSNU, size), 1 + _pattern(rng, PRNU, size)
    full = WHITE - BLACK
    groups = []
    for index, seconds in enumerate(SECONDS):
        frames = _frames(rng, CURRENT * seconds, 16 if index == 0 else 4, fixed)
        groups.append(_group(seconds, True, frames))
    # Where the series' steps lie relative to saturation is chance.
    levels = full * STEP * (np.arange(LEVELS) + rng.uniform(0, 1))
    for level in levels:
        signal = level * response + CURRENT * SECONDS[0]
        groups.append(_group(SECONDS[0], False, _frames(rng, signal, 2, fixed, bend)))
        groups[-1].exposure = level
    half = _frames(rng, 0.5 * full * response + CURRENT * SECONDS[0], 16, fixed, bend)
    groups.append(_group(SECONDS[0], False, half))
    groups[-1].exposure = 0.5 * full
    profile = calibrate_frames(Frames("simulated", "mono", (BLACK,), WHITE, groups)).profile
    found, truth = profile.settings[0].estimates, truths(levels, fixed, response)
    if bend:
        truth = {name: value for name, value in truth.items() if name in STRAIGHT}
    return _misses(found, truth)


def burst_trial(seed: int) -> dict[str, float]:
    """Likewise of one simulated burst: a scene of light and shade, eight frames."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:160, :160]
    scene = 60 + 8 * x + 300 * ((x // 20 + y // 20) % 2)
    sigma = 3.0
    frames = [
        np.rint(BLACK + K * rng.poisson(scene / K) + sigma * rng.standard_normal(scene.shape)).astype(np.uint16)
        for _ in range(8)
    ]
    burst = burst_noise(frames, BLACK, WHITE)
    found = {"gain_dn_per_e of a burst": burst.gain, "read_noise_dn of a burst": burst.read_noise}
    truth = {"gain_dn_per_e of a burst": K, "read_noise_dn of a burst": float(np.sqrt(sigma**2 + 1 / 12))}
    return _misses(found, truth)


def _misses(found: Mapping[str, Measurement], truth: Mapping[str, float]) -> dict[str, float]:
    misses = {}
    for name, value in truth.items():
        estimate = found[name]
        end = estimate.interval[1] if value >= estimate.value else estimate.interval[0]
        misses[name] = (value - estimate.value) / max(abs(end - estimate.value), 1e-12)
    return misses


def coverage(
    trials: int, first: int = 0, bend: float = 0.0, size: tuple[int, int] = SIZE
) -> dict[str, tuple[float, float, float]]:
    """Part of the trials whose interval held the truth, and mean and spread of the errors in half-intervals."""
    rows = [
        calibration_trial(seed, bend, size) | ({} if bend else burst_trial(seed))
        for seed in range(first, first + trials)
    ]
    table = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return {name: (float((np.abs(v) <= 1).mean()), float(v.mean()), float(v.std())) for name, v in table.items()}


@click.command()
@click.option("--trials", default=200, show_default=True)
@click.option("--first", default=0, show_default=True, help="First seed.")
@click.option("--bend", default=0.0, show_default=True, help="The response is y·(1 − bend·(y/y_max)³).")
@click.option("--size", type=(int, int), default=SIZE, show_default=True, help="Height and width of the frames.")
@click.option("--page", type=click.Path(path_type=Path, exists=True), help="Page to put the table in.")
def main(trials: int, first: int, bend: float, size: tuple[int, int], page: Path | None) -> None:
    """Print the coverage of every parameter.

    \b
    python -m tools.studies.coverage --page docs/calibrate.md
    """  # noqa: D301
    click.echo(f"{'parameter':28} covered   mean error and its spread, in halves of the 95 % interval (ideal 0, 0.51)")
    found = coverage(trials, first, bend, size)
    for name, (part, mean, spread) in found.items():
        click.echo(f"{name:28} {100 * part:5.1f} %   {mean:+.2f}  {spread:.2f}")
    if page is not None:
        rows = [(f"`{name}`", f"{100 * part:.1f} %") for name, (part, *_) in found.items()]
        put_table(page, COLUMNS, rows)


if __name__ == "__main__":
    main()
