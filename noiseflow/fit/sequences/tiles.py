"""`SequenceTiles`: tiles of a sequence of frames, so that a fit of noise in time does not depend on the frame size."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.core.errors import DataError

__all__ = [
    "DARK",
    "LEAST_FRAMES",
    "MOST_TILES",
    "SCENES",
    "Scene",
    "SequenceTiles",
    "cut_tiles",
    "tiles_of",
    "with_clean",
    "without_scene",
]

Scene = Literal["flat", "known", "static"]

SCENES: tuple[Scene, ...] = ("flat", "known", "static")
"""What is known about the scene: that it is flat (flats, darks), its clean signal, or only that it is static."""

LEAST_FRAMES = 2
"""Smallest number of frames of a sequence."""

SIDE = 32
"""Default side of a tile in pixels of a plane."""

MOST_TILES = 64
"""Default of the largest number of tiles per frame, which are evenly spread."""

DARK = 0.01
"""Largest normalised signal of a sequence of darks."""

BEND = 2
"""Degree of the polynomial surface, in row and column, that is fitted to a flat scene."""


@dataclass(frozen=True, eq=False)
class SequenceTiles:
    """Tiles of one sequence.

    Parameters
    ----------
    noise : Tensor, shape (B, T, C, h, w)
        Noisy − clean, normalised, for B tiles and T frames in time order.
    clean : Tensor, shape (B, 1, C, h, w) or (B, T, C, h, w)
        Clean signal, normalised; one for all frames if the scene is static.
    iso : float
        ISO of all frames.
    camera : str
        Name of the camera.
    source : str
        Name of the sequence, for messages.
    scene : str
        One of `SCENES`; if it is ``"static"``, the sensor's pattern cannot be separated from the scene.
    """

    noise: Tensor
    clean: Tensor
    iso: float
    camera: str
    source: str
    scene: Scene

    @property
    def frames(self) -> int:
        """Number of frames, T."""
        return self.noise.shape[1]

    def of(self, tiles: Any) -> "SequenceTiles":
        """Select tiles by an index or slice."""
        return replace(self, noise=self.noise[tiles], clean=self.clean[tiles])

    def halves(self) -> tuple["SequenceTiles", "SequenceTiles"]:
        """Split the tiles into every other one, to fit, and the others, to validate.

        Raises
        ------
        DataError
            If there is a single tile.
        """
        if len(self.noise) < 2:
            raise DataError(f"{self.source}: has only one tile of {SIDE}×{SIDE} pixels; give larger frames")
        return self.of(slice(0, None, 2)), self.of(slice(1, None, 2))


def cut_tiles(frame: NDArray[Any], side: int = SIDE, most: int = MOST_TILES) -> NDArray[np.float32]:
    """Cut evenly spread tiles from a frame's planes, at the same positions in every frame.

    Parameters
    ----------
    frame : ndarray, shape (C, H, W)
        Planes of a frame.
    side : int
        Side of a tile in pixels of a plane.
    most : int
        Largest number of tiles.

    Returns
    -------
    ndarray of float32, shape (B, C, side, side)
        A small frame gives fewer tiles, and one smaller than `side` a smaller tile.
    """
    height, width = (min(side, length) for length in frame.shape[1:])
    down, across = frame.shape[1] // height, frame.shape[2] // width
    rows, columns = _spread(down, across, most)
    places = [(row * height, column * width) for row in rows for column in columns]
    return np.stack([frame[:, y : y + height, x : x + width] for y, x in places]).astype(np.float32)


def _spread(down: int, across: int, most: int) -> tuple[list[int], list[int]]:
    """Choose rows and columns of a grid of tiles, so that there are at most `most` tiles."""
    scale = min(1.0, (most / (down * across)) ** 0.5)
    rows = max(1, min(down, round(down * scale)))
    columns = max(1, min(across, most // rows))
    return [int(i * down / rows) for i in range(rows)], [int(i * across / columns) for i in range(columns)]


def tiles_of(
    frames: Iterable[NDArray[Any]],
    *,
    iso: float,
    camera: str,
    source: str,
    scene: Scene,
    clean: NDArray[Any] | None = None,
    side: int = SIDE,
    most: int = MOST_TILES,
) -> SequenceTiles:
    """Cut the frames of a static scene into tiles, and subtract the clean signal.

    Parameters
    ----------
    frames : iterable of ndarray, shape (C, H, W)
        Normalised frames in time order; only one is in memory at a time.
    iso, camera, source
        As in `SequenceTiles`.
    scene : str
        ``"flat"``: the clean signal is a surface of degree 2 fitted to the mean frame, in light plus an offset of each
        tile; ``"static"``: it is the mean frame itself, and the noise is scaled by √(T/(T − 1)); ``"known"``: it is
        `clean`.
    clean : ndarray, shape (C, H, W), optional
        Clean signal of a known scene, normalised.
    side, most : int
        Side of a tile in pixels of a plane, and largest number of tiles.

    Raises
    ------
    DataError
        If there is a single frame, or the frames or the clean signal differ in size.
    """
    found: list[NDArray[np.float32]] = []
    shape: tuple[int, ...] | None = None
    for frame in frames:
        if shape is not None and frame.shape != shape:
            raise DataError(
                f"{source}: frame {len(found)} has {frame.shape[1:]} pixels, but the first has {shape[1:]}; expected "
                "one size"
            )
        shape = frame.shape
        found.append(cut_tiles(frame, side, most))
    if len(found) < LEAST_FRAMES or shape is None:
        raise DataError(
            f"{source}: has {len(found)} frame; noise in time needs at least {LEAST_FRAMES} frames of one scene"
        )
    if clean is not None and clean.shape != shape:
        raise DataError(
            f"{source}: the clean signal has {clean.shape[1:]} pixels, but the frames have {shape[1:]}; expected one "
            "size"
        )
    noisy = torch.from_numpy(np.stack(found, 1))
    return with_clean(
        noisy,
        None if clean is None else torch.from_numpy(cut_tiles(clean, side, most)),
        _places(shape, side, most),
        iso=iso,
        camera=camera,
        source=source,
        scene=scene,
    )


def with_clean(
    noisy: Tensor, clean: Tensor | None, places: Tensor, *, iso: float, camera: str, source: str, scene: Scene
) -> SequenceTiles:
    """Subtract the clean signal from noisy tiles, according to what is known about the scene.

    Parameters
    ----------
    noisy : Tensor, shape (B, T, C, h, w)
        Normalised tiles.
    clean : Tensor, shape (B, C, h, w), or None
        Clean signal, if it is known.
    places : Tensor, shape (B, 2)
        y, x of each tile's corner.
    iso, camera, source, scene
        As in `SequenceTiles`.
    """
    if clean is None:
        mean = noisy.double().mean(1)
        clean = (_surface(mean, places) if scene == "flat" else mean).float()
    noise = without_scene(noisy) if scene == "static" else noisy - clean[:, None]
    return SequenceTiles(noise, clean[:, None], iso, camera, source, scene)


def without_scene(noisy: Tensor) -> Tensor:
    """Subtract the mean frame from (B, T, C, h, w) and scale by √(T/(T − 1)), which keeps the noise variance."""
    frames = noisy.shape[1]
    centred = noisy - noisy.double().mean(1, keepdim=True).to(noisy.dtype)
    scaled: Tensor = centred * (frames / (frames - 1)) ** 0.5
    return scaled


def _places(shape: Sequence[int], side: int, most: int) -> Tensor:
    """y, x of the corner of each tile of `cut_tiles`, shape (B, 2)."""
    height, width = (min(side, length) for length in shape[1:])
    rows, columns = _spread(shape[1] // height, shape[2] // width, most)
    return torch.tensor([(row * height, column * width) for row in rows for column in columns])


def _surface(mean: Tensor, places: Tensor) -> Tensor:
    """Fit a surface of degree `BEND` to the tiles (B, C, h, w) of each plane by least squares; same shape.

    In light, each tile's mean is then made that of the frame: shading that no such surface follows would look like a
    fixed pattern.  In the dark it is one.
    """
    height, width = mean.shape[2:]
    y = (places[:, 0, None, None] + torch.arange(height)[:, None]).double().expand(-1, height, width)
    x = (places[:, 1, None, None] + torch.arange(width)).double().expand(-1, height, width)
    y, x = ((axis - axis.mean()) / axis.std().clamp(min=1.0) for axis in (y, x))
    terms = [y**i * x**j for i in range(BEND + 1) for j in range(BEND + 1 - i)]
    design = torch.stack([term.flatten() for term in terms], 1)
    values = mean.transpose(0, 1).flatten(1).T
    weights = torch.linalg.lstsq(design, values).solution
    surface: Tensor = (design @ weights).T.reshape(mean.shape[1], len(mean), height, width).transpose(0, 1)
    if float(mean.mean()) > DARK:
        surface = surface + (mean - surface).mean((2, 3), keepdim=True)
    return surface
