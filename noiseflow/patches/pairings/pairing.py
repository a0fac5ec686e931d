"""The contract of a pairing: how it makes pairs of noisy and clean frames, and the types it uses."""

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
"""Number of rows, and of columns, of the sample of pixels used to compare frames; the largest noise that is kept."""


@dataclass(frozen=True, eq=False)
class FramePair:
    """A noisy frame with its clean signal.

    Parameters
    ----------
    frame : Frame
        The frame's file.
    number : int
        Number of the frame in its scene.
    noisy : RawImage
        The frame; its mosaic is a placeholder if `codes` are given.
    clean : ndarray of float32, shape (C, h, w), or None
        Clean signal in the noisy frame's DN; None if it is unknown, or computed from the mean that
        the frames of a scene share.
    clean_variance : float
        Variance of the error of the clean signal, as a fraction of the noise variance.
    valid : ndarray of bool, shape (C, h, w), or None
        False where a pixel is masked; None if no pixel is known to be bad.
    codes : ndarray of uint16, shape (C, h, w), or None
        The frame's codes packed into planes, DN, if they are not in `noisy`.
    """

    frame: Frame
    number: int
    noisy: RawImage
    clean: NDArray[np.float32] | None
    clean_variance: float
    valid: NDArray[np.bool_] | None = None
    codes: NDArray[np.uint16] | None = None

    def noise_sample(self) -> str:
        """Noise in DN at up to 1,600 pixels of the first plane, the same in each frame; empty without a clean signal.

        Row means, and what a gain explains (a lamp that flickers), are subtracted.  Stored as 16-bit floats in
        base64, since the notes of thousands of frames are in memory at once.
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
    """Results of one pass over a scene's frames that its pairs need.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        Sums of frames, masks and maps of whole planes; saved as NPY and memory-mapped.
    facts : mapping
        JSON-able facts: drift in DN, offsets and gains of frames, test for motion, defects.
    cautions : tuple of str
        Warnings for the user, one sentence each.
    """

    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    cautions: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Conclusion:
    """What a pairing concludes from the sums over a scene's frames.

    Parameters
    ----------
    facts : mapping
        As in `Reference`.
    cautions : tuple of str
        As in `Reference`.
    moving : ndarray of bool, shape `Sums.blocks.grid`, or None
        Blocks to mask because they move.
    """

    facts: Mapping[str, Any]
    cautions: tuple[str, ...] = ()
    moving: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class FrameByFrame:
    """A pairing that makes its pairs one by one, from a reference of the scene.

    Parameters
    ----------
    pair : callable
        (scene, number of a frame, reference) → the frame's pair; frames may come in any order.
    prepare : callable
        scene → reference, by one pass over its frames with one in memory at a time.
    """

    pair: Callable[[Scene, int, Reference], FramePair]
    prepare: Callable[[Scene], Reference] = lambda scene: Reference()


@dataclass(frozen=True)
class Stacking:
    """A pairing by the mean of a scene's frames, in steps that several processes can share.

    Frames are packed one by one, sums over them are computed strip by strip, and then the sums
    are evaluated.

    Parameters
    ----------
    structured : bool
        Whether the frames show a scene, which has edges and may move; darks do not.
    conclude : callable
        (scene, sums, shifts of each frame's planes) → `Conclusion`.
    share : callable
        (facts, number of a frame, its levels and metadata) → the `Share` that gives its clean signal.
    """

    structured: bool
    conclude: Callable[[Scene, Sums, Sequence[Sequence[Shift]]], Conclusion]
    share: Callable[[Mapping[str, Any], int, RawImage], Share]


def all_frames(scene: Scene) -> Sequence[int]:
    """Numbers of all frames of a scene."""
    return range(len(scene.frames))


def distinct_frames(scene: Scene) -> Sequence[int]:
    """Numbers of all frames; of two frames only the first, since the second has the same noise with the other sign."""
    return range(len(scene.frames) if len(scene.frames) > 2 else 1)


def split_by_frame(scenes: Sequence[Scene]) -> str:
    """Return ``"frame"``: frames of one scene may go to different splits."""
    return "frame"


def split_by_scene(scenes: Sequence[Scene]) -> str:
    """Return ``"scene"``: all frames of a scene stay in one split."""
    return "scene"


@dataclass(frozen=True)
class Pairing:
    """A way to pair frames with clean signals.

    Parameters
    ----------
    summary : str
        Where the clean signal comes from, in a few words, for help and docs.
    needs : str
        What every scene must have, for messages.
    how : FrameByFrame or Stacking
        How the pairs are made.
    found : callable, optional
        scenes → the reason why ``auto`` chooses this pairing; None if ``auto`` never does.
    usable : callable
        scene → numbers of the frames that make a pair.
    split_by : callable
        scenes → ``"scene"`` or ``"frame"``, which stays in one split by default.
    frames : int
        Smallest number of frames of a scene.
    twin : bool
        Whether a scene must have a clean twin.
    kind : str
        Kind of scene that the pairing is for: ``"flat"``, ``"dark"`` or empty for any.  Scenes of other kinds are
        left out.
    clean : str
        What the clean patches of the store are: ``"signal"``, ``"noisy"`` (another noisy frame) or ``"none"``.
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
        """Whether a scene has what the pairing needs; no pixels are read."""
        of_kind = not self.kind or scene.kind in ("", self.kind)
        return of_kind and len(scene.frames) >= self.frames and (scene.clean is not None or not self.twin)

    @property
    def stacking(self) -> Stacking | None:
        """`how`, if it is a pairing by the mean of frames; otherwise None."""
        return self.how if isinstance(self.how, Stacking) else None


def listed(names: Sequence[str], most: int = 3) -> str:
    """Join the first names of a list, for messages."""
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def without_pixels(image: RawImage) -> RawImage:
    """Copy a frame's levels, metadata and shape, with a placeholder mosaic that takes no memory."""
    return replace(image, mosaic=np.broadcast_to(image.mosaic.dtype.type(0), image.mosaic.shape))
