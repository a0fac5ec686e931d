"""The contract of a pairing: pairs of noisy and clean signal, and what they are computed from."""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.patches.pairings.frames.motion import Shift
from noiseflow.patches.pairings.frames.sums import Sums
from noiseflow.patches.shared_mean import Share
from noiseflow.patches.sources.scene import Frame, Scene
from noiseflow.raw.bayer import offsets
from noiseflow.raw.image import RawImage

__all__ = [
    "SAMPLED_SIDE",
    "Conclusion",
    "FrameByFrame",
    "FramePair",
    "Pairing",
    "Reference",
    "Stacking",
    "all_frames",
    "distinct_frames",
    "listed",
    "split_by_frame",
    "split_by_scene",
    "without_pixels",
]

SAMPLED_SIDE, LARGEST_DN = 40, 60_000.0
"""Rows, and columns, of the pixels by which frames of one scene are compared; the largest noise that is kept."""


@dataclass(frozen=True, eq=False)
class FramePair:
    """A noisy frame with its clean signal.

    Parameters
    ----------
    frame : Frame
        The file.
    number : int
        Number of the frame in its scene.
    noisy : RawImage
        The frame; its mosaic holds nothing where `codes` are given.
    clean : ndarray of float32, shape (C, H/2, W/2), or None
        In the noisy frame's DN, in the precision that the store keeps; None where it is not
        known, or computed from the mean that frames share.
    clean_variance : float
        Variance of the clean signal as an estimate, as a fraction of the noise variance.
    valid : ndarray of bool, shape (C, H/2, W/2), or None
        False where a pixel is defective or its scene moves; None where nothing was tested.
    codes : ndarray of uint16, shape (C, H/2, W/2), or None
        The frame's codes packed to planes, DN, if they are not in `noisy`.
    """

    frame: Frame
    number: int
    noisy: RawImage
    clean: NDArray[np.float32] | None
    clean_variance: float
    valid: NDArray[np.bool_] | None = None
    codes: NDArray[np.uint16] | None = None

    def noise_sample(self) -> str:
        """Noise in DN at up to 1,600 pixels of the first plane, the same of each frame of a size; empty without twin.

        Less the means of rows, and less what a gain explains, as of a lamp that flickers.  As 16-bit floats in
        base64: the notes of thousands of frames are kept at once.
        """
        if self.clean is None:
            return ""
        (row, column), side = offsets(self.noisy.cfa)[0], self.noisy.side
        rows, columns = (_spread(length) for length in self.clean.shape[1:])
        clean = self.clean[0][np.ix_(rows, columns)].astype(np.float64)
        noise = self.noisy.mosaic[np.ix_(side * rows + row, side * columns + column)] - clean
        noise -= noise.mean(1, keepdims=True)
        clean -= clean.mean(1, keepdims=True)
        power = float((clean**2).sum())
        if power > 0:
            noise -= clean * (float((clean * noise).sum()) / power)
        found = np.zeros((SAMPLED_SIDE, SAMPLED_SIDE), np.float16)
        found[: len(rows), : len(columns)] = np.clip(noise, -LARGEST_DN, LARGEST_DN)
        return base64.b64encode(found.tobytes()).decode()


def _spread(length: int) -> NDArray[np.intp]:
    """Up to `SAMPLED_SIDE` numbers below a length."""
    return np.linspace(0, length - 1, min(SAMPLED_SIDE, length)).astype(np.intp)


