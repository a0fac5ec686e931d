"""Pictures of one body to its maps, without darks and flats: coarsely, and it says how coarsely."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter, uniform_filter

from noiseflow.calibrate.body.body_maps import DEFECT_KINDS, BodyMaps, DarkMap, GainMap
from noiseflow.calibrate.estimators.robust import robust_sigma
from noiseflow.core.errors import DataError
from noiseflow.core.progress import Progress, silent
from noiseflow.core.version import __version__
from noiseflow.raw.bayer import unpack
from noiseflow.raw.image import RawImage

__all__ = ["FEWEST_PICTURES", "maps_from_pictures"]

Planes = NDArray[np.float64]

FEWEST_PICTURES = 16
"""Pictures from which on their halves say how well a pixel is known."""

WINDOW = 5
"""Side of the window, in pixels of a plane, whose mean a pixel is compared with."""

WILD = 4.0
"""Local σ at which a pixel's departure is cut off: edges, people, hot pixels in the noise of others."""

ALIKE = 0.95
"""Correlation of two pictures' block means from which on they show one scene."""

BLOCK = 8
"""Side of those blocks, pixels of a plane."""

HOT_SIGMAS = 8.0
"""Of the spread of offsets, in each half of the pictures, from which on a pixel is hot."""


@dataclass(eq=False)
class _Sums:
    """Weighted sums of departures r against the signal s around, pixel by pixel."""

    count: int = 0
    of: list[Planes] = field(default_factory=list)

    def add(self, weight: Planes, signal: Planes, departure: Planes) -> None:
        terms = [weight, weight * signal, weight * signal**2, weight * departure, weight * signal * departure]
        self.of = terms if not self.of else [a + b for a, b in zip(self.of, terms, strict=True)]
        self.count += 1

    def line(self) -> tuple[Planes, Planes]:
        """Offset, DN, and gain − 1 by weighted least squares."""
        w, ws, wss, wr, wsr = self.of
        spread = np.maximum(w * wss - ws**2, 1e-9 * np.maximum(w * wss, 1e-30))
        return (wss * wr - ws * wsr) / spread, (w * wsr - ws * wr) / spread

    def offset(self) -> Planes:
        """Offset alone, DN."""
        return np.asarray(self.of[3] / self.of[0])


def maps_from_pictures(reads: Sequence[Callable[[], RawImage]], progress: Progress = silent) -> BodyMaps:
    """Offset and gain of each pixel against its neighbours, from pictures of different scenes by one body.

    A pixel's departure from the mean of `WINDOW`×`WINDOW` pixels of its plane is offset + (gain − 1)·signal, plus noise
    and texture.  Texture differs between scenes: it is weighed down by the local variance, and cut off at `WILD` of its
    roots.  Two halves of the pictures give two maps, whose difference is the error that is stated.

    What all pixels of a window share, as dark shading, cancels: darks and flats tell of it.

    Parameters
    ----------
    reads : sequence of callable
        Read each picture; of one ISO, `FEWEST_PICTURES` at least.
    progress : Progress
        Called after each picture.

    Raises
    ------
    DataError
        Too few pictures, of two cameras, sizes or ISOs, two of one scene, or so few that both maps would add more than
        they take; the message says how many it would need.
    """
    if len(reads) < FEWEST_PICTURES:
        raise DataError(
            f"body maps: {len(reads)} pictures; expected {FEWEST_PICTURES} or more of different scenes, or darks and "
            "flats"
        )
    halves, first, exposures = (_Sums(), _Sums()), None, set()
    seen: list[tuple[str, NDArray[np.float32]]] = []
    for number, read in enumerate(reads):
        image = read().levelled()
        first = first or image
        iso = _same_iso(image, first)
        planes, black = image.planes().astype(np.float64), image.levels()[0]
        signal = planes - black
        thumbnail = _thumbnail(signal)
        for source, other in seen:
            if float(thumbnail @ other) > ALIKE:
                raise DataError(
                    f"{image.source}: shows the scene of {source}, whose texture would be taken for the body's "
                    "pattern; give pictures of different scenes"
                )
        seen.append((image.source, thumbnail))
        clipped = (planes >= image.clip_levels()) | (planes <= 0)
        halves[number % 2].add(*_departures(signal, clipped))
        if image.exposure_s is not None:
            exposures.add(image.exposure_s)
        progress(number + 1, len(reads), image.source)
    assert first is not None
    return _body(halves, first, iso, tuple(sorted(exposures)))


def _same_iso(image: RawImage, first: RawImage) -> float:
    """ISO of a picture; refused if not known, as is another camera, size, phase or ISO than the first's."""
    if image.iso is None:
        raise DataError(f"{image.source}: its ISO is not known; give it with --iso")
    facts = [(each.camera, each.mosaic.shape, each.cfa, each.iso) for each in (image, first)]
    if facts[0] != facts[1]:
        (camera, size, _, iso), (other, size_0, _, iso_0) = facts
        raise DataError(
            f"{image.source}: {camera}, {size[1]}×{size[0]}, ISO {iso:g}; {first.source} is {other}, "
            f"{size_0[1]}×{size_0[0]}, ISO {iso_0:g}: give pictures of one body at one ISO and size"
        )
    return float(image.iso)


