"""How the shipped photo denoiser compares: with itself told a wrong σ, with BM3D, and with small twins of other noise.

python -m tools.studies.photo_denoiser photo_denoiser.json --data ../shared/data

BM3D (pip install bm3d) is compared where it is installed; it is no dependency of ours.
"""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import t as student
from torch import Tensor

from noiseflow.augment.denoise.network import PhotoDenoiser, PhotoDenoiserSpec
from noiseflow.augment.denoise.shipped import shipped_denoiser
from noiseflow.augment.denoise.training.cameras import DrawnCameras, NoisyCrops, add_noise
from noiseflow.augment.denoise.training.drawn import drawn_cameras, held_out_cameras
from noiseflow.augment.denoise.training.pictures import HELD_OUT, skimage_picture
from noiseflow.augment.denoise.training.train import DenoiserSettings, train_photo_denoiser
from noiseflow.augment.pictures.unprocess import DRAWS, draw_development, unprocess
from noiseflow.augment.stabilise.variance_stabiliser import VarianceStabiliser
from noiseflow.cli.progress import shown
from noiseflow.fit.training.state import read_state
from noiseflow.models.io.run_folder import STATE
from noiseflow.simulate.physics import tukey_lambda_variance

Array = NDArray[np.float64]

LIGHTS = (1.0, 1 / 16)
"""Parts of full exposure."""

SHRUNK = 1.6
"""Pictures are shrunk by so much."""

SMALL = PhotoDenoiserSpec((16, 32, 32), 1)
"""Of the twins that are trained here."""

HADAMARD = torch.tensor([[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]]) / 2
"""Sum and differences of the planes: BM3D works on these, as it does on opponent colours."""

Denoise = Callable[[NoisyCrops], Tensor]
Expose = Callable[[Tensor, int], NoisyCrops]


@dataclass(frozen=True)
class SimulatedCamera:
    """A camera that no training draws, in electrons: `full` fill the range of 14 bits."""

    full: float
    read: float
    shape: float = 0.14
    row: float = 0.0
    column: float = 0.0

    def __call__(self, clean: Tensor, seed: int) -> NoisyCrops:
        """Noisy planes of one picture, (1, 4, H, W)."""
        unit = self.read / self.full
        values = dict.fromkeys(DrawnCameras.__dataclass_fields__, 0.0)
        values |= {"electrons": self.full, "sigma": unit, "shape": self.shape, "step": 2.0**-14, "floor": -1 / 31}
        values |= {"scale": unit / math.sqrt(tukey_lambda_variance(self.shape))}
        values |= {"row": self.row * unit, "column": self.column * unit}
        camera = DrawnCameras(**{name: torch.full((1, 1, 1, 1), value) for name, value in values.items()})
        return add_noise(clean, camera, torch.Generator().manual_seed(seed), jitter=0.0)


@dataclass(frozen=True)
class RealDarks:
    """Photons of a Poisson law under the dark frames of a real sensor, in its whole DN."""

    folder: Path
    gain: float
    white: float

    def __call__(self, clean: Tensor, seed: int) -> NoisyCrops:
        """Noisy planes of one picture, (1, 4, H, W), cropped to the sensor."""
        from PIL import Image

        paths = sorted((self.folder / "images").glob("d_s_*.png"))
        with Image.open(paths[seed % len(paths)]) as frame:
            dark = np.asarray(frame, np.float64)
        black = dark.mean()
        planes = torch.from_numpy(np.stack([dark[r::2, c::2] for r in (0, 1) for c in (0, 1)]))[None]
        height, width = (min(a, b) for a, b in zip(clean.shape[2:], planes.shape[2:], strict=True))
        clean, planes = clean[..., :height, :width], planes[..., :height, :width]
        span = self.white - black
        photons = torch.poisson(clean.double() * span / self.gain, generator=torch.Generator().manual_seed(seed))
        codes = ((self.gain * photons).round() + planes).clamp(0, self.white)
        noisy = ((codes - black) / span).float()
        column = torch.ones(1, 4, 1, 1)
        # Photons are rounded to whole DN once more than the darks were.
        offset = (float(dark.var()) + 1 / 12) / span**2
        return NoisyCrops(clean, noisy, self.gain / span * column, offset * column, -black / span * column)


