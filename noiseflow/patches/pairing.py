"""From a scene's frames to pairs of noisy and clean signal."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.errors import RawError
from noiseflow.patches.sources import Frame, Scene
from noiseflow.raw.image import RawImage

__all__ = ["PAIRINGS", "Pair", "Pairing", "choose_pairing"]


@dataclass(frozen=True, eq=False)
class Pair:
    """A noisy frame with its clean signal.

    Parameters
    ----------
    frame : Frame
    number : int
        Of the frame in its scene.
    noisy : RawImage
    clean : ndarray of float64, shape (C, H/2, W/2)
        In the noisy frame's DN; NaN where nothing is known.
    clean_variance : float
        Variance of `clean` as an estimate, as a fraction of the noise variance.
    """

    frame: Frame
    number: int
    noisy: RawImage
    clean: NDArray[np.float64]
    clean_variance: float


@dataclass(frozen=True)
class Pairing:
    """A way to pair, and which frames of a scene it makes pairs of."""

    pairs: Callable[[Scene], Iterator[Pair]]
    usable: Callable[[Scene], Sequence[int]]


def with_clean_twin(scene: Scene) -> Iterator[Pair]:
    """Each frame with the scene's clean twin, brought to the frame's own DN."""
    assert scene.clean is not None
    twin = scene.clean.read()
    signal = twin.normalised()
    for number, frame in enumerate(scene.frames):
        noisy = frame.read()
        if (noisy.cfa, noisy.mosaic.shape) != (twin.cfa, twin.mosaic.shape):
            raise RawError(
                f"{noisy.source}: {noisy.cfa} {noisy.mosaic.shape} does not match its clean twin "
                f"{twin.source}: {twin.cfa} {twin.mosaic.shape}"
            )
        black, white = noisy.levels()
        yield Pair(frame, number, noisy, signal * (white - black) + black, 0.0)


def with_other_frames(scene: Scene) -> Iterator[Pair]:
    """Each frame with the mean of the scene's other frames, moved to the frame's own mean.

    With n frames y, plane by plane, cᵢ = (Σ y − yᵢ)/(n − 1) + (mean yᵢ − mean of the same):
    the offset takes out drift of the light or of the black level between frames.  Var cᵢ is
    1/(n − 1) of the noise variance.  Two frames make one pair, since the second would be
    the first with its sign turned.
    """
    total: NDArray[np.float64] | float = 0.0
    first: RawImage | None = None
    for frame in scene.frames:
        image = frame.read()
        first = first or image
        _same_setting(first, image)
        total = total + image.planes().astype(np.float64)
    count = len(scene.frames)
    for number in _distinct(scene):
        noisy = scene.frames[number].read()
        planes = noisy.planes().astype(np.float64)
        others = (total - planes) / (count - 1)
        others += (planes - others).mean((1, 2), keepdims=True)
        yield Pair(scene.frames[number], number, noisy, others, 1 / (count - 1))


def without_clean(scene: Scene) -> Iterator[Pair]:
    """Each frame alone; its clean signal is not known."""
    for number, frame in enumerate(scene.frames):
        noisy = frame.read()
        yield Pair(frame, number, noisy, np.full(noisy.planes().shape, np.nan), 0.0)


def _same_setting(first: RawImage, other: RawImage) -> None:
    def setting(image: RawImage) -> tuple[Any, ...]:
        return image.camera, image.iso, image.exposure_s, image.cfa, image.mosaic.shape

    if setting(first) != setting(other):
        raise RawError(
            f"{other.source}: {setting(other)} differs from {setting(first)} of {first.source}; a burst needs "
            "one camera, ISO, exposure and size: put other settings into a folder of their own"
        )


def _all(scene: Scene) -> Sequence[int]:
    return range(len(scene.frames))


def _distinct(scene: Scene) -> Sequence[int]:
    return range(len(scene.frames) if len(scene.frames) > 2 else 1)


PAIRINGS: dict[str, Pairing] = {
    "gt": Pairing(with_clean_twin, _all),
    "burst": Pairing(with_other_frames, _distinct),
    "none": Pairing(without_clean, _all),
}
"""Ways to pair: a clean twin, a static burst, or none."""


def choose_pairing(scenes: Sequence[Scene], wanted: str = "auto") -> str:
    """The pairing to use for scenes: the one wanted, if they allow it, or the best they allow.

    Raises
    ------
    RawError
        If a scene lacks what the wanted pairing needs, or the scenes need different ones.
    """
    allowed = {
        "gt": [scene.clean is not None for scene in scenes],
        "burst": [len(scene.frames) >= 2 for scene in scenes],
        "none": [True for _ in scenes],
    }
    if wanted != "auto":
        if wanted not in allowed:
            raise RawError(f"pairing {wanted!r} is not known; expected auto, {', '.join(PAIRINGS)}")
        if not all(allowed[wanted]):
            lacking = scenes[allowed[wanted].index(False)].name
            need = "a clean twin" if wanted == "gt" else "two frames or more"
            raise RawError(f"pairing {wanted!r} needs {need} for every scene; {lacking!r} has none")
        return wanted
    return next(name for name, each in allowed.items() if all(each))
