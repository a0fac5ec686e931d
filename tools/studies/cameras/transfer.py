"""Noise of one fitted camera moved to another: variance by signal, row means, a classifier, and the way back.

python -m tools.studies.cameras.transfer --work /tmp/transfer
"""

from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor

from noiseflow.augment.transfer import transfer_noise
from noiseflow.evaluate.metrics.two_sample import features, held_out_hits
from noiseflow.fit import FitSettings, fit, spec_for
from noiseflow.flows.conditions import Conditions
from noiseflow.models.model import NoiseModel
from noiseflow.patches import PatchStore
from noiseflow.patches.assembly.writer import StoreWriter
from noiseflow.patches.schema import fields
from noiseflow.raw.bayer import pack, unpack
from noiseflow.simulate import load_camera
from noiseflow.simulate.physics import CameraPhysics, expose
from tools.studies.cameras.facts import known_curves
from tools.studies.cameras.leave_one_out import ROOT, camera_of

__all__ = ["Moved", "main", "moved"]

SIDE = 32
"""Side of a patch, in pixels of a plane."""

BINS, GROUPS = 8, 40
"""Bins of the signal; groups of patches of the same scene, of which the classifier holds some out."""


@dataclass(frozen=True)
class Moved:
    """How noise moved to another camera compares with that camera's own.

    Parameters
    ----------
    variance : ndarray, shape (BINS,)
        Of the moved noise over that of the target's own, by signal.
    rows : float
        Variance of the means of the patches' rows, moved over own.
    accuracy, error : float
        Part that a classifier tells apart, ½ being chance, and its standard error over the groups.
    back : float
        Largest difference of noise that went there and back, in standard deviations of the noise.
    """

    variance: np.ndarray
    rows: float
    accuracy: float
    error: float
    back: float


def patches_of(camera: CameraPhysics, iso: float, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Codes and expected codes of patches of ramps, (n, 4, SIDE, SIDE)."""
    rng = np.random.default_rng((seed, int(iso)))
    lights = np.random.default_rng(seed)
    codes, clean = np.empty((count, 4, SIDE, SIDE), np.uint16), np.empty((count, 4, SIDE, SIDE), np.float32)
    for index in range(count):
        low = lights.uniform(0.0005, 0.45)
        ramp = np.linspace(low, low * lights.uniform(1.0, 1.5), SIDE)[None].repeat(SIDE, 0)
        planes = np.stack([ramp * colour for colour in (0.6, 1.0, 1.0, 0.8)])
        signal = unpack(planes, camera.cfa) * (camera.white_dn - camera.black_dn)
        codes[index] = pack(expose(signal, camera, iso, rng), camera.cfa)
        clean[index] = planes * (camera.white_dn - camera.black_dn) + camera.black_dn
    return codes, clean


def store_of(path: Path, camera: CameraPhysics, isos: tuple[float, ...], count: int) -> Path:
    """A store of `patches_of` a camera."""
    path.unlink(missing_ok=True)
    with StoreWriter(path, layout="bayer", patch_size=SIDE, pairing="gt", provenance={}) as writer:
        for iso in isos:
            codes, clean = patches_of(camera, iso, count, 1)
            table = np.zeros(count, fields(4))
            table["camera"] = writer.label("cameras", camera.name)
            table["iso"], table["black"], table["white"] = iso, camera.black_dn, camera.white_dn
            table["source"] = writer.source(f"made at {iso:g}", "0")
            for row in range(count):
                table["scene"][row] = writer.label("scenes", f"{iso:g} {row % GROUPS}")
            table["split"] = np.where(np.arange(count) % 10 == 0, 1, 0)
            writer.append(codes, clean, table)
    return path


def noise_of(camera: CameraPhysics, iso: float, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noise and clean signal of fresh patches, normalised."""
    codes, clean = patches_of(camera, iso, count, seed)
    span = camera.white_dn - camera.black_dn
    return (
        torch.from_numpy((codes - clean) / span).float(),
        torch.from_numpy((clean - camera.black_dn) / span).float(),
    )


def moved(
    source: NoiseModel, target: NoiseModel, cameras: tuple[CameraPhysics, CameraPhysics], isos: tuple[float, float],
    count: int,
) -> Moved:  # fmt: skip
    """Move fresh noise from one camera to another, and compare it with the other's own of the same light."""
    noise, clean = noise_of(cameras[0], isos[0], count, 2)
    own, _ = noise_of(cameras[1], isos[1], count, 2)
    conds = [Conditions(clean, iso, camera.name) for iso, camera in zip(isos, cameras, strict=True)]
    there = transfer_noise(noise, source, conds[0], target, conds[1])
    back = transfer_noise(there, target, conds[1], source, conds[0])
    edges = np.quantile(clean.numpy(), np.linspace(0, 1, BINS + 1))
    place = np.clip(np.searchsorted(edges, clean.numpy().ravel(), "right") - 1, 0, BINS - 1)
    power = [np.bincount(place, each.numpy().ravel().astype(float) ** 2, BINS) for each in (there, own)]
    rows = [float(each.mean(3).var()) for each in (there, own)]
    filters = torch.randn((8, 4, 3, 3), generator=torch.Generator().manual_seed(0))
    filters /= filters.square().sum((1, 2, 3), keepdim=True).sqrt()
    brightness = clean.mean((1, 2, 3))
    seen = [features(each, brightness, filters).double().numpy() for each in (own, there)]
    group = np.arange(count) % GROUPS
    hits = held_out_hits(seen[0], seen[1], group)
    by_group = np.bincount(group, hits) / (2 * np.bincount(group))
    return Moved(
        power[0] / power[1],
        rows[0] / rows[1],
        float(by_group.mean()),
        float(by_group.std(ddof=1) / np.sqrt(len(by_group))),
        float((back - noise).abs().max() / noise.std()),
    )


@click.command()
@click.option("--work", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of the runs.")
@click.option("--patches", type=click.IntRange(100), default=800, show_default=True, help="A camera and ISO.")
@click.option("--epochs", type=click.IntRange(1), default=2, show_default=True)
def main(work: Path, patches: int, epochs: int) -> None:
    """Fit two cameras, and move noise between them and between ISOs of one."""
    work.mkdir(parents=True, exist_ok=True)
    curves = known_curves(ROOT.parent / "shared" / "data")
    d850 = camera_of(next(curve for curve in curves if curve.name == "Nikon D850"))
    a7s2 = load_camera("Sony A7S2")
    models = {}
    for camera, isos in ((a7s2, (800.0, 1600.0, 3200.0)), (d850, (400.0, 1600.0))):
        path = store_of(work / f"{camera.name}.h5", camera, isos, patches)
        with PatchStore(path) as store:
            spec = spec_for(store, "physics_flow")
            settings = FitSettings(epochs=epochs, steps_per_epoch=25, batch=64)
            models[camera.name] = fit(store, spec, work / camera.name, settings, overwrite=True).model.eval()
    for cameras, isos in (((a7s2, d850), (1600.0, 1600.0)), ((a7s2, a7s2), (800.0, 3200.0))):
        pair = [models[camera.name] for camera in cameras]
        found = moved(pair[0], pair[1], cameras, isos, patches)
        click.echo(
            f"{cameras[0].name} ISO {isos[0]:g} -> {cameras[1].name} ISO {isos[1]:g}: variance "
            f"{found.variance.min():.3f} to {found.variance.max():.3f} of the target's, rows {found.rows:.3f}, "
            f"classifier {found.accuracy:.3f} ± {found.error:.3f}, back within {found.back:.1e} σ"
        )


if __name__ == "__main__":
    main()
