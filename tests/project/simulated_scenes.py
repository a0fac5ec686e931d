"""Scenes of a simulated camera, and their pairs as an ingest makes them."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from noiseflow.patches.assembly.scene_files import SceneFiles
from noiseflow.patches.ingestion.tasks import frame_pair, preparation
from noiseflow.patches.pairings import PAIRINGS, FramePair, Reference
from noiseflow.patches.sources import Frame, Scene
from noiseflow.raw.image import RawImage
from noiseflow.simulate.physics import CameraPhysics, IsoPhysics, expose

ISO, GAIN, READ, BLACK, WHITE = 800.0, 0.8, 3.0, 64.0, 4095.0


def physics(row_sigma: float = 0.0) -> CameraPhysics:
    return CameraPhysics("Sim", "GRBG", BLACK, WHITE, "gaussian", {ISO: IsoPhysics(GAIN, READ, 0.0, row_sigma)})


def shoot(signals: Sequence[np.ndarray], seed: int, row_sigma: float = 0.0) -> list[np.ndarray]:
    """One mosaic for each expected signal above black, DN."""
    rng = np.random.default_rng(seed)
    return [expose(signal, physics(row_sigma), ISO, rng) for signal in signals]


def image(mosaic: np.ndarray, exposure_s: float = 0.01, black: float = BLACK) -> RawImage:
    return RawImage(
        mosaic=mosaic,
        cfa="GRBG",
        black=(black,) * 4,
        white=WHITE,
        iso=ISO,
        exposure_s=exposure_s,
        make="Made",
        model="Sim",
        source="simulated",
    )


def scene(mosaics: Sequence[np.ndarray], kind: str = "", clean: np.ndarray | None = None) -> Scene:
    frames = tuple(Frame(Path(f"{n}.dng"), partial(image, mosaic)) for n, mosaic in enumerate(mosaics))
    twin = None if clean is None else Frame(Path("clean.dng"), partial(image, clean))
    return Scene("made", frames, clean=twin, kind=kind)


def pairs(name: str, of: Scene) -> tuple[Reference, list[FramePair]]:
    """The pairs that an ingest makes of a scene, last frame first: the order is not to matter."""
    with TemporaryDirectory() as folder:
        on_disk, files = _with_files(of, Path(folder)), SceneFiles(Path(folder), 0)
        reference = prepared(name, on_disk, Path(folder))
        made = []
        for number in reversed(PAIRINGS[name].usable(of)):
            pair, share, _ = frame_pair(files, on_disk, number, name)
            if share is not None:
                assert pair.codes is not None
                mean = files.mean_of(pair.codes.shape)
                image = of.frames[number].read()
                np.testing.assert_array_equal(pair.codes, image.planes())
                clean = share.clean(mean, pair.codes)
                pair = replace(pair, noisy=image, clean=clean, valid=np.array(pair.valid), codes=None)
            made.append(pair)
    return reference, made[::-1]


def prepared(name: str, of: Scene, folder: Path | None = None) -> Reference:
    """Facts and cautions of a scene, after the steps that an ingest takes before it cuts frames."""
    if folder is None:
        with TemporaryDirectory() as own:
            return prepared(name, _with_files(of, Path(own)), Path(own))
    for calls in preparation(folder, 0, of, name, workers=2):
        for function, arguments in calls:
            found = function(*arguments)
    return Reference({}, found["facts"], tuple(found["cautions"]))


def _with_files(of: Scene, folder: Path) -> Scene:
    """The scene, with a file behind each frame that has none: an ingest checks that files do not change."""
    frames = []
    for number, frame in enumerate(of.frames):
        path = frame.path if frame.path.exists() else folder / f"{number}.dng"
        path.touch()
        frames.append(replace(frame, path=path))
    return replace(of, frames=tuple(frames))


def noise(pair: FramePair) -> np.ndarray:
    """Noise in DN as the store scales it, (4, h, w); NaN where it is not valid."""
    error = (pair.noisy.planes() - pair.clean.astype(np.float64)) / np.sqrt(1 + pair.clean_variance)
    return error if pair.valid is None else np.where(pair.valid, error, np.nan)
