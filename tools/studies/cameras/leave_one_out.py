"""Leave one camera out: what the prior over the others makes of it."""

from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from noiseflow.calibrate.prior.curve import CameraCurve
from noiseflow.calibrate.prior.few_shot import few_shot
from noiseflow.calibrate.prior.learning import learn_prior
from noiseflow.calibrate.prior.posterior import CameraPrior, posterior_of
from noiseflow.calibrate.profiles.profile import Profile
from noiseflow.core.errors import DataError
from noiseflow.raw import RawImage
from noiseflow.simulate.physics import CameraPhysics, IsoPhysics, expose, tukey_lambda_variance
from tools.benching.page import put_table
from tools.studies.cameras.facts import known_curves
from tools.studies.one_picture import picture_of

__all__ = ["camera_of", "gaussian_log_density", "loss_of", "main"]

Array = NDArray[np.float64]

ROOT = Path(__file__).resolve().parents[3]

BLACK, WHITE = 512.0, 16383.0
SIZE = (512, 768)
SCENE = 2
LEVELS = np.geomspace(1e-3, 0.8, 12)
"""Signals, of the range, that the loss is averaged over."""

COLUMNS = (
    "camera left out", "frames at ISO", "error of K", "loss there (nats/dim)", "at its other ISOs",
    "intervals that hold", "log-density of its curve", "Gaussian in log-log", "ranges",
)  # fmt: skip


def camera_of(curve: CameraCurve) -> CameraPhysics:
    """A camera to simulate, of the numbers of a curve, in 14 bits; a number that is not known is 0."""
    isos = {}
    tukey = bool(np.isfinite(curve.values[:, 3]).all())
    for iso, (full, read, row, tail) in zip(curve.isos, curve.values, strict=True):
        gain = (WHITE - BLACK) / np.exp(full)
        noise = gain * np.exp(read)
        rows = noise * np.exp(row) if np.isfinite(row) else 0.0
        pixel = float(np.sqrt(noise**2 - rows**2))
        shape = float(tail) if tukey else 0.0
        scale = pixel / np.sqrt(tukey_lambda_variance(shape)) if tukey else pixel
        isos[float(iso)] = IsoPhysics(float(gain), float(scale), shape, float(rows))
    return CameraPhysics(curve.name, "RGGB", BLACK, WHITE, "tukey-lambda" if tukey else "gaussian", isos, curve.source)


def loss_of(profile: Profile, camera: CameraPhysics, iso: float) -> float:
    """KL(true ‖ estimated) of a pixel's noise as a normal distribution, nats, averaged over `LEVELS`."""
    setting = profile.at(iso, "G1")
    gain, read = setting.value("gain_dn_per_e") or 1.0, setting.value("read_noise_dn") or 1.0
    at, x = camera.at(iso), LEVELS * (WHITE - BLACK)
    true = at.gain_dn_per_e * x + camera.read_sigma_dn(iso) ** 2 + at.row_sigma_dn**2 + 1 / 12
    ratio = true / (gain * x + read**2)
    return float(np.mean(0.5 * (ratio - 1 - np.log(ratio))))


def _holds(profile: Profile, camera: CameraPhysics) -> list[bool]:
    found = []
    for iso, at in camera.isos.items():
        estimates = profile.at(iso, "G1").estimates
        read = float(np.sqrt(camera.read_sigma_dn(iso) ** 2 + at.row_sigma_dn**2 + 1 / 12))
        found += [estimates["gain_dn_per_e"].covers(at.gain_dn_per_e), estimates["read_noise_dn"].covers(read)]
        if at.row_sigma_dn:
            found.append(estimates["row_noise_dn"].covers(at.row_sigma_dn))
    return found


def gaussian_log_density(curve: CameraCurve, others: list[CameraCurve]) -> float:
    """Log-density of a curve's gains and read noises, each ISO a draw of one normal law over (ln ISO, ln numbers)."""
    rows = np.concatenate([np.column_stack([np.log(c.isos), c.values[:, :2]]) for c in others])
    rows = rows[np.isfinite(rows).all(1)]
    design = np.column_stack([np.ones(len(rows)), rows[:, 0]])
    lines, *_ = np.linalg.lstsq(design, rows[:, 1:], rcond=None)
    covariance = np.cov((rows[:, 1:] - design @ lines).T)
    off = curve.values[:, :2] - np.column_stack([np.ones(len(curve.isos)), np.log(curve.isos)]) @ lines
    off = off[np.isfinite(off).all(1)]
    distances = (off * np.linalg.solve(covariance, off.T).T).sum()
    return float(-0.5 * distances - 0.5 * len(off) * np.linalg.slogdet(2 * np.pi * covariance)[1])


