"""What a pairing is: pairs of noisy and clean signal, and what they rest on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.patches.pairings.shift import Shift
from noiseflow.patches.pairings.sums import Sums
from noiseflow.patches.shared_mean import Share
from noiseflow.patches.sources.scene import Frame, Scene
from noiseflow.raw.image import RawImage

__all__ = ["Conclusion", "Pair", "Pairing", "Reference", "Stacking", "all_frames", "plain_reference", "without_pixels"]


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


@dataclass(frozen=True, eq=False)
class Conclusion:
    """What the sums over a scene's frames say.

    Parameters
    ----------
    facts : mapping
        As of `Reference`.
    cautions : tuple of str
    moving : ndarray of bool, shape `Sums.blocks.grid`, or None
        Blocks whose pixels are not valid.
    """

    facts: Mapping[str, Any]
    cautions: tuple[str, ...] = ()
    moving: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Stacking:
    """A pairing by the mean of a scene's frames, in steps that several processes can share.

    Frames are packed one by one, rows of them summed strip by strip, and then the sums judged.

    Parameters
    ----------
    structured : bool
        Whether the frames show a scene, which may move and has edges; darks do not.
    conclude : callable
        (scene, sums, shifts frame by frame and plane by plane) to a `Conclusion`.
    share : callable
        (facts, number of a frame, its setting) to the `Share` that its clean signal is.
    """

    structured: bool
    conclude: Callable[[Scene, Sums, Sequence[Sequence[Shift]]], Conclusion]
    share: Callable[[Mapping[str, Any], int, RawImage], Share]


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
    stacking : Stacking, optional
        The same in steps, if the clean signal is a mean of frames.
    """

    needs: str
    allows: Callable[[Scene], bool]
    usable: Callable[[Scene], Sequence[int]]
    prepare: Callable[[Scene], Reference]
    pair: Callable[[Scene, int, Reference], Pair]
    stacking: Stacking | None = None


def all_frames(scene: Scene) -> Sequence[int]:
    """Every frame of a scene."""
    return range(len(scene.frames))


def plain_reference(scene: Scene) -> Reference:
    """Nothing: for pairings whose pairs stand alone."""
    return Reference()


def without_pixels(image: RawImage) -> RawImage:
    """A frame's setting and shape, without the memory of its pixels."""
    return replace(image, mosaic=np.broadcast_to(image.mosaic.dtype.type(0), image.mosaic.shape))
