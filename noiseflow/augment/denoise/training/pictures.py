"""Clean raw planes for training: pictures shipped with scikit-image, and synthetic dead-leaves pictures."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from noiseflow.augment.pictures.unprocess import DRAWS, draw_development, unprocess
from noiseflow.core.errors import DataError

__all__ = ["HELD_OUT", "TRAINED_ON", "PlaneSource", "clean_crops", "crops_of", "leaves", "picture_pool", "pictures_in"]

Array = NDArray[np.float32]

PlaneSource = Callable[[np.random.Generator, int, int], Tensor]
"""Function of (rng, count, side in pixels of a plane) that returns clean raw planes (count, 4, side, side), 0 to 1."""

SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp"))
"""Suffixes of pictures in a folder."""

TRAINED_ON = (
    "astronaut",
    "brick",
    "camera",
    "cell",
    "chelsea",
    "coins",
    "grass",
    "gravel",
    "hubble_deep_field",
    "ihc",
    "page",
    "retina",
    "text",
)
"""Training pictures, contained in the scikit-image wheel; nothing is downloaded."""

HELD_OUT = ("coffee", "rocket", "motorcycle_left")
"""Held-out pictures, which no training uses; the held-out error and the studies use them."""

LEAVES, LEAF_SIDE, LEAF_SHAPES = 64, 448, 1400
"""Number of dead-leaves pictures, their side in pixels, and the number of shapes in each."""

PART_OF_LEAVES = 0.45
"""Fraction of the crops taken from dead-leaves pictures."""

SHRUNK = (1.2, 3.0)
"""Range of factors by which crops are downscaled, which averages out noise and compression blocks of the picture."""

DARKEST_STOPS = 6.0
"""Largest number of stops by which crops are darkened, to simulate low light."""

OVEREXPOSED, BRIGHTEST_STOPS = 0.15, 1.5
"""Fraction of the crops that are brightened instead, and the largest number of stops; clipped pixels stay at 1."""

BLURRED, BLUR = 0.2, (1.5, 6.0)
"""Fraction of the crops that are out of focus, and the range of the blur in pixels."""


def skimage_picture(name: str) -> Array:
    """A picture of scikit-image as sRGB, (3, H, W), 0 to 1."""
    from skimage import data, io

    (path,) = Path(data.__file__).parent.glob(f"{name}.*")
    picture = np.asarray(io.imread(path), np.float32) / 255
    picture = picture[..., None] if picture.ndim == 2 else picture[..., :3]
    return np.ascontiguousarray(np.broadcast_to(picture, (*picture.shape[:2], 3)).transpose(2, 0, 1))


@cache
def picture_pool(
    names: Sequence[str], leaves_seed: int, count: int = LEAVES
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Load pictures by name, and generate `leaves` in their colours; sRGB, (3, H, W), 0 to 1."""
    pictures = [skimage_picture(name) for name in names]
    rng = np.random.default_rng(leaves_seed)
    fallen = [leaves(rng, pictures) for _ in range(count)]
    return tuple(map(torch.from_numpy, pictures)), tuple(map(torch.from_numpy, fallen))


def leaves(
    rng: np.random.Generator, pictures: Sequence[Array], side: int = LEAF_SIDE, shapes: int = LEAF_SHAPES
) -> Array:
    """Generate a dead-leaves picture: occluding shapes of all sizes, like the objects in natural pictures.

    The shapes are ellipses and rotated rectangles in colours of the pictures, with radii r of density r⁻³.  A third of
    them has a grating, a gradient or a piece of a picture as texture.

    Parameters
    ----------
    rng : numpy Generator
        Source of the random numbers.
    pictures : sequence of ndarray, shape (3, H, W)
        Source of colours and textures, sRGB, 0 to 1.
    side, shapes : int
        Side in pixels, and number of shapes.

    Returns
    -------
    ndarray of float32, shape (3, side, side)
        sRGB, 0 to 1.

    References
    ----------
    Lee, Mumford, Huang: Occlusion models for natural images, IJCV 2001; Achddou, Gousseau, Ladjal: Synthetic images
    as a regularity prior for image restoration neural networks, SSVM 2021.
    """
    canvas = np.empty((3, side, side), np.float32)
    canvas[:] = _colour(rng, pictures)[:, None, None]
    least, most = 8.0, side / 3
    for _ in range(shapes):
        # Inverse of the distribution function of the density r⁻³ between the two limits.
        radius = (least**-2 + rng.random() * (most**-2 - least**-2)) ** -0.5
        middle = rng.uniform(0, side, 2)
        angle, aspect = rng.uniform(0, np.pi), np.exp(rng.uniform(-1.2, 0))
        reach = int(radius * 1.5) + 2
        top, left = (max(0, int(at) - reach) for at in middle)
        bottom, right = (min(side, int(at) + reach + 1) for at in middle)
        y, x = np.mgrid[top:bottom, left:right].astype(np.float32)
        y, x = y - np.float32(middle[0]), x - np.float32(middle[1])
        along, across = x * np.cos(angle) + y * np.sin(angle), (y * np.cos(angle) - x * np.sin(angle)) / aspect
        if rng.random() < 0.5:
            inside = along**2 + across**2 < radius**2
        else:
            inside = np.maximum(np.abs(along), np.abs(across)) < radius
        piece = canvas[:, top:bottom, left:right]
        piece[:, inside] = _filled(rng, pictures, along, radius)[:, inside]
    return np.clip(canvas, 0, 1)


def _colour(rng: np.random.Generator, pictures: Sequence[Array]) -> Array:
    picture = pictures[int(rng.integers(len(pictures)))]
    return picture[:, rng.integers(picture.shape[1]), rng.integers(picture.shape[2])]


