"""Numbers and remedies in what is said of spoilt frames, beside those that this version was released with."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noiseflow.core.errors import RawError
from noiseflow.raw.image import RawImage
from noiseflow.raw.inspection import inspected, loud_words, quiet_words, shares_of_noise
from noiseflow.raw.inspection.across_frames import equal_steps, in_time
from noiseflow.raw.inspection.other_readings import _alike, _explained, _telling, doubt_of_sides, mean_step
from noiseflow.raw.inspection.second_looks import empty_side, noise_below
from noiseflow.raw.patterns import CELLS, MONO
from tools.checks.pinned import assert_pinned

HERE = Path(__file__).parent
SIZE = (192, 250)
Y, X = np.mgrid[: SIZE[0], : SIZE[1]]
BLACK, WHITE = 256, 16383


def picture(top: float = 9000, sigma: float = 4, black: float = BLACK, seed: int = 0) -> np.ndarray:
    """A ramp with texture from black to `top` DN above it, with shot and read noise."""
    rng = np.random.default_rng(seed)
    signal = top * (0.02 + 0.9 * X / SIZE[1] + 0.08 * np.sin(Y / 7))
    codes = 2 * rng.poisson(signal.clip(0) / 2) + rng.normal(black, sigma, SIZE)
    return np.clip(np.rint(codes), 0, 65535).astype(np.uint16)


def image(codes: np.ndarray, cfa: str = "RGGB", black: float = BLACK, white: float = WHITE, **more: Any) -> RawImage:
    return RawImage(codes, cfa, (float(black),) * (1 if cfa == MONO else 4), float(white), source="a.dng", **more)


def at(codes: np.ndarray, place: Any, code: float) -> np.ndarray:
    changed = codes.copy()
    changed[place] = code
    return changed


def colours(codes: np.ndarray, factors: tuple[float, ...]) -> np.ndarray:
    cell = np.array(factors).reshape(2, 2)[Y % 2, X % 2]
    return np.rint(BLACK + cell * (codes.astype(float) - BLACK)).clip(0, 65535).astype(np.uint16)


def mixed(codes: np.ndarray) -> np.ndarray:
    """Few pixels wrapped round: noise below zero in unsigned numbers."""
    low = np.random.default_rng(1).normal(2, 3, SIZE)
    return np.where(X < 120, np.rint(low).astype(np.int64) % 65536, codes).astype(np.uint16)


SPOILT: dict[str, Callable[[], RawImage]] = {
    "clipped": lambda: image(np.minimum(picture(), 7001)),
    "one plane clipped": lambda: image(at(picture(), np.s_[1::2, ::2], np.minimum(picture(), 7001)[1::2, ::2])),  # type: ignore[arg-type]
    "white of the user": lambda: image(np.minimum(picture(), 7001), taken_from=(("white", "--white"),)),
    "bytes": lambda: image((picture(900, 9) % 256).astype(np.uint8), white=4095),
    "bytes of pairs": lambda: image(picture(9000).view(np.uint8), black=0, white=255),
    "far above white": lambda: image(picture(), white=5000),
    "left-aligned above white": lambda: image(picture(700, black=64) << 4, black=64, white=1023),
    "bytes exchanged": lambda: image(picture(900, black=64).byteswap(), black=64, white=1023),
    "some above white": lambda: image(picture(), white=7900),
    "wrapped": lambda: image(mixed(picture()), black=0, white=65535),
    "all below": lambda: image(picture(0, 2, 100)),
    "half below": lambda: image(picture(0, 2, 211)),
    "dark parts below": lambda: image(at(picture(), np.s_[:20], picture(0, 2, 200)[:20])),  # type: ignore[arg-type]
    "left-aligned": lambda: image(picture() & 0xFFF8),
    "multiplied": lambda: image(np.rint(1.3 * picture(400, 30)).astype(np.uint16)),
    "by a curve": lambda: image(
        np.rint(np.rint(1.2 * picture(300, 20, 0) ** 0.5) ** 2 / 1.44).astype(np.uint16), black=0
    ),
    "a block": lambda: image(at(picture(), np.s_[100:140, 64:130], 0)),
    "a lit block": lambda: image(at(picture(), np.s_[130:164, 64:162], 3000)),
    "end missing": lambda: image(at(picture(), np.s_[151:], 0)),
    "end of mono missing": lambda: image(at(picture(), np.s_[151:], 0), MONO),
    "mono of colours": lambda: image(
        colours(picture(), (0.4, 1, 1, 0.6)), MONO, taken_from=(("cfa", "no BAYERPAT"),), iso=100.0
    ),
    "phase": lambda: image(colours(picture(), (0.5, 1, 0.6, 1))),
    "gain 0": lambda: image(picture(), iso=0.0),
}


def told(words: str) -> dict[str, Any]:
    return {"words": words, "options": re.findall(r"--[a-z]+|'[<>]u2'|[<>] for [<>]|\w+\.toml|RAW1\d", words)}


def test_spoilt_frames() -> None:
    found = {}
    for name, make in SPOILT.items():
        try:
            seen = inspected(make())
        except RawError as error:
            found[name] = {"refused": told(str(error))}
        else:
            found[name] = {"clip": seen.clip, "cautions": [told(each) for each in seen.cautions], "iso": seen.iso}
    assert all(each.get("refused") or each["cautions"] or name == "white of the user" for name, each in found.items())
    assert_pinned(found, HERE / "spoilt.json")


@pytest.mark.parametrize("side", [1, 2, 6])
def test_what_is_left_of_a_frame_within_an_empty_border(side: int) -> None:
    """The crop starts and ends with whole cells; one row or column alone is no border."""
    codes = 1000 + np.random.default_rng(0).integers(0, 50, (60, 90))
    for top, bottom, left, right in np.random.default_rng(side).integers(0, 14, (40, 4)).tolist():
        framed = codes.copy()
        framed[:top], framed[60 - bottom :], framed[:, :left], framed[:, 90 - right :] = 5, 7, 5, 7
        # The corners belong to the rows, so that a side of columns of one code has none of another.
        if min(top, bottom) or min(left, right):
            framed = np.where((framed == 5) | (framed == 7), 6, framed)
        words = empty_side(framed, side, 20.0)
        y, x = (-(-each // side) * side if each > 1 else 0 for each in (top, left))
        end_y, end_x = ((size - (each if each > 1 else 0)) // side * side for size, each in ((60, bottom), (90, right)))
        if max(top, bottom, left, right) > 1 and (top or bottom) * (left or right) == 0:
            assert f"crop = [{y}, {x}, {end_y - y}, {end_x - x}]" in words
            count, first = (top, 0) if top > 1 else (bottom, 60 - bottom)
            if count > 1:
                assert f"rows {first} to {first + count - 1} are" in words


def test_numbers_behind_the_words() -> None:
    rng, codes = np.random.default_rng(2), picture()
    line = codes.reshape(-1).astype(np.float64)
    scene = rng.normal(0, 30, 5000)
    frames = [scene + rng.normal(0, sigma, 5000) for sigma in (5, 5, 8, 5, 5, 2)]
    smooth = [0.6 * one + 0.4 * other for one, other in zip(frames[:5], [*frames[1:5], frames[0]], strict=True)]
    shares = shares_of_noise(np.stack(frames))
    names = [f"{number}.dng" for number in range(6)]
    steps = rng.integers(-9, 9, (4, 3000))
    steps[2, :1500] = steps[1, :1500]
    found = {
        "shares": [shares, shares_of_noise(np.stack(frames[2:4])), shares_of_noise(np.stack(frames[4:]))],
        "words": [told(quiet_words(names, shares)), told(loud_words(names, shares))],
        "in time": [in_time(np.stack(smooth)), in_time(np.stack(frames[:5]))],
        "copies": [equal_steps(steps), equal_steps(4 * steps), equal_steps(steps[[0, 1, 3]])],
        "below": [noise_below(picture(0, sigma, 200), 256.0, pixels) for sigma in (2, 7) for pixels in (4000, 1 << 18)],
        "step": [mean_step(codes, side) for side in (1, 2, 6)],
        "explained": {f"{width} {side}": _explained(line, width, side) for width in (250, 192) for side in (1, 2)},
        "alike": {str(lag): _alike(line, lag, 250, 2) for lag in (250, 500, 192)},
        "telling": [_telling(line, 250, 2), _telling(np.sin(line.size * np.arange(line.size) / 5), 250, 2)],
        "sides": told(doubt_of_sides(Path("a.raw"), picture(0, 3).reshape(SIZE[::-1]))),
    }
    with pytest.raises(RawError) as error:
        doubt_of_sides(Path("a.raw"), codes.reshape(SIZE[::-1]))
    assert_pinned({**found, "refused": told(str(error.value))}, HERE / "behind.json")


def test_cells_of_six_are_pinned_too() -> None:
    frame = RawImage(
        at(picture(), np.s_[:, 151:], 0), CELLS["xtrans"], (float(BLACK),) * 36, float(WHITE), source="a.raf"
    )
    with pytest.raises(RawError) as error:
        inspected(frame)
    seen = inspected(replace(frame, mosaic=np.minimum(picture(), 7001)))
    assert_pinned({"refused": told(str(error.value)), "clip": seen.clip, "said": seen.cautions}, HERE / "six.json")
