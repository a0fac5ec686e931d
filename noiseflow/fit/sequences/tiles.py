"""Tiles of a sequence of frames: what a fit of noise in time reads, however large the frames are."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.core.errors import DataError

__all__ = [
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
"""What is known of the scene: that it is even (flats, darks), its clean signal, or only that it stands still."""

LEAST_FRAMES = 2
"""Frames of a sequence at least; one frame says nothing of time."""

SIDE = 32
"""Side of a tile, pixels of a plane."""

MOST_TILES = 64
"""Tiles of a frame at most, evenly spread."""

BEND = 2
"""Degree of the surface, in row and column, that an even scene is taken for."""


@dataclass(frozen=True, eq=False)
class SequenceTiles:
    """Tiles of one sequence.

    Parameters
    ----------
    noise : Tensor, shape (B, T, C, h, w)
        Noisy − clean, normalised, of each tile in the order of time.
    clean : Tensor, shape (B, 1, C, h, w) or (B, T, C, h, w)
        Clean signal, normalised; one of a scene that stands still.
    iso : float
        ISO of all frames.
    camera : str
        Name of the camera.
    source : str
        What to call the sequence.
    scene : str
        One of `SCENES`; the pattern of a sensor can be told from the scene unless it is ``"static"``.
    """

    noise: Tensor
    clean: Tensor
    iso: float
    camera: str
    source: str
    scene: Scene

    @property
    def frames(self) -> int:
        """T."""
        return self.noise.shape[1]

    def of(self, tiles: Any) -> "SequenceTiles":
        """Some of the tiles."""
        return replace(self, noise=self.noise[tiles], clean=self.clean[tiles])

    def halves(self) -> tuple["SequenceTiles", "SequenceTiles"]:
        """Every other tile, to fit to, and the others, to judge by.

        Raises
        ------
        DataError
            A single tile.
        """
        if len(self.noise) < 2:
            raise DataError(f"{self.source}: one tile of {SIDE}×{SIDE} pixels only; give larger frames")
        return self.of(slice(0, None, 2)), self.of(slice(1, None, 2))


def cut_tiles(frame: NDArray[Any], side: int = SIDE, most: int = MOST_TILES) -> NDArray[np.float32]:
    """Tiles of a frame's planes (C, H, W), evenly spread, (B, C, side, side); the same places of every frame.

    Tiles are fewer than `most` where the frame is small, and smaller than `side` where it is smaller than that.
    """
    height, width = (min(side, length) for length in frame.shape[1:])
    down, across = frame.shape[1] // height, frame.shape[2] // width
    rows, columns = _spread(down, across, most)
    places = [(row * height, column * width) for row in rows for column in columns]
    return np.stack([frame[:, y : y + height, x : x + width] for y, x in places]).astype(np.float32)


def _spread(down: int, across: int, most: int) -> tuple[list[int], list[int]]:
    """Rows and columns of a grid that are taken, so that there are no more than `most` places."""
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
    """Tiles of a sequence of frames of a scene that stands still.

    Parameters
    ----------
    frames : iterable of ndarray, shape (C, H, W)
        Frames in the order of time, normalised; one at a time is held.
    iso, camera, source
        Those of `SequenceTiles`.
    scene : str
        ``"flat"``: the clean signal is a surface of degree 2 through the mean frame; ``"static"``: it is the mean
        frame itself, and noise is scaled up by √(T/(T − 1)); ``"known"``: it is `clean`.
    clean : ndarray, shape (C, H, W), optional
        Clean signal of a known scene, normalised.
    side, most : int
        Side of a tile in pixels of a plane, and number of tiles.

    Raises
    ------
    DataError
        A single frame, or frames of two sizes.
    """
    found: list[NDArray[np.float32]] = []
    shape: tuple[int, ...] | None = None
    for frame in frames:
        if shape is not None and frame.shape != shape:
            raise DataError(f"{source}: frame {len(found)} is {frame.shape[1:]} pixels where the first is {shape[1:]}")
        shape = frame.shape
        found.append(cut_tiles(frame, side, most))
    if len(found) < LEAST_FRAMES or shape is None:
        raise DataError(f"{source}: {len(found)} frame; noise in time needs {LEAST_FRAMES} frames or more of one scene")
    if clean is not None and clean.shape != shape:
        raise DataError(f"{source}: the clean signal is {clean.shape[1:]} pixels, and the frames are {shape[1:]}")
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
    """Noise of noisy tiles (B, T, C, h, w) by what is known of their scene; `places` (B, 2) are the tiles' corners."""
    if clean is None:
        mean = noisy.double().mean(1)
        clean = (_surface(mean, places) if scene == "flat" else mean).float()
    noise = without_scene(noisy) if scene == "static" else noisy - clean[:, None]
    return SequenceTiles(noise, clean[:, None], iso, camera, source, scene)


def without_scene(noisy: Tensor) -> Tensor:
    """Frames (B, T, C, h, w) less their mean, times √(T/(T − 1)), so that independent noise keeps its variance."""
    frames = noisy.shape[1]
    centred = noisy - noisy.double().mean(1, keepdim=True).to(noisy.dtype)
    scaled: Tensor = centred * (frames / (frames - 1)) ** 0.5
    return scaled


def _places(shape: Sequence[int], side: int, most: int) -> Tensor:
    """Corner of each tile of `cut_tiles`, (B, 2)."""
    height, width = (min(side, length) for length in shape[1:])
    rows, columns = _spread(shape[1] // height, shape[2] // width, most)
    return torch.tensor([(row * height, column * width) for row in rows for column in columns])


def _surface(mean: Tensor, places: Tensor) -> Tensor:
    """Least-squares surface of degree `BEND` through tiles (B, C, h, w) of each plane."""
    height, width = mean.shape[2:]
    y = (places[:, 0, None, None] + torch.arange(height)[:, None]).double().expand(-1, height, width)
    x = (places[:, 1, None, None] + torch.arange(width)).double().expand(-1, height, width)
    y, x = ((axis - axis.mean()) / axis.std().clamp(min=1.0) for axis in (y, x))
    terms = [y**i * x**j for i in range(BEND + 1) for j in range(BEND + 1 - i)]
    design = torch.stack([term.flatten() for term in terms], 1)
    values = mean.transpose(0, 1).flatten(1).T
    weights = torch.linalg.lstsq(design, values).solution
    surface: Tensor = (design @ weights).T.reshape(mean.shape[1], len(mean), height, width).transpose(0, 1)
    return surface