def _filled(rng: np.random.Generator, pictures: Sequence[Array], along: Array, radius: float) -> Array:
    """Colour or texture of a shape, (3, h, w)."""
    colour, kind = _colour(rng, pictures)[:, None, None], rng.random()
    if kind < 0.66 or radius < 6:
        return np.asarray(np.broadcast_to(colour, (3, *along.shape)))
    other = _colour(rng, pictures)[:, None, None]
    if kind < 0.78:
        wave = 0.5 + 0.5 * np.sin(2 * np.pi * along / np.float32(np.exp(rng.uniform(np.log(3), np.log(30)))))
    elif kind < 0.88:
        wave = np.clip(0.5 + 0.5 * along / np.float32(radius), 0, 1)
    else:
        picture = pictures[int(rng.integers(len(pictures)))]
        height, width = along.shape
        rows, columns = (
            np.arange(size) % whole for size, whole in zip((height, width), picture.shape[1:], strict=True)
        )
        grain = picture[:, rows][:, :, columns]
        held: Array = np.clip(colour + rng.uniform(0.3, 1) * (grain - grain.mean((1, 2), keepdims=True)), 0, 1)
        return held
    return np.asarray(colour + (other - colour) * wave, np.float32)


def clean_crops(names: Sequence[str] = TRAINED_ON, seed: int = 0, leaf_count: int = LEAVES) -> PlaneSource:
    """Source of clean raw planes from pictures by name, and from dead-leaves pictures in their colours.

    Each crop is downscaled, flipped, and its colours may be permuted.  Then it is unprocessed to raw planes and
    darkened or brightened.

    Parameters
    ----------
    names : sequence of str
        Pictures of scikit-image.
    seed : int
        Seed of the dead-leaves pictures.
    leaf_count : int
        Number of dead-leaves pictures.
    """
    return crops_of(*picture_pool(tuple(names), seed, leaf_count))


def pictures_in(folder: str | Path, side: int) -> tuple[list[Tensor], list[Tensor]]:
    """Load the pictures of a folder, sRGB, (3, H, W), 0 to 1: training pictures, and every fifth as held-out ones.

    If there are fewer than five, all are used for both.

    Parameters
    ----------
    folder : path
        Folder, searched with its subfolders.
    side : int
        Side of a crop, in pixels of a plane.

    Raises
    ------
    DataError
        The folder contains no picture, or one that is smaller than a crop.
    """
    from PIL import Image

    paths = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise DataError(f"{folder}: contains no picture; expected files ending in {', '.join(sorted(SUFFIXES))}")
    found = []
    for path in paths:
        try:
            with Image.open(path) as picture:
                values = np.asarray(picture.convert("RGB"), np.float32) / 255
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise DataError(f"{path}: cannot be read as a picture ({error})") from error
        if min(values.shape[:2]) < 2 * side:
            raise DataError(
                f"{path}: has {values.shape[1]}×{values.shape[0]} pixels; expected at least {2 * side}×{2 * side}"
            )
        found.append(torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1))))
    return (found, found) if len(found) < 5 else ([each for n, each in enumerate(found) if n % 5], found[::5])


def crops_of(pictures: Sequence[Tensor], fallen: Sequence[Tensor] = ()) -> PlaneSource:
    """Source of clean raw planes from given pictures, and dead-leaves pictures `fallen`; see `clean_crops`."""

    def draw(rng: np.random.Generator, count: int, side: int) -> Tensor:
        crops = torch.stack([_crop(rng, pictures, fallen, 2 * side) for _ in range(count)])
        u = torch.from_numpy(rng.uniform(1e-6, 1 - 1e-6, (count, DRAWS)).astype(np.float32))
        planes = unprocess(crops, draw_development(u))
        stops = np.where(
            rng.random(count) < OVEREXPOSED,
            BRIGHTEST_STOPS * rng.random(count),
            -DARKEST_STOPS * rng.random(count) ** 1.5,
        )
        return (planes * torch.from_numpy(2.0**stops).to(planes)[:, None, None, None]).clamp(max=1)

    return draw


def _crop(rng: np.random.Generator, pictures: Sequence[Tensor], fallen: Sequence[Tensor], side: int) -> Tensor:
    """One sRGB crop, (3, side, side)."""
    pool = fallen if fallen and rng.random() < PART_OF_LEAVES else pictures
    picture = pool[int(rng.integers(len(pool)))]
    shrunk = np.exp(rng.uniform(*np.log(SHRUNK)))
    large = int(min(side * shrunk, *picture.shape[1:]))
    top, left = (int(rng.integers(size - large + 1)) for size in picture.shape[1:])
    crop = picture[:, top : top + large, left : left + large][None]
    if rng.random() < BLURRED:
        small = max(8, int(side / np.exp(rng.uniform(*np.log(BLUR)))))
        crop = F.interpolate(crop, (small, small), mode="bilinear", antialias=True, align_corners=False)
        crop = F.interpolate(crop, (side, side), mode="bicubic", align_corners=False)[0]
    else:
        crop = F.interpolate(crop, (side, side), mode="bilinear", antialias=True, align_corners=False)[0]
    if rng.random() < 0.5:
        crop = crop.flip(2)
    if rng.random() < 0.5:
        crop = crop.transpose(1, 2)
    if rng.random() < 0.3:
        crop = crop[torch.from_numpy(rng.permutation(3))]
    if rng.random() < 0.2:
        # A random colour cast, which grey pictures lack.
        crop = crop * torch.from_numpy(rng.uniform(0.5, 1, (3, 1, 1)).astype(np.float32))
    return crop.clamp(0, 1)
