"""Limits of the look at pixels, from both sides: what is just below one passes, what is just above is told."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from noiseflow.core.errors import RawError
from noiseflow.raw.image import RawImage
from noiseflow.raw.inspection import inspected, loud_words, other_readings, quiet_words
from noiseflow.raw.patterns import MONO

SIZE = (128, 160)
BLACK, WHITE = 512.0, 16383.0


def image(codes: np.ndarray, cfa: str = "RGGB", **more: object) -> RawImage:
    levels = (BLACK,) * (1 if cfa == MONO else 4)
    fields = {"black": levels, "white": WHITE, "iso": 100.0, "source": "a.dng", **more}
    return RawImage(codes.astype(np.uint16), cfa, **fields)  # type: ignore[arg-type]


def noisy(level: float, sigma: float = 20.0) -> np.ndarray:
    return np.rint(np.random.default_rng(0).normal(level, sigma, SIZE))


def some(share: float, code: float) -> np.ndarray:
    """A noisy frame of which a share of the pixels has a code, spread over it."""
    codes = noisy(3000)
    order = np.random.default_rng(1).permutation(codes.size)
    codes.reshape(-1)[order[: round(share * codes.size)]] = code
    return codes


def greens(part: float) -> np.ndarray:
    """The two greens differ by a part of their mean."""
    codes = noisy(BLACK + 2000)
    codes[::2, 1::2] = noisy(BLACK + 2000 * (1 + part / 2))[::2, 1::2]
    codes[1::2, ::2] = noisy(BLACK + 2000 * (1 - part / 2))[1::2, ::2]
    return codes


SPAN = WHITE - BLACK
TOLD: dict[str, tuple[float, Callable[[float], RawImage], str]] = {
    "share above 1.25 of white": (0.01, lambda x: image(some(x, 30000)), "lie far above"),
    "far above white": (1.25, lambda x: image(some(0.04, x * WHITE)), "lie far above"),
    "share above white": (0.05, lambda x: image(some(x, 1.1 * WHITE)), "is it right"),
    "all below, of a large range": (0.005, lambda x: image(noisy(BLACK - x * SPAN - 1, 0.3)), "all codes"),
    "half below, of a large range": (0.002, lambda x: image(noisy(BLACK - x * SPAN)), "half of the codes"),
    "half below, in codes": (3.0, lambda x: image(noisy(BLACK - x - 0.2), white=800.0), "half of the codes"),
    "colours of mono": (
        0.15,
        lambda x: image(np.where(np.arange(SIZE[0])[:, None] % 2, noisy(3000), noisy(3000 + x * 2500)), MONO),
        "no keyword",
    ),
    "greens": (0.1, lambda x: image(greens(x)), "is the phase right"),
}
"""Limit, frame by the value that is limited, and words."""


@pytest.mark.parametrize("name", list(TOLD))
def test_frames_on_either_side_of_a_limit(name: str) -> None:
    limit, make, words = TOLD[name]
    for factor, expected in ((0.9, False), (1.1, True)):
        frame = make(factor * limit)
        if name == "colours of mono":
            frame = replace(frame, taken_from=(("cfa", "no BAYERPAT"),))
        try:
            said = " ".join(inspected(frame).cautions)
        except RawError as error:
            said = str(error)
        assert (words in said) == expected, (factor, said)


@pytest.mark.parametrize(
    ("own", "other", "refused"),
    [
        ((0.0, 0.0), (6.1, 6.2), True),
        ((0.0, 0.0), (5.9, 9.0), False),
        ((1.45, 2.0), (6.1, 10.0), True),
        ((1.55, 2.0), (6.1, 10.0), False),
        ((-3.5, 2.0), (6.1, 10.0), True),
        ((-3.8, 2.0), (6.1, 10.0), False),
    ],
)
def test_sides_are_exchanged_by_scores_on_either_side_of_their_limits(
    own: tuple[float, ...], other: tuple[float, ...], refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than 6 standard errors at the other width, less than a quarter of it here, and not 0.6 of it below 0."""
    monkeypatch.setattr(other_readings, "_explained_better", lambda *_: True)
    monkeypatch.setattr(other_readings, "_telling", lambda *_: ())
    monkeypatch.setattr(other_readings, "_alike", lambda line, lag, width, side: own if width == SIZE[1] else other)
    if refused:
        with pytest.raises(RawError, match="exchanged; give --size 128x160"):
            other_readings.doubt_of_sides(Path("a.raw"), noisy(500))
    else:
        assert not other_readings.doubt_of_sides(Path("a.raw"), noisy(500))


@pytest.mark.parametrize(
    ("share", "words"),
    [(1.38, ""), (1.42, "c has 1.42 times"), (0.42, ""), (0.38, "c has 0.38 times")],
)
def test_frames_with_more_or_less_noise_than_the_others(share: float, words: str) -> None:
    names, shares = list("abcde"), np.array([1.0, 1.0, share, 1.0, 1.0])
    assert (loud_words(names, shares) or quiet_words(names, shares)).startswith(words)
    assert bool(loud_words(names, shares) or quiet_words(names, shares)) == bool(words)
    assert not loud_words(names[:4], shares[:4])
