"""A crop of a raw photo at 100 %, as it is and denoised by the shipped network, side by side.

python -m tools.studies.photo_crops FILE.ARW docs/images/denoised.jpg --at 1380 2180
"""

from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image

from noiseflow.augment.denoise.noise_line import find_noise
from noiseflow.augment.denoise.photo import denoise_photo
from noiseflow.augment.denoise.photo_file import read_photo
from noiseflow.augment.denoise.shipped import shipped_denoiser
from noiseflow.augment.frames.preview import develop
from noiseflow.raw.image import RawImage

GAP = 6
"""White pixels between crops."""


def cropped(image: RawImage, top: int, left: int, height: int, width: int) -> RawImage:
    """A window of a frame, its first pixel in an even row and column."""
    return replace(image, mosaic=image.mosaic[top : top + height, left : left + width])


@click.command()
@click.argument("photo", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--at", type=(int, int), multiple=True, required=True, help="Top and left of a crop, pixels, even.")
@click.option("--size", type=(int, int), default=(320, 480), show_default=True, help="Height and width of the crops.")
@click.option("--strength", default=1.0, show_default=True)
def main(photo: Path, out: Path, at: tuple[tuple[int, int], ...], size: tuple[int, int], strength: float) -> None:
    """Write the crops of PHOTO to OUT, one below the other."""
    torch.set_num_threads(1)
    image, network = read_photo(photo), shipped_denoiser()
    noise = find_noise(image)
    click.echo(f"{noise.source}: S {noise.slope.round(7).tolist()}, O {noise.offset.round(10).tolist()}")
    rows = []
    for top, left in at:
        # What the network sees about the crop belongs to it.
        margin = 2 * network.reach
        above, before = min(top, margin), min(left, margin)
        around = cropped(image, top - above, left - before, size[0] + above + margin, size[1] + before + margin)
        clean = denoise_photo(network, around, noise, strength=strength).image
        pair = [develop(cropped(each, above, before, *size)) for each in (around, clean)]
        rows.append(np.concatenate([pair[0], np.full((size[0], GAP, 3), 255, np.uint8), pair[1]], 1))
        rows.append(np.full((GAP, rows[-1].shape[1], 3), 255, np.uint8))
    Image.fromarray(np.concatenate(rows[:-1])).save(out, quality=88)


if __name__ == "__main__":
    main()
