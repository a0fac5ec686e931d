"""K from one picture, over simulated cameras, scenes and ISOs; and what becomes of pictures that were processed."""

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import convolve1d, gaussian_filter, median_filter

from noiseflow.calibrate import Measurement, PictureNoise, measure_picture
from noiseflow.core.errors import DataError
from noiseflow.raw import RawImage
from noiseflow.raw.bayer import pack, unpack
from noiseflow.simulate import load_camera
from noiseflow.simulate.physics import CameraPhysics, expose
from noiseflow.simulate.scenes import render, scene_names
from tools.benching.page import put_table

__all__ = ["PROCESSED", "Outcome", "measure", "picture_of"]

CAMERAS = ("Sony A7S2", "CRVD IMX385", "PG-12", "ROW-12", "IMX686")
SCENES = (0, 1, 2, 3, 5, 6)
"""Wedge, astronaut, coffee, cat, camera, rocket: motorcycle, brick and grass hold next to no flat part."""

COLUMNS = (
    "camera", "pictures", "given", "error of K, median", "largest", "interval of K holds", "of the read noise",
    "of the row noise",
)  # fmt: skip
PROCESSED_COLUMNS = ("processing", "refused", "given with K wrong by more than 10 %")

SIDE = 8
"""Sides of planes that were resized are multiples of this."""

Planes = NDArray[np.uint16]


def _each(planes: Planes, filtered: Callable[[Planes], Planes]) -> Planes:
    return np.stack([filtered(plane) for plane in planes])


def _blur(sigma: float) -> Callable[[Planes], Planes]:
    return lambda planes: _each(
        planes, lambda one: np.rint(gaussian_filter(one.astype(float), sigma)).astype(np.uint16)
    )


def _blur_mosaic(planes: Planes) -> Planes:
    mosaic = gaussian_filter(unpack(planes, "RGGB").astype(float), 0.7)
    return pack(np.rint(mosaic).astype(np.uint16), "RGGB")


def _jpeg(quality: int) -> Callable[[Planes], Planes]:
    """Planes through JPEG at 8 bits after a gamma of 2.2; levels of a 14-bit camera."""

    def one(plane: Planes) -> Planes:
        shown = np.rint(255 * np.clip((plane - 512.0) / 15871, 0, 1) ** (1 / 2.2)).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(shown).save(buffer, "JPEG", quality=quality)
        back = np.asarray(Image.open(io.BytesIO(buffer.getvalue()))) / 255.0
        return np.rint(15871 * back**2.2 + 512).astype(np.uint16)

    return lambda planes: _each(planes, one)