def _ranges_log_density(curve: CameraCurve, others: list[CameraCurve]) -> float:
    """As virtual cameras are drawn elsewhere: gain even in a range of ln K·100/ISO, noise even about a line in ln K."""
    rows = np.concatenate([np.column_stack([np.log(c.isos / 100), c.values[:, :2]]) for c in others])
    rows = rows[np.isfinite(rows).all(1)]
    full = rows[:, 1] + rows[:, 0]
    line = np.polyfit(rows[:, 1], rows[:, 2], 1)
    width = np.abs(rows[:, 2] - np.polyval(line, rows[:, 1])).max()
    own = curve.values[np.isfinite(curve.values[:, :2]).all(1)][:, :2]
    isos = curve.isos[np.isfinite(curve.values[:, :2]).all(1)]
    inside = (own[:, 0] + np.log(isos / 100) >= full.min()) & (own[:, 0] + np.log(isos / 100) <= full.max())
    inside &= np.abs(own[:, 1] - np.polyval(line, own[:, 0])) <= width
    return float(-len(own) * (np.log(np.ptp(full)) + np.log(2 * width))) if inside.all() else -np.inf


def _two_numbers(curve: CameraCurve) -> CameraCurve:
    """Gain and read noise alone, of which all three laws speak."""
    values, errors = curve.values.copy(), curve.errors.copy()
    values[:, 2:] = errors[:, 2:] = np.nan
    return CameraCurve(curve.name, curve.isos, values, errors, curve.source)


@dataclass(frozen=True)
class _Case:
    camera: CameraPhysics
    prior: CameraPrior
    iso: float

    def profile(self, seed: int) -> Profile:
        """From one picture and one dark."""
        lit = picture_of(self.camera, self.iso, SCENE, SIZE, seed)
        generator = np.random.default_rng((seed, 7))
        codes = expose(np.zeros(SIZE), self.camera, self.iso, generator)
        dark = RawImage(codes, "RGGB", (BLACK,) * 4, WHITE, iso=self.iso, source="dark")
        return few_shot([lit, dark], list(self.camera.isos), self.prior)


@click.command()
@click.option("--data", type=click.Path(path_type=Path, exists=True), default=ROOT.parent / "shared" / "data")
@click.option("--page", type=click.Path(path_type=Path, exists=True), help="Page to put the table in.")
@click.option("--seed", default=0, show_default=True)
def main(data: Path, page: Path | None, seed: int) -> None:
    """Print, for each camera, what the prior over the others makes of one picture and one dark of it.

    \b
    python -m tools.studies.cameras.leave_one_out --page docs/guide/cameras.md
    """  # noqa: D301
    curves = known_curves(data)
    rows: list[tuple[str, ...]] = []
    numbers: list[tuple[float, float, float, float]] = []
    for curve in curves:
        if len(curve.isos) < 2 or not np.isfinite(curve.values[:, 1]).any():
            continue
        known = curve.at(np.flatnonzero(np.isfinite(curve.values[:, 1])).tolist())
        others = [each for each in curves if each is not curve]
        prior = learn_prior(others)
        case = _Case(camera_of(known), prior, float(known.isos[(len(known.isos) - 1) // 2]))
        count = int(np.isfinite(known.values[:, :2]).sum())
        density = posterior_of(_two_numbers(known), prior).log_evidence / count
        plain, ranges = (law(known, others) / count for law in (gaussian_log_density, _ranges_log_density))
        try:
            profile = case.profile(seed)
        except DataError as error:
            click.echo(f"{curve.name}: {error}")
            continue
        losses = {iso: loss_of(profile, case.camera, iso) for iso in case.camera.isos}
        rest = float(np.median([loss for iso, loss in losses.items() if iso != case.iso]))
        gain = profile.at(case.iso, "G1").value("gain_dn_per_e") or 0.0
        error = gain / case.camera.at(case.iso).gain_dn_per_e - 1
        held = float(np.mean(_holds(profile, case.camera)))
        numbers.append((abs(error), losses[case.iso], rest, held))
        rows.append((
            curve.name, f"{case.iso:g}", f"{100 * error:+.1f} %", f"{losses[case.iso]:.4f}", f"{rest:.4f}",
            f"{100 * held:.0f} %", f"{density:.2f}", f"{plain:.2f}",
            f"{ranges:.2f}" if np.isfinite(ranges) else "outside",
        ))  # fmt: skip
        click.echo("  ".join(rows[-1]))
    middle = np.median(np.array(numbers), axis=0)
    wins = sum(float(row[6]) > float(row[7]) for row in rows)
    rows.append((
        "median", "", f"{100 * middle[0]:.1f} %", f"{middle[1]:.4f}", f"{middle[2]:.4f}", f"{100 * middle[3]:.0f} %",
        f"better in {wins} of {len(rows)}", "", "",
    ))  # fmt: skip
    click.echo("  ".join(rows[-1]))
    if page is not None:
        put_table(page, COLUMNS, rows)


if __name__ == "__main__":
    main()
