"""From a scene's frames to pairs of noisy and clean signal (stand-in until the pairings' package)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.errors import RawError
from noiseflow.patches.sources import Frame, Scene
from noiseflow.raw.image import RawImage

__all__ = ["PAIRINGS", "Pair", "Pairing", "Reference", "choose_pairing"]


@dataclass(frozen=True, eq=False)
class Reference:
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    cautions: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Pair:
    frame: Frame
    number: int
    noisy: RawImage
    clean: NDArray[np.float64] | None
    clean_variance: float
    valid: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Pairing:
    needs: str
    allows: Callable[[Scene], bool]
    usable: Callable[[Scene], Sequence[int]]
    prepare: Callable[[Scene], Reference]
    pair: Callable[[Scene, int, Reference], Pair]


def _nothing(scene: Scene) -> Reference:
    return Reference()


def _twin(scene: Scene, number: int, reference: Reference) -> Pair:
    assert scene.clean is not None
    twin = scene.clean.read()
    noisy = scene.frames[number].read()
    black, white = noisy.levels()
    return Pair(scene.frames[number], number, noisy, twin.normalised() * (white - black) + black, 0.0)


def _total(scene: Scene) -> Reference:
    total: Any = 0.0
    first = None
    for frame in scene.frames:
        image = frame.read()
        first = first or image
        _same_setting(first, image)
        total = total + image.planes().astype(np.float64)
    return Reference({"total": total})


def _others(scene: Scene, number: int, reference: Reference) -> Pair:
    count = len(scene.frames)
    noisy = scene.frames[number].read()
    planes = noisy.planes().astype(np.float64)
    others = (reference.arrays["total"] - planes) / (count - 1)
    others += (planes - others).mean((1, 2), keepdims=True)
    return Pair(scene.frames[number], number, noisy, others, 1 / (count - 1))


def _alone(scene: Scene, number: int, reference: Reference) -> Pair:
    noisy = scene.frames[number].read()
    return Pair(scene.frames[number], number, noisy, None, 0.0)


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
    "gt": Pairing("a clean twin", lambda scene: scene.clean is not None, _all, _nothing, _twin),
    "burst": Pairing("two frames or more", lambda scene: len(scene.frames) > 1, _distinct, _total, _others),
    "none": Pairing("nothing", lambda scene: True, _all, _nothing, _alone),
}


def choose_pairing(scenes: Sequence[Scene], wanted: str = "auto") -> str:
    """The pairing."""
    if wanted != "auto":
        if wanted not in PAIRINGS:
            raise RawError(f"pairing {wanted!r} is not known; expected auto, {', '.join(PAIRINGS)}")
        for scene in scenes:
            if not PAIRINGS[wanted].allows(scene):
                raise RawError(
                    f"pairing {wanted!r} needs {PAIRINGS[wanted].needs} for every scene; {scene.name!r} has none"
                )
        return wanted
    return next(name for name, each in PAIRINGS.items() if all(map(each.allows, scenes)))
