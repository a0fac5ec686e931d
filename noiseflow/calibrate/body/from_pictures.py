"""Coarse body maps from many pictures of different scenes, without darks and flats, with their errors."""

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
"""Fewest pictures whose two halves allow an estimate of the map's error."""

WINDOW = 5
"""Side of the window whose mean a pixel is compared with, in pixels of a plane."""

WILD = 4.0
"""Local standard deviations at which a pixel's departure is clipped, as at edges, moving people and hot neighbours."""

ALIKE = 0.95
"""Correlation of two pictures' block means above which they show the same scene."""

BLOCK = 8
"""Side of the blocks that are compared to recognise a scene, in pixels of a plane."""

HOT_SIGMAS = 8.0
"""Robust standard deviations of the offsets above which a pixel is hot, in both halves of the pictures."""


@dataclass(eq=False)
class _Sums:
    """Weighted sums per pixel for lines of the departure r over the surrounding signal s: w, ws, ws², wr, wsr."""

    count: int = 0
    sums: list[Planes] = field(default_factory=list)

    def add(self, weight: Planes, signal: Planes, departure: Planes) -> None:
        """Add the pixels of one picture."""
        terms = [weight, weight * signal, weight * signal**2, weight * departure, weight * signal * departure]
        self.sums = terms if not self.sums else [a + b for a, b in zip(self.sums, terms, strict=True)]
        self.count += 1

    def line(self) -> tuple[Planes, Planes]:
        """Return offset (DN) and gain − 1 by weighted least squares."""
        w, ws, wss, wr, wsr = self.sums
        spread = np.maximum(w * wss - ws**2, 1e-9 * np.maximum(w * wss, 1e-30))
        return (wss * wr - ws * wsr) / spread, (w * wsr - ws * wr) / spread

    def offset(self) -> Planes:
        """Return the weighted mean departure, DN: the offset if the gain is 1."""
        return np.asarray(self.sums[3] / self.sums[0])


