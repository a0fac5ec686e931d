"""Frames of a simulated camera, from dark to bright, as a store, and fresh ones beside a model's samples."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from noiseflow.flows.conditions import Conditions
from noiseflow.models import NoiseModel
from noiseflow.models.adc_levels import Levels
from noiseflow.patches import PatchStore
from noiseflow.patches.assembly.writer import StoreWriter
from noiseflow.patches.schema import fields
from noiseflow.raw.bayer import pack, unpack
from tools.studies.zoo.cameras import BLACK, BRIGHTEST, WHITE, Array, Camera

__all__ = ["LIGHTS", "QUAD", "Frames", "Pair", "alone", "packed", "pairs", "store_of"]

LIGHTS = 8
"""Signals of a scene, from dark to bright."""

TRAIN, ALL = 3, 5
"""Frames of each light that are trained on, and all of them."""

QUAD = "RRGGRRGGGGBBGGBB"
CELLS = {"RGGB": 2, "MONO": 1, QUAD: 4}
LAYOUTS = {"RGGB": "bayer", "MONO": "mono", QUAD: "quad"}

Draw = Callable[[np.random.Generator, Array, float], Array]


@dataclass(frozen=True)
class Frames:
    """How cameras are shot.

    Parameters
    ----------
    cameras : mapping of str to callable
        From a generator, a signal in DN and an ISO to signal and noise, DN above black, not yet rounded.
    isos : tuple of float
        ISOs, each with its own frames.
    cfa : str
        A key of `CELLS`.
    black, white : float
        Levels, DN.
    lights : tuple of float
        Of each signal of a scene, as parts of full scale.
    each : tuple of int
        Frames of each light for the splits train, val and test.
    size : tuple of int
        (H, W) of a frame.
    one_scene : bool
        Whether all frames carry the name of one scene.
    """

    cameras: Mapping[str, Draw]
    isos: tuple[float, ...] = (100.0,)
    cfa: str = "RGGB"
    black: float = BLACK
    white: float = WHITE
    lights: tuple[float, ...] = tuple(BRIGHTEST * (place / (LIGHTS - 1)) ** 2 for place in range(LIGHTS))
    each: tuple[int, int, int] = (3, 1, 1)
    size: tuple[int, int] = (256, 384)
    one_scene: bool = False

    @property
    def side(self) -> int:
        """Pixels of a plane that a patch has, the same on the sensor for every array: 64, and 32 of `RGGB`."""
        return 64 // CELLS[self.cfa]

    def signal(self, number: int, light: int) -> Array:
        """A smooth scene at a light, DN above black."""
        down, across = np.mgrid[0 : self.size[0], 0 : self.size[1]] / self.size[0]
        frame = number * len(self.lights) + light
        level = self.lights[light] * (self.white - self.black)
        found: Array = level * (0.75 + 0.2 * np.sin(3 * down + frame) * np.cos(2 * across + frame))
        return found

    def shot(self, rng: np.random.Generator, camera: str, iso: float, signal: Array) -> Array:
        """A frame in codes, DN above black."""
        found: Array = np.clip(np.rint(self.cameras[camera](rng, signal, iso) + self.black), 0, self.white) - self.black
        return found


def packed(mosaic: Array, cfa: str) -> Array:
    """Planes of a mosaic; of a monochrome sensor the one that it is."""
    found: Array = mosaic[None] if cfa == "MONO" else pack(mosaic, cfa)
    return found


def unpacked(planes: Array, cfa: str) -> Array:
    """The inverse of `packed`."""
    found: Array = planes[0] if cfa == "MONO" else unpack(planes, cfa)
    return found


def alone(camera: Camera) -> Frames:
    """Frames of one camera at one ISO."""
    return Frames({"zoo": lambda rng, signal, iso: camera(rng, signal)})


def store_of(path: Path, frames: Frames, seed: int) -> PatchStore:
    """Frames of smooth scenes, in one store."""
    rng = np.random.default_rng(seed)
    planes, side = CELLS[frames.cfa] ** 2, frames.side
    down, across = (length // CELLS[frames.cfa] // side for length in frames.size)
    count = 0
    with StoreWriter(path, layout=LAYOUTS[frames.cfa], patch_size=side, pairing="gt", provenance={}) as writer:
        for split, number in [(split, n) for split, several in enumerate(frames.each) for n in range(several)]:
            for camera, iso, light in _all(frames):
                signal = frames.signal(number + sum(frames.each[:split]), light)
                codes = frames.shot(rng, camera, iso, signal) + frames.black
                cut = [
                    _patches(packed(each, frames.cfa), down, across, side) for each in (codes, signal + frames.black)
                ]
                table = np.zeros(len(cut[0]), fields(planes))
                table["camera"], table["iso"] = writer.label("cameras", camera), iso
                table["scene"] = writer.label("scenes", "scene" if frames.one_scene else f"scene {count}")
                table["source"], table["split"] = writer.label("sources", f"frame {count}"), split
                table["frame"], table["black"], table["white"] = count, frames.black, frames.white
                table["y"], table["x"] = (
                    np.repeat(np.arange(down) * side, across),
                    np.tile(np.arange(across) * side, down),
                )
                writer.append(*cut, table)
                count += 1
    return PatchStore(path)


def _all(frames: Frames) -> Iterator[tuple[str, float, int]]:
    return (
        (camera, iso, light) for camera in frames.cameras for iso in frames.isos for light in range(len(frames.lights))
    )


def _patches(planes: NDArray[np.floating], down: int, across: int, side: int) -> NDArray[np.floating]:
    cut = planes.reshape(-1, down, side, across, side).transpose(1, 3, 0, 2, 4)
    return np.ascontiguousarray(cut.reshape(-1, planes.shape[0], side, side))


class Pair(NamedTuple):
    """Noise of a camera and of a model at one signal, mosaics in DN, and again of the camera."""

    camera: str
    iso: float
    light: float
    real: Array
    again: Array
    made: Array


def pairs(frames: Frames, model: NoiseModel, seed: int, *, signals: int, draws: int) -> Iterator[Pair]:
    """Frames that the model did not see: of each light `signals` scenes, with `draws` frames of each."""
    draw, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed + 1)
    planes = CELLS[frames.cfa] ** 2
    levels = Levels(torch.full((1, planes), frames.black).double(), torch.tensor([frames.white]).double())
    for camera, iso, light in _all(frames):
        for number in range(sum(frames.each), sum(frames.each) + signals):
            signal = frames.signal(number, light)
            clean = (
                torch.from_numpy(packed(signal / (frames.white - frames.black), frames.cfa)).float()[None].contiguous()
            )
            for _ in range(draws):
                drawn = model.sample(Conditions(clean, torch.tensor([iso]), camera), draw)
                made = levels.rounded(drawn, clean)[0].double().numpy() * (frames.white - frames.black)
                real, again = (frames.shot(rng, camera, iso, signal) - signal for _ in range(2))
                yield Pair(camera, iso, float(frames.lights[light]), real, again, unpacked(made, frames.cfa))
