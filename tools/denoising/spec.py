"""What a table of denoisers is of: a TOML file."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from noiseflow.core.errors import DataError
from tools.denoising.cameras import Sensor, Simulated
from tools.denoising.ccd import Ccd
from tools.denoising.sources import TRUE
from tools.denoising.training import Settings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["CameraSpec", "Spec", "read_spec"]


@dataclass(frozen=True)
class CameraSpec:
    """A camera of the table.

    Parameters
    ----------
    name : str
        Of its section.
    light : float
        White of the pictures as a part of full scale.
    size, crops : tuple of int
        See `Sensor`.
    networks : tuple of str
        Denoisers trained for it.
    more_seeds : mapping of str to int
        Noises that get more seeds than the others: what is to be decided, and `TRUE`, which it is compared with.
    simulate : str
        Name of a camera of `noiseflow.simulate`, with its `isos`, and `scenes` and `frames` of the store.
    emva : str
        Or the folder of an EMVA 1288 set, below that of the real data.
    """

    name: str
    light: float
    size: tuple[int, int]
    crops: tuple[int, int]
    networks: tuple[str, ...]
    more_seeds: Mapping[str, int] = field(default_factory=dict)
    simulate: str = ""
    isos: tuple[float, ...] = ()
    scenes: int = 27
    frames: int = 4
    emva: str = ""

    def open(self, folder: Path, data: Path) -> Sensor:
        """The camera, in a folder of its own."""
        if self.emva:
            return Ccd(folder, self.light, self.size, self.crops, data / self.emva)
        return Simulated(folder, self.light, self.size, self.crops, self.simulate, self.isos, self.scenes, self.frames)


@dataclass(frozen=True)
class Spec:
    """Cameras, noises to train with, and how it is trained.

    Parameters
    ----------
    seeds : int
        Trainings on each noise.
    fit : mapping
        Fields of `FitSettings` by noise model.
    """

    cameras: tuple[CameraSpec, ...]
    noises: tuple[str, ...]
    seeds: int = 3
    fit: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    training: Settings = field(default_factory=Settings)

    def seeds_of(self, camera: CameraSpec, noise: str) -> range:
        """Seeds of the trainings on a noise of a camera."""
        return range(max(self.seeds, camera.more_seeds.get(noise, 0)))


def read_spec(path: Path) -> Spec:
    """Read a spec.

    Raises
    ------
    DataError
        Not a TOML file, or with keys or values that are not known.
    """
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        cameras = tuple(CameraSpec(**_tuples(entry)) for entry in content.pop("camera"))
        training = Settings(**content.pop("training", {}))
        spec = Spec(cameras=cameras, training=training, **_tuples(content))
    except (tomllib.TOMLDecodeError, TypeError, KeyError) as error:
        raise DataError(
            f"{path}: cannot understand it ({error}); expected a file like tools/denoising/denoise.toml"
        ) from error
    unknown = {noise for camera in spec.cameras for noise in camera.more_seeds} - set(spec.noises)
    if unknown:
        raise DataError(f"{path}: more_seeds names {', '.join(sorted(unknown))}, which noises lacks")
    if TRUE not in spec.noises:
        raise DataError(f"{path}: noises lacks {TRUE!r}, which the others are compared with")
    return spec


def _tuples(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