def _departures(signal: Planes, clipped: NDArray[np.bool_]) -> tuple[Planes, Planes, Planes]:
    """Weight, signal around, and departure from it, of each pixel of a picture's planes."""
    size = (0, WINDOW, WINDOW)
    around = uniform_filter(signal, size, mode="reflect")
    variance = np.maximum(uniform_filter(signal**2, size, mode="reflect") - around**2, 1 / 12)
    bound = WILD * np.sqrt(variance)
    departure = np.clip(signal - around, -bound, bound)
    near = uniform_filter(clipped.astype(np.float64), size, mode="reflect") > 1e-9
    return np.where(near, 0.0, 1 / variance) + 1e-12, around, departure


def _thumbnail(signal: Planes) -> NDArray[np.float32]:
    """Block means of all planes, less their mean, of norm 1: the product of two is their correlation."""
    height, width = (length // BLOCK * BLOCK for length in signal.shape[1:])
    blocks = signal[:, :height, :width].reshape(len(signal), height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    means = blocks.mean((0, 2, 4)).ravel()
    means = means - means.mean() if means.size else means
    return np.asarray(means / max(float(np.linalg.norm(means)), 1e-9), np.float32)


def _body(halves: tuple[_Sums, _Sums], first: RawImage, iso: float, exposures_s: tuple[float, ...]) -> BodyMaps:
    count = halves[0].count + halves[1].count
    lines = [half.line() for half in halves]
    gain, hot = _Known.of([line[1] for line in lines], count, "gain"), _hot([half.offset() for half in halves])
    offset = _Known.of(
        [line[0] if gain.worth else half.offset() for line, half in zip(lines, halves, strict=True)], count
    )
    if not gain.worth and not offset.worth:
        raise DataError(f"body maps: {offset.said('DN')}; {gain.said('')}; or take darks and flats")

    def mosaic(planes: Planes) -> NDArray[np.float32]:
        return np.asarray(unpack(planes, first.cfa), np.float32)

    darks: tuple[DarkMap, ...] = ()
    if offset.worth:
        error = offset.error
        darks = (DarkMap(iso, mosaic(offset.map), error, error * count**0.5, count, exposures_s),)
    response = GainMap(mosaic(1 + gain.map), gain.error, count) if gain.worth else None
    words = (
        f"from {count} pictures without darks: what is shared by {WINDOW}×{WINDOW} pixels of a plane, as dark shading, "
        "and telegraph pixels are not known"
    )
    words += "".join(f"; {each.said(unit)}" for each, unit in ((offset, "DN"), (gain, "")) if not each.worth)
    places = np.argwhere(unpack(hot, first.cfa))
    listed = np.array([(*place, DEFECT_KINDS.index("hot")) for place in places], np.int32).reshape(-1, 3)
    provenance = {"tool": f"noiseflow calibrate {__version__}", "left_out": words}
    return BodyMaps(first.camera, first.cfa, darks, response, listed, provenance)


@dataclass(frozen=True, eq=False)
class _Known:
    """A map, how well its pixels are known, and how large its pattern is."""

    map: Planes
    error: float
    pattern: float
    count: int
    name: str

    @classmethod
    def of(cls, halves: Sequence[Planes], count: int, name: str = "offset") -> "_Known":
        # Noise that is skewed and weighed by its own variance has a mean below 0; that of a plane's map is 0.
        halves = [half - np.median(half, (1, 2), keepdims=True) for half in halves]
        whole = (halves[0] + halves[1]) / 2
        # What both halves have in common; robust, since pixels at edges and hot ones are few.
        bounds = [WILD * robust_sigma(half) for half in halves]
        one, other = (np.clip(half, -bound, bound) for half, bound in zip(halves, bounds, strict=True))
        common = float((one * other).mean())
        return cls(whole, robust_sigma(halves[0] - halves[1]) / 2, math.sqrt(max(common, 0.0)), count, name)

    @property
    def worth(self) -> bool:
        """Whether the map takes more than its errors add."""
        return self.pattern > self.error

    def said(self, unit: str) -> str:
        """Why it is not."""
        end = f" {unit}" if unit else ""
        words = f"{self.count} pictures know the {self.name} of a pixel to {self.error:.2g}{end}, and it varies by "
        words += f"{self.pattern:.2g}{end}: such a map would add more than it takes"
        if self.pattern > self.error / 10:
            words += f"; about {math.ceil(self.count * (self.error / self.pattern) ** 2):,} would do"
        return words


def _hot(offsets: Sequence[Planes]) -> NDArray[np.bool_]:
    """Pixels above their neighbours by many times the spread, in both halves."""
    found = np.ones(offsets[0].shape, bool)
    for each in offsets:
        above = each - median_filter(each, (1, WINDOW, WINDOW), mode="reflect")
        spread = np.array([robust_sigma(plane) for plane in above])[:, None, None]
        found &= above > HOT_SIGMAS * np.maximum(spread, 0.05)
    return found
