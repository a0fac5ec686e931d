"""The frames of one scene, each packed into planes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import RawError
from noiseflow.patches.sources.scene import same_exposure
from noiseflow.raw.image import RawImage

__all__ = ["PackedFrame", "PackedFrames", "same_exposure_twice", "same_setting"]

CHANGING = 0.5
"""Fraction of the pixels of the line beside a border without noise that change from frame to frame."""


@dataclass(frozen=True, eq=False)
class PackedFrame:
    """One frame whose mosaic is packed into planes.

    Parameters
    ----------
    image : RawImage
        Levels, metadata and shape; its mosaic is a placeholder without pixels.
    levels : ndarray, shape (C,)
        Mean of each plane, DN.
    planes : ndarray of uint16, shape (C, h, w)
        Codes in DN, in memory or mapped from a file.
    source_blake3 : str
        Checksum of the frame's file.
    pixels : str
        `pixel_checksum` of the mosaic.
    """

    image: RawImage
    levels: NDArray[np.float64]
    planes: NDArray[np.uint16]
    source_blake3: str = ""
    pixels: str = ""


@dataclass(frozen=True, eq=False)
class PackedFrames:
    """Frames of one scene, taken with one setting of the camera.

    Parameters
    ----------
    frames : sequence of PackedFrame
        At least one frame.

    Raises
    ------
    RawError
        If the frames have different settings, or two have the same pixels.
    """

    frames: Sequence[PackedFrame]

    def __post_init__(self) -> None:
        """Refuse frames with different settings, and the same exposure twice."""
        first: dict[str, PackedFrame] = {}
        for frame in self.frames:
            same_setting(self.frames[0].image, frame.image)
            other = first.setdefault(frame.pixels or str(id(frame)), frame)
            if other is not frame:
                raise same_exposure_twice(other.image.source, frame.image.source)

    @property
    def setting(self) -> RawImage:
        """The first frame's levels, metadata and shape, which stand for those of all frames."""
        return self.frames[0].image

    @property
    def shape(self) -> tuple[int, int]:
        """(h, w) of a plane."""
        return self.cube[1:]

    @property
    def cube(self) -> tuple[int, int, int]:
        """(C, h, w) of a frame's planes."""
        return self.setting.cube

    @property
    def levels(self) -> NDArray[np.float64]:
        """Mean of each frame's planes in DN, shape (n, C)."""
        return np.array([frame.levels for frame in self.frames])

    def still_border(self, name: str) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
        """Lines along the sides whose pixels keep their code in all frames, as no noise does.

        Beside a border most pixels change.  Codes at 0 are clipped noise, and a dark part of a scene, in codes that
        are too coarse for its noise, ends at no straight line.

        Parameters
        ----------
        name : str
            The scene, for the caution.

        Returns
        -------
        border : ndarray of bool, shape (h, w)
            Pixels of a plane that belong to such a border.
        cautions : tuple of str
            One, if there is a border.
        """
        border = np.zeros(self.shape, np.bool_)
        for axis in (1, 2):
            first, *others = (np.moveaxis(frame.planes, axis, 0) for frame in self.frames)

            def changing(number: int, first: Any = first, others: Sequence[Any] = others) -> float:
                return float(np.any([other[number] != first[number] for other in others], 0).mean())

            length = len(first)
            for order in (range(length), range(length)[::-1]):
                still = next((at for at, line in enumerate(order) if changing(line) or not first[line].all()), 0)
                # What is dark in coarse codes has such lines in its middle too.
                if still > 0 and changing(order[still]) > CHANGING and all(map(changing, order[still : length // 2])):
                    np.moveaxis(border, axis - 1, 0)[list(order[:still])] = True
        if not border.any():
            return border, ()
        words = (
            f"{name}: {100 * border.mean():.2g} % of the frame, along its sides, have no noise: their codes are the "
            "same in all frames. They are masked; crop in noiseflow.toml leaves a border out"
        )
        return border, (words,)


def same_exposure_twice(first: str, other: str) -> RawError:
    """Make the error for two files with the same pixels.

    Parameters
    ----------
    first, other : str
        The files.
    """
    return RawError(
        f"{other}: has the same pixels as {first}: this is one exposure in two files, and would be part of its own "
        "clean signal; keep one of them"
    )


def same_setting(first: RawImage, other: RawImage, *, exposure: bool = True) -> None:
    """Refuse frames with different settings in one scene.

    Parameters
    ----------
    first, other : RawImage
        The frames.
    exposure : bool
        Whether the exposure times must be equal.

    Raises
    ------
    RawError
        If camera, ISO, exposure, colour filter array or size differ.
    """

    def setting(image: RawImage) -> tuple[Any, ...]:
        return image.camera, image.iso, image.exposure_s if exposure else None, image.cfa, image.mosaic.shape

    same = same_exposure(first.exposure_s, other.exposure_s) or not exposure
    if not same or setting(replace(first, exposure_s=None)) != setting(replace(other, exposure_s=None)):
        raise RawError(
            f"{other.source}: {setting(other)} differs from {setting(first)} of {first.source}; a burst needs "
            "one camera, ISO, exposure and size: put frames with other settings into a folder of their own"
        )