def maps_from_pictures(reads: Sequence[Callable[[], RawImage]], progress: Progress = silent) -> BodyMaps:
    """Measure offset and gain of each pixel relative to its neighbours, from one body's pictures of different scenes.

    A pixel's departure from the mean of `WINDOW`×`WINDOW` pixels of its plane is offset + (gain − 1)·signal, plus noise
    and texture.  Texture differs between scenes.  It gets the weight 1/(local variance), and is clipped at `WILD` local
    standard deviations.  The two halves of the pictures give two maps, whose difference gives the stated error.

    What all pixels of a window share, such as dark shading, cancels; measuring it needs darks and flats.

    Parameters
    ----------
    reads : sequence of callable
        Functions that read one picture each: at least `FEWEST_PICTURES`, all of one ISO.
    progress : Progress
        Called after each picture.

    Returns
    -------
    BodyMaps
        An offset map, a gain map, or both, each only if its pattern exceeds its error; and hot pixels.

    Raises
    ------
    DataError
        Too few pictures; pictures of two cameras, sizes or ISOs, or two of one scene; or so few that the errors of
        both maps exceed their patterns.  The message then says how many pictures would be enough.
    """
    if len(reads) < FEWEST_PICTURES:
        raise DataError(
            f"body maps: expected at least {FEWEST_PICTURES} pictures of different scenes, or darks and flats; got "
            f"{len(reads)} pictures"
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
                    f"{image.source}: shows the same scene as {source}, so its texture would be taken as the body's "
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
    """Return the ISO of a picture; refuse one without ISO, or of another camera, size, phase or ISO than the first."""
    if image.iso is None:
        raise DataError(f"{image.source}: states no ISO; give it with --iso")
    facts = [(each.camera, each.mosaic.shape, each.cfa, each.iso) for each in (image, first)]
    if facts[0] != facts[1]:
        (camera, size, _, iso), (other, size_0, _, iso_0) = facts
        raise DataError(
            f"{image.source}: is {camera}, {size[1]}×{size[0]}, ISO {iso:g}, but {first.source} is {other}, "
            f"{size_0[1]}×{size_0[0]}, ISO {iso_0:g}; give pictures of one body at one ISO and size"
        )
    return float(image.iso)


def _departures(signal: Planes, clipped: NDArray[np.bool_]) -> tuple[Planes, Planes, Planes]:
    """Return weight, surrounding signal, and departure from it, of each pixel of a picture's planes."""
    size = (0, WINDOW, WINDOW)
    around = uniform_filter(signal, size, mode="reflect")
    variance = np.maximum(uniform_filter(signal**2, size, mode="reflect") - around**2, 1 / 12)
    bound = WILD * np.sqrt(variance)
    departure = np.clip(signal - around, -bound, bound)
    near = uniform_filter(clipped.astype(np.float64), size, mode="reflect") > 1e-9
    return np.where(near, 0.0, 1 / variance) + 1e-12, around, departure


def _thumbnail(signal: Planes) -> NDArray[np.float32]:
    """Return block means over all planes, centred and of norm 1; the product of two is their correlation."""
    height, width = (length // BLOCK * BLOCK for length in signal.shape[1:])
    blocks = signal[:, :height, :width].reshape(len(signal), height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    means = blocks.mean((0, 2, 4)).ravel()
    means = means - means.mean() if means.size else means
    return np.asarray(means / max(float(np.linalg.norm(means)), 1e-9), np.float32)


def _body(halves: tuple[_Sums, _Sums], first: RawImage, iso: float, exposures_s: tuple[float, ...]) -> BodyMaps:
    """Make the maps from the sums over both halves, leaving out a map whose error exceeds its pattern."""
    count = halves[0].count + halves[1].count
    lines = [half.line() for half in halves]
    gain, hot = _Known.of([line[1] for line in lines], count, "gain"), _hot([half.offset() for half in halves])
    offset = _Known.of(
        [line[0] if gain.worth else half.offset() for line, half in zip(lines, halves, strict=True)], count
    )
    if not gain.worth and not offset.worth:
        raise DataError(f"body maps: {offset.why_useless('DN')}; {gain.why_useless('')}; or take darks and flats")

    def mosaic(planes: Planes) -> NDArray[np.float32]:
        return np.asarray(unpack(planes, first.cfa), np.float32)

    darks: tuple[DarkMap, ...] = ()
    if offset.worth:
        error = offset.error
        darks = (DarkMap(iso, mosaic(offset.map), error, error * count**0.5, count, exposures_s),)
    response = GainMap(mosaic(1 + gain.map), gain.error, count) if gain.worth else None
    limits = (
        f"measured from {count} pictures without darks: patterns shared by {WINDOW}×{WINDOW} pixels of a plane, such "
        "as dark shading, and telegraph pixels are unknown"
    )
    limits += "".join(f"; {each.why_useless(unit)}" for each, unit in ((offset, "DN"), (gain, "")) if not each.worth)
    places = np.argwhere(unpack(hot, first.cfa))
    listed = np.array([(*place, DEFECT_KINDS.index("hot")) for place in places], np.int32).reshape(-1, 3)
    provenance = {"tool": f"noiseflow calibrate {__version__}", "left_out": limits}
    return BodyMaps(first.camera, first.cfa, darks, response, listed, provenance)


@dataclass(frozen=True, eq=False)
class _Known:
    """A map with the standard error of a pixel, the standard deviation of its pattern, and the number of pictures."""

    map: Planes
    error: float
    pattern: float
    count: int
    name: str

    @classmethod
    def of(cls, halves: Sequence[Planes], count: int, name: str = "offset") -> "_Known":
        # Skewed noise, weighted by its own variance, has a mean below 0; the map of each plane is centred at 0.
        halves = [half - np.median(half, (1, 2), keepdims=True) for half in halves]
        whole = (halves[0] + halves[1]) / 2
        # The pattern is the covariance of both halves, clipped so that few hot or edge pixels do not dominate.
        bounds = [WILD * robust_sigma(half) for half in halves]
        one, other = (np.clip(half, -bound, bound) for half, bound in zip(halves, bounds, strict=True))
        common = float((one * other).mean())
        return cls(whole, robust_sigma(halves[0] - halves[1]) / 2, math.sqrt(max(common, 0.0)), count, name)

    @property
    def worth(self) -> bool:
        """Whether correcting with the map removes more pattern than its errors add noise."""
        return self.pattern > self.error

    def why_useless(self, unit: str) -> str:
        """Return why the map would not help, and how many pictures would be enough."""
        end = f" {unit}" if unit else ""
        reason = (
            f"from {self.count} pictures, the {self.name} of a pixel has an error of {self.error:.2g}{end}, but it "
        )
        reason += f"varies by only {self.pattern:.2g}{end}: such a map would add more noise than it removes"
        if self.pattern > self.error / 10:
            reason += f"; about {math.ceil(self.count * (self.error / self.pattern) ** 2):,} pictures would be enough"
        return reason


def _hot(offsets: Sequence[Planes]) -> NDArray[np.bool_]:
    """Return a mask of pixels far above their neighbours in both halves."""
    found = np.ones(offsets[0].shape, bool)
    for each in offsets:
        above = each - median_filter(each, (1, WINDOW, WINDOW), mode="reflect")
        spread = np.array([robust_sigma(plane) for plane in above])[:, None, None]
        found &= above > HOT_SIGMAS * np.maximum(spread, 0.05)
    return found
