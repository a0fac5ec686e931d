"""What taking row and column offsets out of a photo before the shipped network is worth.

python -m tools.studies.photo_rows photo_rows.json --picture photo_rows.png
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import click
import numpy as np
import torch
from scipy.stats import t as student
from torch import Tensor

from noiseflow.augment.denoise.noise_line import NoiseLine
from noiseflow.augment.denoise.photo import denoise_photo
from noiseflow.augment.denoise.shipped import shipped_denoiser
from noiseflow.augment.denoise.training.cameras import NoisyCrops
from noiseflow.augment.denoise.training.pictures import HELD_OUT
from noiseflow.augment.frames.preview import develop
from noiseflow.raw.bayer import unpack
from noiseflow.raw.image import RawImage
from tools.studies.photo_denoiser import LIGHTS, SimulatedCamera, clean_pictures, psnr

CAMERAS = {
    "strong rows": SimulatedCamera(2500, 4.0, row=0.6),
    "strong tails": SimulatedCamera(1500, 3.0, shape=-0.3, row=0.1),
    "rows and columns": SimulatedCamera(6000, 6.0, shape=-0.1, row=0.4, column=0.3),
    "no rows": SimulatedCamera(2500, 4.0),
    "no rows, said to be strong": SimulatedCamera(2500, 4.0),
}
"""Cameras that no training draws."""

TEXTURES = ("brick", "grass", "gravel")
"""Pictures that are texture everywhere."""

WRONG = 0.6
"""σ of rows over that of pixels that the last camera is said to have."""

BLACK, WHITE = 512.0, 16383.0

LIGHT_WORDS = dict(zip(LIGHTS, ("1", "1/16"), strict=True))


def as_photo(planes: Tensor) -> RawImage:
    """A raw frame of normalised planes, (1, 4, H, W), in fractions of DN."""
    mosaic = unpack(planes[0].double().numpy() * (WHITE - BLACK) + BLACK, "RGGB")
    return RawImage(mosaic.astype(np.float32), "RGGB", (BLACK,) * 4, WHITE, iso=800.0, source="simulated")


def lines_of(name: str, camera: SimulatedCamera) -> tuple[float, float]:
    """σ of rows and columns, normalised."""
    unit = camera.read / camera.full
    return (WRONG if name.endswith("strong") else camera.row) * unit, camera.column * unit


def noise_line(crops: NoisyCrops, row: float = 0.0, column: float = 0.0) -> NoiseLine:
    """The true noise level of crops."""
    slope, offset = (each.double().expand(1, 4, 1, 1).numpy().ravel() for each in (crops.slope, crops.offset))
    return NoiseLine(slope, offset, "simulated", row, column)


def denoised(crops: NoisyCrops, noise: NoiseLine) -> Tensor:
    """What ``noiseflow denoise`` makes of it, (1, 4, H, W)."""
    return torch.from_numpy(denoise_photo(shipped_denoiser(), as_photo(crops.noisy), noise).signal)[None]


def without_lines(camera: SimulatedCamera, clean: Tensor, seed: int) -> NoisyCrops:
    """The same draw of a camera that has neither rows nor columns."""
    return replace(camera, row=0.0, column=0.0)(clean, seed)


def interval(differences: list[float]) -> str:
    """Mean with its 95 % interval over pictures and draws."""
    half = student.ppf(0.975, len(differences) - 1) * np.std(differences, ddof=1) / math.sqrt(len(differences))
    mean = np.mean(differences)
    return f"{mean:+.2f} ({mean - half:+.2f} to {mean + half:+.2f}) | {min(differences):+.2f}".replace("-", "−")


def compared(name: str, light: float, draws: int, pictures: Sequence[str]) -> dict[str, list[float]]:
    """PSNR of each picture and draw, by method."""
    camera = CAMERAS[name]
    row, column = lines_of(name, camera)
    found: dict[str, list[float]] = {"noisy": [], "network alone": [], "lines first": [], "no lines in it": []}
    for number, clean in enumerate(clean_pictures(pictures)):
        for draw in range(draws):
            exposed, seed = light * clean, 100 * draw + number
            crops, bare = camera(exposed, seed), without_lines(camera, exposed, seed)
            methods: dict[str, Callable[[], Tensor]] = {
                "noisy": lambda crops=crops: crops.noisy,
                "network alone": lambda crops=crops: denoised(crops, noise_line(crops)),
                "lines first": lambda crops=crops: denoised(crops, noise_line(crops, row, column)),
                "no lines in it": lambda bare=bare: denoised(bare, noise_line(bare)),
            }
            for method, denoise in methods.items():
                found[method].append(psnr(denoise(), crops, light))
    return found


def picture(out: Path) -> None:
    """Noisy, network alone, lines first, and clean, side by side, brightened."""
    camera, clean = CAMERAS["strong rows"], next(clean_pictures())
    crops = camera(LIGHTS[1] * clean, 0)
    row, column = lines_of("strong rows", camera)
    shown = [
        crops.noisy,
        denoised(crops, noise_line(crops)),
        denoised(crops, noise_line(crops, row, column)),
        crops.clean,
    ]
    from PIL import Image

    tiles = [develop(as_photo((each / LIGHTS[1]).clamp(-0.03, 1))) for each in shown]
    Image.fromarray(np.concatenate(tiles, 1)).save(out)


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--draws", default=5, show_default=True, help="Noise draws of each picture.")
@click.option("--picture", "drawn", type=click.Path(path_type=Path), help="PNG to write: before and after.")
def main(out: Path, draws: int, drawn: Path | None) -> None:
    """Write PSNRs to OUT (JSON), and print the rows of the table in docs/guide/denoise.md."""
    torch.set_num_threads(1)
    if drawn is not None:
        picture(drawn)
    table = {}
    rows = [(name, name, HELD_OUT) for name in CAMERAS] + [("strong rows, textures", "strong rows", TEXTURES)]
    for (row, name, pictures), light in product(rows, LIGHTS):
        values = table[f"{row}, {light:g}"] = compared(name, light, draws, pictures)
        _, alone, first, bare = (np.array(each) for each in values.values())
        cells = (
            row,
            LIGHT_WORDS[light],
            f"{alone.mean():.2f}",
            f"{first.mean():.2f}",
            interval((first - alone).tolist()),
        )
        click.echo(f"| {' | '.join(cells)} | {(bare - alone).mean():+.2f} |")
    out.write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
