"""What a pairing is: pairs of noisy and clean signal, and what they rest on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.errors import RawError
from noiseflow.patches.sources.scene import Frame, Scene
from noiseflow.raw.image import RawImage

__all__ = ["Pair", "Pairing", "Reference", "all_frames", "plain_reference", "same_setting", "without_pixels"]


@dataclass(frozen=True, eq=False)
class Pair:
    """A noisy frame with its clean signal.

    Parameters
    ----------
    frame : Frame
    number : int
        Of the frame in its scene.
    noisy : RawImage
    clean : ndarray of float32, shape (C, H/2, W/2), or None
        In the noisy frame's DN, in the precision that the store keeps; None where nothing is known.
    clean_variance : float
        Variance of `clean` as an estimate, as a fraction of the noise variance.
    valid : ndarray of bool, shape (C, H/2, W/2), or None
        False where a pixel is defective or its scene moves; None where nothing was tested.
    """

    frame: Frame
    number: int
    noisy: RawImage
    clean: NDArray[np.float32] | None
    clean_variance: float
    valid: NDArray[np.bool_] | None = None


@dataclass(frozen=True, eq=False)
class Reference:
    """What one pass over a scene's frames found, as far as its pairs need it.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        Sums of frames, masks, maps: whole planes, for `numpy.savez` or a memory map.
    facts : mapping
        JSON-able: drift in DN, frame offsets and gains, the static test, defects.
    cautions : tuple of str
        Sentences to say aloud.
    """

    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    cautions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pairing:
    """A way to pair.

    Parameters
    ----------
    needs : str
        What every scene must have, in words.
    allows : callable
        Whether a scene's files allow it; reads no pixels.
    usable : callable
        Numbers of the frames that make a pair.
    prepare : callable
        One pass over the scene's frames, one in memory at a time.
    pair : callable
        The pair of frame n, given the reference; independent of the order.
    """

    needs: str
    allows: Callable[[Scene], bool]
    usable: Callable[[Scene], Sequence[int]]
    prepare: Callable[[Scene], Reference]
    pair: Callable[[Scene, int, Reference], Pair]


def all_frames(scene: Scene) -> Sequence[int]:
    """Every frame of a scene."""
    return range(len(scene.frames))


def plain_reference(scene: Scene) -> Reference:
    """Nothing: for pairings whose pairs stand alone."""
    return Reference()


def without_pixels(image: RawImage) -> RawImage:
    """A frame's setting and shape, without the memory of its pixels."""
    return replace(image, mosaic=np.broadcast_to(image.mosaic.dtype.type(0), image.mosaic.shape))


def same_setting(first: RawImage, other: RawImage, *, exposure: bool = True) -> None:
    """Refuse frames of two settings in one scene.

    Parameters
    ----------
    first, other : RawImage
    exposure : bool
        Whether the exposure time counts.

    Raises
    ------
    RawError
        If camera, ISO, exposure, colour filter array or size differ.
    """

    def setting(image: RawImage) -> tuple[Any, ...]:
        return image.camera, image.iso, image.exposure_s if exposure else None, image.cfa, image.mosaic.shape

    if setting(first) != setting(other):
        raise RawError(
            f"{other.source}: {setting(other)} differs from {setting(first)} of {first.source}; a burst needs "
            "one camera, ISO, exposure and size: put other settings into a folder of their own"
        )
