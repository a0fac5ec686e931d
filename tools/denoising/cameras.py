"""A camera to denoise for: clean pictures, true noise, and the frames that noise models are fitted to.

A camera's folder holds ``raws/`` (what is not real data), ``patches.h5`` (for `noiseflow.fit`)
and ``profile.json`` (from `noiseflow.calibrate`, for ELD).  What stands there is not made again.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noiseflow.calibrate import calibrate
from noiseflow.patches import ingest
from noiseflow.raw import RawImage, pack, unpack
from noiseflow.raw.formats.dng import write_dng
from noiseflow.simulate import expose, load_camera, simulate
from noiseflow.simulate.manifest import MANIFEST
from noiseflow.simulate.scenes import PICTURES, render
from noiseflow.simulate.write import MAKE

__all__ = ["HELD_OUT", "Planes", "Sensor", "Simulated"]

HELD_OUT = ("chelsea", "motorcycle")
"""Pictures that no denoiser is trained on."""

Planes = NDArray[np.float32]


class Sensor(ABC):
    """A camera whose true noise can be drawn.

    Signals are packed planes, normalised: (DN − black) / (white − black).

    Parameters
    ----------
    folder : Path
        Of the camera.
    light : float
        White of the pictures as a part of the camera's full scale.
    size : tuple of int
        (h, w) of the planes of a picture.
    crops : tuple of int
        Training pictures of each subject, and held-out ones.
    """

    camera: str
    layout: str
    isos: tuple[float, ...]
    black: float
    white: float

    def __init__(self, folder: Path, light: float, size: tuple[int, int], crops: tuple[int, int]) -> None:
        self.folder, self.light, self.size, self.crops = folder, light, size, crops

    @property
    def store(self) -> Path:
        """The patch store that noise models are fitted to."""
        return self.folder / "patches.h5"

    @property
    def profile(self) -> Path:
        """The camera's calibration."""
        return self.folder / "profile.json"

    def prepare(self) -> None:
        """Make store and profile, where they are not there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.store.exists():
            ingest(self.frames(), self.store)
        if not self.profile.exists():
            calibrate(self.flats_and_darks(), self.profile)

    def train(self) -> Planes:
        """Clean pictures to train on, (N, 4, h, w)."""
        return self._pictures([name for name in PICTURES if name not in HELD_OUT], self.crops[0], seed=1)

    def test(self) -> Planes:
        """Clean pictures of the held-out subjects, (N, 4, h, w)."""
        return self._pictures(HELD_OUT, self.crops[1], seed=2)

    def _pictures(self, names: Sequence[str], crops: int, seed: int) -> Planes:
        keys = [(place, crop) for crop in range(crops) for place in range(len(names))]
        pictures = [self.picture(names[place], np.random.default_rng((seed, place, crop))) for place, crop in keys]
        return self.light * np.stack(pictures).astype(np.float32)

    @abstractmethod
    def picture(self, name: str, rng: np.random.Generator) -> NDArray[np.float64]:
        """One picture, (4, h, w), 0 to 1."""

    @abstractmethod
    def frames(self) -> list[Path]:
        """Sources of an ingest."""

    @abstractmethod
    def flats_and_darks(self) -> list[Path]:
        """Sources of a calibration."""

    @abstractmethod
    def expose(self, clean: Planes, iso: float, rng: np.random.Generator, *, held_out: bool = False) -> Planes:
        """One noisy picture by the true noise, (4, h, w), in whole codes; unseen in training if `held_out`."""

    def quantised(self, signal: Planes) -> Planes:
        """Rounded to whole codes and clipped to [0, white], as the camera's converter does."""
        span = self.white - self.black
        codes = np.clip(np.rint(signal * span + self.black), 0, self.white)
        return ((codes - self.black) / span).astype(np.float32)


class Simulated(Sensor):
    """A camera of `noiseflow.simulate`; its noise models are fitted to frames at the same light.

    Parameters
    ----------
    name : str
        In `noiseflow.simulate.camera_names`.
    isos : sequence of float
        ISOs of the camera that are simulated.
    scenes, frames : int
        Of the store.
    """

    layout = "bayer"

    def __init__(
        self,
        folder: Path,
        light: float,
        size: tuple[int, int],
        crops: tuple[int, int],
        name: str,
        isos: Sequence[float],
        scenes: int,
        frames: int,
    ) -> None:
        super().__init__(folder, light, size, crops)
        self.physics = load_camera(name)
        self.camera, self.isos = f"{MAKE} {name}", tuple(sorted(isos))
        self.black, self.white = float(self.physics.black_dn), float(self.physics.white_dn)
        self.scenes, self.noisy = scenes, frames

    def picture(self, name: str, rng: np.random.Generator) -> NDArray[np.float64]:
        """A colour picture through the filter array."""
        height, width = self.size
        return pack(render(f"000_{name}", (2 * height, 2 * width), rng), "RGGB")

    def frames(self) -> list[Path]:
        """Noisy frames with clean twins."""
        raws = self.folder / "raws"
        if not (raws / MANIFEST).exists():
            size = (2 * self.size[0], 2 * self.size[1])
            options = {"scenes": self.scenes, "frames": self.noisy, "size": size, "light": self.light}
            simulate(raws, self.physics.name, self.isos, seed=0, overwrite=True, **options)
        return [raws]

    def flats_and_darks(self, darks: int = 20, levels: int = 8) -> list[Path]:
        """Darks, and two flats at each of some exposures up to 80 % of full scale, as an owner would shoot them."""
        span, rng = self.white - self.black, np.random.default_rng(3)
        for iso in self.isos:
            for kind, count in (("darks", darks), ("flats", 2 * levels)):
                folder = self.folder / "calibration" / kind / f"ISO{iso:g}"
                folder.mkdir(parents=True, exist_ok=True)
                for number in range(count):
                    level = 0.0 if kind == "darks" else 0.8 * span * (number // 2 + 1) / levels
                    mosaic = expose(np.full((256, 256), level), self.physics, iso, rng)
                    write_dng(folder / f"{number:03d}.dng", self._image(mosaic, iso, level), overwrite=True)
        return [self.folder / "calibration" / kind for kind in ("darks", "flats")]

    def _image(self, mosaic: NDArray[np.uint16], iso: float, level: float) -> RawImage:
        return RawImage(
            mosaic=mosaic,
            cfa=self.physics.cfa,
            black=(self.black,) * 4,
            white=self.white,
            iso=iso,
            exposure_s=1e-4 + level * 1e-6,
            make=MAKE,
            model=self.physics.name,
        )

    def expose(self, clean: Planes, iso: float, rng: np.random.Generator, *, held_out: bool = False) -> Planes:
        """Fresh draws of the simulator, which are all held out."""
        span = self.white - self.black
        signal_dn = np.maximum(unpack(clean, self.physics.cfa).astype(np.float64), 0) * span
        codes = pack(expose(signal_dn, self.physics, iso, rng), self.physics.cfa)
        return ((codes - self.black) / span).astype(np.float32)
