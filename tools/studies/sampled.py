"""What models sample at temperature 1, against the truth: moments by light, and means of rows by width."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from noiseflow.flows import Conditions
from noiseflow.models import NoiseModel
from noiseflow.models.oracle.noise_table import tukey_quantile_of_logit
from noiseflow.patches import PatchStore
from noiseflow.raw.formats.emva import is_emva, read_emva, read_frame
from noiseflow.simulate import CameraPhysics, load_camera

__all__ = ["ROWS", "moments", "real_rows", "row_ratio", "simulated_rows"]

NAMES = ("physics_flow", "noise_flow", "nlf")
BINS, ENOUGH, DRAWS, PATCHES = 16, 10_000, 4, 450
WIDTHS = (32, 256, 4000)
ROWS = 8192
"""Sensor rows that are sampled at each width: they know a variance to 1.6 %."""

Row = tuple[object, ...]
Array = NDArray[np.float64]


def cumulants(
    physics: CameraPhysics, iso: float, signal_dn: Array, *, before_rounding: bool = False
) -> tuple[Array, Array]:
    """Variance and fourth cumulant of simulated noise, DN² and DN⁴: those of its parts add.

    Those of rounding are left out if `before_rounding`, as in the samples of a model that was fitted to codes.
    """
    at = physics.at(iso)
    second, fourth = at.read_scale_dn**2, 0.0
    if physics.read_shape != "gaussian":
        logit = np.linspace(-36, 36, 200_001)
        weight = (logit[1] - logit[0]) / (2 + 2 * np.cosh(logit))
        quantile = at.read_scale_dn * tukey_quantile_of_logit(logit, at.read_lambda)
        second = float(weight @ quantile**2)
        fourth = float(weight @ quantile**4) - 3 * second**2
    rounding = (0.0, 0.0) if before_rounding else (1 / 12, -1 / 120)
    variance = at.gain_dn_per_e * signal_dn + second + at.row_sigma_dn**2 + rounding[0]
    return variance, at.gain_dn_per_e**3 * signal_dn + fourth + rounding[1]


@torch.no_grad()
def moments(store: PatchStore, camera: str, models: Mapping[str, NoiseModel]) -> list[Row]:
    """Sampled over true variance and kurtosis per intensity bin, the worst bins of each model."""
    physics = load_camera(camera)
    span = physics.white_dn - physics.black_dn
    edges = np.linspace(0, 1, BINS + 1) ** 2
    names = [name for name in NAMES if name in models]
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    rows = store.indices("test")
    rows = rows[:: max(1, len(rows) // PATCHES)]
    for iso in store.isos:
        clean = store.read(rows[store.table["iso"][rows] == iso]).clean
        signal = clean.double().numpy()
        cell = np.digitize(signal.ravel(), edges[1:-1])
        count = np.bincount(cell, minlength=BINS)
        cond = Conditions(clean, iso, store.cameras[0])
        for name in names:
            before = models[name].spec.before_rounding
            variance, fourth = cumulants(physics, iso, np.maximum(signal, 0) * span, before_rounding=before)
            kurtosis = np.bincount(cell, (3 + fourth / variance**2).ravel(), BINS)
            generator = torch.Generator().manual_seed(0)
            sums = np.zeros((2, BINS))
            for _ in range(DRAWS):
                square = (models[name].sample(cond, generator).double().numpy() * span) ** 2 / variance
                sums += [np.bincount(cell, (square**power).ravel(), BINS) / DRAWS for power in (1, 2)]
            for index in np.flatnonzero(count >= ENOUGH):
                second = sums[0, index] / count[index]
                found[name].append((second, sums[1, index] / second**2 / kurtosis[index]))
    lines: list[Row] = [("model", "bins", "variance, lowest to highest", "within 2 %", "kurtosis", "within 5 %")]
    for name in (name for name in names if found[name]):
        ratios = np.array(found[name])
        ends = [f"{ratios[:, kind].min():.4f} to {ratios[:, kind].max():.4f}" for kind in (0, 1)]
        within = [int((np.abs(ratios[:, kind] - 1) <= bound).sum()) for kind, bound in ((0, 0.02), (1, 0.05))]
        lines.append((name, len(ratios), ends[0], within[0], ends[1], within[1]))
    return lines


def row_ratio(noise: Array) -> float:
    """Variance of the means of rows over that of independent pixels: 1 without row noise; noise (rows, width)."""
    return float(noise.mean(1).var() / (noise.var() / noise.shape[1]))


@torch.no_grad()
def dark_rows(model: NoiseModel, width: int, iso: float) -> Array:
    """Sensor rows of a dark frame, (rows, width), of a model of packed planes."""
    pieces, generator = [], torch.Generator().manual_seed(width)
    height = max(1, min(ROWS // 2, 2_000_000 // (2 * width)))
    for _ in range(-(-ROWS // (2 * height))):
        cond = Conditions(torch.zeros(1, 4, height, width // 2), iso, 0)
        noise = model.sample(cond, generator).double().reshape(2, 2, height, width // 2)
        # Planes 0 and 1 share the even rows, 2 and 3 the odd ones.
        pieces.append(noise.permute(2, 0, 3, 1).reshape(2 * height, width).numpy())
    return np.concatenate(pieces)[:ROWS]


def simulated_rows(camera: str, models: Mapping[str, NoiseModel], isos: tuple[float, ...]) -> Iterator[Row]:
    """Variance of the means of sampled dark rows over the camera's, by ISO and width."""
    physics = load_camera(camera)
    span = physics.white_dn - physics.black_dn
    names = [name for name in NAMES if name in models]
    yield ("ISO", "width, pixels", "truth, × independent", *names)
    for iso in isos:
        row = physics.at(iso).row_sigma_dn ** 2
        befores = [models[name].spec.before_rounding for name in names]
        variances = {
            before: float(cumulants(physics, iso, np.zeros(1), before_rounding=before)[0][0])
            for before in {False, *befores}
        }
        for width in WIDTHS:
            expected = {before: row + (variance - row) / width for before, variance in variances.items()}
            over = [
                (dark_rows(models[name], width, iso) * span).mean(1).var() / expected[before]
                for name, before in zip(names, befores, strict=True)
            ]
            truth = expected[False] / (variances[False] / width)
            yield (f"{iso:g}", width, f"{truth:.2f}", *(f"{ratio:.3f}" for ratio in over))


def real_rows(folder: Path, models: Mapping[str, NoiseModel]) -> Iterator[Row]:
    """How much more the means of dark rows vary than of independent pixels, in frames of an EMVA set and in samples."""
    names = [name for name in NAMES if name in models]
    yield ("width, pixels", "frames", *names)
    if not is_emva(folder):
        return
    listed = read_emva(folder)
    pairs = [series for series in listed.series if series.kind == "d" and len(series.files) == 2]
    frames = []
    for series in pairs:
        one, two = (read_frame(listed, series, file).mosaic.astype(np.float64) for file in series.files)
        frames.append(one - two)
    for width in (32, 128, listed.shape[1]):
        ratios = []
        for frame in frames:
            crops = frame[:, : frame.shape[1] // width * width].reshape(frame.shape[0], -1, width)
            ratios.append(np.mean([row_ratio(crops[:, index]) for index in range(crops.shape[1])]))
        sampled = [row_ratio(dark_rows(models[name], width, 100.0)) for name in names]
        yield (width, f"{np.mean(ratios):.2f} ×", *(f"{ratio:.2f} ×" for ratio in sampled))