def _resized(factor: float) -> Callable[[Planes], Planes]:
    """Planes of another size: Pillow's bicubic filter, widened where it makes smaller."""

    def one(plane: Planes) -> Planes:
        size = [round(factor * side) // SIDE * SIDE for side in plane.shape[::-1]]
        found = Image.fromarray(plane.astype(np.float32)).resize((size[0], size[1]), Image.Resampling.BICUBIC)
        return np.clip(np.rint(np.asarray(found)), 0, 65535).astype(np.uint16)

    return lambda planes: _each(planes, one)


def _demosaiced(planes: Planes) -> NDArray[np.float64]:
    """Bilinear colours at every pixel of the mosaic, (3, H, W)."""
    mosaic = unpack(planes, "RGGB").astype(float)
    rows, columns = np.indices(mosaic.shape) % 2
    kernel = np.array([1.0, 2.0, 1.0])
    found = []
    for own in ((rows == 0) & (columns == 0), rows != columns, (rows == 1) & (columns == 1)):
        sums = [convolve1d(convolve1d(part, kernel, 0), kernel, 1) for part in (mosaic * own, own.astype(float))]
        found.append(np.where(own, mosaic, sums[0] / sums[1]))
    return np.stack(found)


def _mosaicked(colours: NDArray[np.float64]) -> Planes:
    """Planes R, G1, G2, B of colours at every pixel."""
    codes = np.clip(np.rint(colours), 0, 65535).astype(np.uint16)
    red, green, blue = codes
    return np.stack([red[::2, ::2], green[::2, 1::2], green[1::2, ::2], blue[1::2, 1::2]])


def _mixed(planes: Planes) -> Planes:
    """A usual colour matrix between demosaicing and mosaicking."""
    matrix = np.array([[1.6, -0.5, -0.1], [-0.2, 1.5, -0.3], [0.0, -0.6, 1.6]])
    return _mosaicked(512 + np.tensordot(matrix, _demosaiced(planes) - 512, 1))


def _shifted(planes: Planes) -> Planes:
    """Mosaicked one pixel further: no sample is an original one."""
    return _mosaicked(_demosaiced(planes)[:, 1:-1, 1:-1])


PROCESSED: dict[str, Callable[[Planes], Planes]] = {
    "blur, σ = 0.4 pixels of a plane": _blur(0.4),
    "blur, σ = 1 pixel of a plane": _blur(1.0),
    "blur of the mosaic, σ = 0.7": _blur_mosaic,
    "median of 3×3": lambda planes: _each(planes, lambda one: median_filter(one, 3)),
    "JPEG, quality 75": _jpeg(75),
    "JPEG, quality 95": _jpeg(95),
    "JPEG, quality 98": _jpeg(98),
    "JPEG, quality 99": _jpeg(99),
    "JPEG, quality 100": _jpeg(100),
    "resized to 75 %": _resized(0.75),
    "resized to 90 %": _resized(0.9),
    "resized to 150 %": _resized(1.5),
    "demosaiced, colours mixed, mosaicked": _mixed,
    "demosaiced, shifted by a pixel, mosaicked": _shifted,
}
"""Ways to spoil a picture, on planes (4, H, W) of DN."""


@dataclass(frozen=True)
class Outcome:
    """One picture measured: relative error of K, and whether the intervals hold (None where none is given)."""

    error: float
    gain: bool
    read: bool | None
    rows: bool | None


def picture_of(camera: CameraPhysics, iso: float, scene: int, size: tuple[int, int], seed: int) -> RawImage:
    """A picture as the simulated camera takes it."""
    levels = render(scene_names(9)[scene], size, np.random.default_rng((seed, scene)))
    signal = np.maximum(levels, 0) * (camera.white_dn - camera.black_dn)
    mosaic = expose(signal, camera, iso, np.random.default_rng((seed, scene, round(iso))))
    return RawImage(mosaic, "RGGB", (camera.black_dn,) * 4, camera.white_dn, iso=iso, source=scene_names(9)[scene])


def measure(image: RawImage, camera: CameraPhysics, iso: float) -> Outcome | None:
    """What one picture says, against the truth; None if it is refused."""
    try:
        found: PictureNoise = measure_picture(image)
    except DataError:
        return None
    at = camera.at(iso)
    read = float(np.sqrt(camera.read_sigma_dn(iso) ** 2 + at.row_sigma_dn**2 + 1 / 12))
    gain = found.gain[1]
    return Outcome(
        gain.value / at.gain_dn_per_e - 1,
        gain.covers(at.gain_dn_per_e),
        _holds(found.read_noise[1], read),
        _holds(found.row_noise, at.row_sigma_dn),
    )


def _holds(found: Measurement | None, truth: float) -> bool | None:
    return None if found is None else found.covers(truth)


def _row(name: str, outcomes: list[Outcome | None]) -> tuple[str, ...]:
    given = [each for each in outcomes if each is not None]
    errors = np.abs([each.error for each in given])

    def held(values: list[bool | None]) -> str:
        said = [value for value in values if value is not None]
        return f"{100 * np.mean(said):.0f} %" if said else "–"

    return (
        name, str(len(outcomes)), str(len(given)), f"{100 * np.median(errors):.1f} %", f"{100 * errors.max():.1f} %",
        held([each.gain for each in given]), held([each.read for each in given]), held([each.rows for each in given]),
    )  # fmt: skip


def _processed(size: tuple[int, int]) -> Iterator[tuple[str, ...]]:
    camera = load_camera("Sony A7S2")
    cases = [(iso, scene) for iso in (100.0, 800.0, 3200.0, 25600.0) for scene in SCENES]
    for name, process in PROCESSED.items():
        found = []
        for iso, scene in cases:
            image = picture_of(camera, iso, scene, size, 0)
            spoilt = unpack(process(pack(image.mosaic, "RGGB")), "RGGB")
            spoilt_image = RawImage(spoilt, image.cfa, image.black, image.white, iso=iso, source=image.source)
            found.append(measure(spoilt_image, camera, iso))
        wrong = sum(each is not None and abs(each.error) > 0.1 for each in found)
        yield name, f"{sum(each is None for each in found)} of {len(found)}", str(wrong)


@click.command()
@click.option("--page", type=click.Path(path_type=Path, exists=True), help="Page to put the tables in.")
@click.option("--size", type=int, nargs=2, default=(512, 768), show_default=True)
def main(page: Path | None, size: tuple[int, int]) -> None:
    """Measure simulated pictures one by one, as they are and processed.

    \b
    python -m tools.studies.one_picture --page docs/guide/cameras.md
    """  # noqa: D301
    tables: Mapping[tuple[str, ...], list[tuple[str, ...]]] = {COLUMNS: [], PROCESSED_COLUMNS: []}
    for name in CAMERAS:
        camera = load_camera(name)
        outcomes = [
            measure(picture_of(camera, iso, scene, size, 0), camera, iso) for iso in camera.isos for scene in SCENES
        ]
        tables[COLUMNS].append(_row(name, outcomes))
        click.echo("  ".join(tables[COLUMNS][-1]))
    for row in _processed(size):
        tables[PROCESSED_COLUMNS].append(row)
        click.echo("  ".join(row))
    if page is not None:
        for columns, rows in tables.items():
            put_table(page, columns, rows)


if __name__ == "__main__":
    main()