@dataclass(frozen=True, eq=False)
class Reference:
    """Result of one pass over a scene's frames, as far as its pairs need it.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        Sums of frames, masks, maps: whole planes, saved as NPY and read as memory maps.
    facts : mapping
        JSON-able: drift in DN, frame offsets and gains, the static test, defects.
    cautions : tuple of str
        Warnings for the user, one sentence each.
    """

    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    cautions: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Conclusion:
    """Result of the sums over a scene's frames.

    Parameters
    ----------
    facts : mapping
        As of `Reference`.
    cautions : tuple of str
        As of `Reference`.
    moving : ndarray of bool, shape `Sums.blocks.grid`, or None
        Blocks whose pixels are not valid.
    """

    facts: Mapping[str, Any]
    cautions: tuple[str, ...] = ()
    moving: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class FrameByFrame:
    """Pairs that are made one by one, from a reference of the scene.

    Parameters
    ----------
    pair : callable
        (scene, number of a frame, reference) to the frame's pair; independent of the order.
    prepare : callable
        One pass over the scene's frames, with one in memory at a time.
    """

    pair: Callable[[Scene, int, Reference], FramePair]
    prepare: Callable[[Scene], Reference] = lambda scene: Reference()


@dataclass(frozen=True)
class Stacking:
    """Pairs by the mean of a scene's frames, in steps that several processes can share.

    Frames are packed one by one, rows of them are summed strip by strip, and the sums are then
    evaluated.

    Parameters
    ----------
    structured : bool
        Whether the frames show a scene, which may move and has edges; darks do not.
    conclude : callable
        (scene, sums, shifts frame by frame and plane by plane) to a `Conclusion`.
    share : callable
        (facts, number of a frame, its setting) to the `Share` that gives its clean signal.
    """

    structured: bool
    conclude: Callable[[Scene, Sums, Sequence[Sequence[Shift]]], Conclusion]
    share: Callable[[Mapping[str, Any], int, RawImage], Share]


def all_frames(scene: Scene) -> Sequence[int]:
    """Every frame of a scene."""
    return range(len(scene.frames))


def distinct_frames(scene: Scene) -> Sequence[int]:
    """All frames; of two only the first, since the second's pair is the first's with its sign turned."""
    return range(len(scene.frames) if len(scene.frames) > 2 else 1)


def split_by_frame(scenes: Sequence[Scene]) -> str:
    """Frames of one scene may go to different splits."""
    return "frame"


def split_by_scene(scenes: Sequence[Scene]) -> str:
    """All frames of a scene stay in one split."""
    return "scene"


@dataclass(frozen=True)
class Pairing:
    """A way to pair.

    Parameters
    ----------
    summary : str
        Where the clean signal comes from, in a few words, for help and docs.
    needs : str
        What every scene must have, in words.
    how : FrameByFrame or Stacking
        How the pairs are made.
    found : callable, optional
        (scenes) to the reason why ``auto`` takes it for them; None if ``auto`` never does.
    usable : callable
        Numbers of the frames that make a pair.
    split_by : callable
        (scenes) to ``"scene"`` or ``"frame"``: what stays in one split by default.
    frames : int
        Least number of frames of a scene.
    twin : bool
        Whether a scene must have a clean twin.
    kind : str
        Kind of scene that it is for: ``"flat"`` or ``"dark"``.  Scenes of other kinds are left out.
    clean : str
        What the store's clean patches are: ``"signal"``, ``"noisy"`` (another noisy frame) or ``"none"``.
    """

    summary: str
    needs: str
    how: FrameByFrame | Stacking
    found: Callable[[Sequence[Scene]], str] | None = None
    usable: Callable[[Scene], Sequence[int]] = all_frames
    split_by: Callable[[Sequence[Scene]], str] = split_by_frame
    frames: int = 1
    twin: bool = False
    kind: str = ""
    clean: str = "signal"

    def allows(self, scene: Scene) -> bool:
        """Whether a scene's files are what it needs; reads no pixels."""
        of_kind = not self.kind or scene.kind in ("", self.kind)
        return of_kind and len(scene.frames) >= self.frames and (scene.clean is not None or not self.twin)

    @property
    def stacking(self) -> Stacking | None:
        """The steps of a pairing by the mean of frames; None for any other."""
        return self.how if isinstance(self.how, Stacking) else None


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first of some names, for messages."""
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def without_pixels(image: RawImage) -> RawImage:
    """A frame's setting and shape, without the memory of its pixels."""
    return replace(image, mosaic=np.broadcast_to(image.mosaic.dtype.type(0), image.mosaic.shape))
