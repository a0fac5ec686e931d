"""A real camera: the monochrome CCD of EMVA 1288 set 001."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noiseflow.calibrate import read_profile
from noiseflow.patches.sources import Frame, collect
from noiseflow.raw import MONO, pack
from noiseflow.raw.formats.emva import NOMINAL_ISO
from noiseflow.simulate.scenes import render
from tools.denoising.cameras import Planes, Sensor

__all__ = ["Ccd"]

HELD_OUT_DARKS = 10
"""Of the 50 frames of the dark stack, the last."""


class Ccd(Sensor):
    """Real dark frames under pictures, with photons counted at the measured gain.

    Noise without light is cropped from the dark stack, less the mean of the other frames
    and scaled by 1/√(1 + 1/(n − 1)), so that its variance is one frame's own.  Shot noise of a
    picture that the camera never saw has to be made: it is Poisson at the calibrated K.

    Parameters
    ----------
    data : Path
        The folder of the set.
    """

    layout = "mono2x2"
    isos = (NOMINAL_ISO,)

    def __init__(self, folder: Path, light: float, size: tuple[int, int], crops: tuple[int, int], data: Path) -> None:
        super().__init__(folder, light, size, crops)
        self.data = data
        first = self._dark_stack[0].read()
        self.camera, self.black, self.white = first.camera, float(first.black[0]), first.white

    @cached_property
    def _dark_stack(self) -> Sequence[Frame]:
        scenes = [scene for scene in collect(self.data).scenes if scene.kind == "dark"]
        return max(scenes, key=lambda scene: len(scene.frames)).frames

    @cached_property
    def darks(self) -> Planes:
        """Noise of the dark frames, packed and normalised, (N, 4, h, w)."""
        codes = np.stack([frame.read().planes() for frame in self._dark_stack]).astype(np.float32)
        count = len(codes)
        others = (codes.sum(0, dtype=np.float64) - codes) / (count - 1)
        return ((codes - others) / np.sqrt(1 + 1 / (count - 1)) / (self.white - self.black)).astype(np.float32)

    @cached_property
    def gain(self) -> float:
        """K in DN/e⁻."""
        value = read_profile(self.profile).settings[0].value("gain_dn_per_e")
        assert value is not None
        return value

    def picture(self, name: str, rng: np.random.Generator) -> NDArray[np.float64]:
        """The green of a colour picture of twice the size, as a grey mosaic."""
        height, width = self.size
        return pack(pack(render(f"000_{name}", (4 * height, 4 * width), rng), "RGGB")[1], MONO)

    def frames(self) -> list[Path]:
        """All frames of the listing."""
        return [self.data]

    def flats_and_darks(self) -> list[Path]:
        """All frames of the listing."""
        return [self.data]

    def expose(self, clean: Planes, iso: float, rng: np.random.Generator, *, held_out: bool = False) -> Planes:
        """Photons, and a crop of a dark frame: one of those held out, or of the rest."""
        span = self.white - self.black
        electrons = rng.poisson(np.maximum(clean, 0).astype(np.float64) * span / self.gain)
        frames = self.darks[-HELD_OUT_DARKS:] if held_out else self.darks[:-HELD_OUT_DARKS]
        height, width = clean.shape[1:]
        top, left = (
            int(rng.integers(whole - part + 1)) for whole, part in zip(frames.shape[2:], (height, width), strict=True)
        )
        dark = frames[int(rng.integers(len(frames))), :, top : top + height, left : left + width]
        return self.quantised((electrons * self.gain / span + dark).astype(np.float32))
