"""Scenes of a simulated camera, in memory."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from noiseflow.patches.pairings import PAIRINGS, Pair, Reference
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


def pairs(name: str, of: Scene) -> tuple[Reference, list[Pair]]:
    """Everything that a pairing makes of a scene, last frame first: the order is not to matter."""
    pairing = PAIRINGS[name]
    reference = pairing.prepare(of)
    return reference, [pairing.pair(of, number, reference) for number in reversed(pairing.usable(of))][::-1]


def noise(pair: Pair) -> np.ndarray:
    """Noise in DN as the store scales it, (4, h, w); NaN where it is not valid."""
    error = (pair.noisy.planes() - pair.clean.astype(np.float64)) / np.sqrt(1 + pair.clean_variance)
    return error if pair.valid is None else np.where(pair.valid, error, np.nan)