def cameras(data: Path | None) -> dict[str, Expose]:
    """Cameras by name; the real ones where their data are."""
    found: dict[str, Expose] = {
        "strong rows": SimulatedCamera(2500, 4.0, row=0.6),
        "strong tails": SimulatedCamera(1500, 3.0, shape=-0.3, row=0.1),
        "rows and columns": SimulatedCamera(6000, 6.0, shape=-0.1, row=0.4, column=0.3),
    }
    if data is not None:
        folder = data / "emva1288"
        found["EMVA 001"] = RealDarks(folder / "EMVA1288_ReferenceSet_001_CCD_12Bit", 0.2801, 3891)
        found["EMVA 002"] = RealDarks(folder / "EMVA1288_ReferenceSet_002_CMOS_08Bit_left640", 0.020555, 219)
    return found


def clean_pictures(names: Sequence[str] = HELD_OUT) -> Iterator[Tensor]:
    """Planes of pictures, the held-out ones if not named, (1, 4, H, W), 0 to 1."""
    for number, name in enumerate(names):
        picture = torch.from_numpy(skimage_picture(name))[None]
        size = [int(side / SHRUNK) // 16 * 16 for side in picture.shape[2:]]
        small = torch.nn.functional.interpolate(picture, size, mode="bilinear", antialias=True, align_corners=False)
        u = torch.from_numpy(np.random.default_rng(number).uniform(0.1, 0.9, (1, DRAWS)).astype(np.float32))
        yield unprocess(small.clamp(0, 1), draw_development(u))


def told(network: PhotoDenoiser, factor: float = 1.0) -> Denoise:
    """A network that is told a σ so many times as large."""

    @torch.no_grad()
    def denoise(crops: NoisyCrops) -> Tensor:
        found: Tensor = network(crops.noisy, factor**2 * crops.slope, factor**2 * crops.offset, crops.floor)
        return found

    return denoise


def bm3d(crops: NoisyCrops) -> Tensor:
    """BM3D on sum and differences of the stabilised planes, with the exact unbiased inverse."""
    from bm3d import bm3d as run

    count = crops.noisy.shape[1]
    slope, offset = (each.expand(1, count, 1, 1)[0, :, 0, 0] for each in (crops.slope, crops.offset))
    stabiliser = VarianceStabiliser(slope, offset)
    signal = torch.einsum("ij,jhw->ihw", HADAMARD, stabiliser(crops.noisy[0]))
    found = torch.stack([torch.from_numpy(np.asarray(run(plane.numpy(), 1.0), np.float32)) for plane in signal])
    return stabiliser.inverse(torch.einsum("ij,jhw->ihw", HADAMARD, found))[None]


def psnr(found: Tensor, crops: NoisyCrops, light: float) -> float:
    """Decibels of a picture brightened to 1, clipped to the range."""
    error = (found.clamp(0, 1) - crops.clean).double().square().mean() / light**2
    return -10 * math.log10(float(error))


def twin(
    out: Path, only: Sequence[str] | None, steps: int, seed: int, start: PhotoDenoiser | PhotoDenoiserSpec = SMALL
) -> PhotoDenoiser:
    """A network trained here on drawn cameras, or on their shot and normal read noise alone (``only=()``)."""
    rate = 2e-3 if isinstance(start, PhotoDenoiserSpec) else 5e-4
    settings = DenoiserSettings(
        steps=steps, validations=2, side=64, precision="bf16", seed=seed, held_out=8, learning_rate=rate
    )
    train, judge = drawn_cameras(64, only), held_out_cameras(64)
    with shown(out.name, "steps") as progress:
        train_photo_denoiser(train, judge, out, settings, start=start, overwrite=True, progress=progress)
    # The last weights, and not those that are best on the drawn cameras: the plain twin would stay what it was.
    state = read_state(out / STATE)[1]
    network = PhotoDenoiser(start if isinstance(start, PhotoDenoiserSpec) else start.spec).eval()
    network.load_state_dict(state["average"])
    return network


def compared(values: dict[str, list[float]], first: str, second: str) -> str:
    """Mean difference in dB with its 95 % interval over pictures and draws, paired."""
    difference = np.subtract(values[first], values[second])
    half = student.ppf(0.975, len(difference) - 1) * difference.std(ddof=1) / math.sqrt(len(difference))
    return f"{difference.mean():+.2f} ({difference.mean() - half:+.2f} to {difference.mean() + half:+.2f})"


PAIRS = (
    ("shipped", "σ × 1.2"),
    ("shipped", "σ × 0.8"),
    ("shipped", "BM3D"),
    ("small, drawn", "small, plain"),
    ("further, drawn", "further, plain"),
)
"""Differences that are printed."""


def methods_by_name(twins: Path, steps: int, seed: int) -> dict[str, Callable[[], Denoise]]:
    """Constructors of all methods."""
    return {
        "noisy": lambda: lambda crops: crops.noisy,
        "shipped": lambda: told(shipped_denoiser()),
        "σ × 1.2": lambda: told(shipped_denoiser(), 1.2),
        "σ × 0.8": lambda: told(shipped_denoiser(), 0.8),
        "BM3D": lambda: bm3d,
        "small, drawn": lambda: told(twin(twins / f"drawn-{seed}", None, steps, seed)),
        "small, plain": lambda: told(twin(twins / f"plain-{seed}", (), steps, seed)),
        "further, drawn": lambda: told(twin(twins / f"further-drawn-{seed}", None, steps, seed, shipped_denoiser())),
        "further, plain": lambda: told(twin(twins / f"further-plain-{seed}", (), steps, seed, shipped_denoiser())),
    }


def averaged(found: dict[str, dict[str, list[float]]]) -> dict[str, list[float]]:
    """PSNR of each picture by method, averaged over cameras and lights; of methods that all of them have."""
    cells = list(found.values())
    common = [method for method in cells[0] if all(method in cell for cell in cells)]
    return {method: np.mean([cell[method] for cell in cells], 0).tolist() for method in common}


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path, exists=True), help="Shared data, for the real dark frames.")
@click.option("--method", "chosen", multiple=True, help="One of the methods, again for more; all if not given.")
@click.option("--work", type=click.Path(path_type=Path), default=Path("twins"), help="Folder of the small networks.")
@click.option("--steps", default=600, show_default=True, help="Steps of each small network.")
@click.option("--seed", default=0, show_default=True, help="Of noise and small networks.")
def main(out: Path, data: Path | None, chosen: tuple[str, ...], work: Path, steps: int, seed: int) -> None:
    """Write PSNRs to OUT (JSON), to those of other methods that are in it, and print the differences."""
    torch.set_num_threads(1)
    work.mkdir(exist_ok=True)
    known = methods_by_name(work, steps, seed)
    found: dict[str, dict[str, list[float]]] = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    for method in chosen or tuple(known):
        denoise = known[method]()
        for name, expose in cameras(data).items():
            for light in LIGHTS:
                exposed = (expose(light * clean, 100 * seed + n) for n, clean in enumerate(clean_pictures()))
                values = [psnr(denoise(crops), crops, light) for crops in exposed]
                found.setdefault(f"{name}, {light:g}", {})[method] = values
    out.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for name, values in found.items():
        click.echo(f"{name}: " + ", ".join(f"{method} {np.mean(each):.2f}" for method, each in values.items()))
    for name, values in (*found.items(), ("mean of all", averaged(found))):
        for one, other in PAIRS:
            if one in values and other in values:
                click.echo(f"{name}: {one} − {other}: {compared(values, one, other)} dB")


if __name__ == "__main__":
    main()
