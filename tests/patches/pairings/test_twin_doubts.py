"""Where doubts about a clean signal begin, from both sides, on codes made for it."""

from types import SimpleNamespace

import numpy as np
import pytest
from simulated_scenes import BLACK, WHITE, image

from noiseflow.core.errors import RawError
from noiseflow.patches.pairings.clean_twin import _exposure_ratio, doubts
from noiseflow.raw.bayer import pack

SIDE = 256


def said(codes: np.ndarray, clean: np.ndarray, black: float = BLACK) -> list[str]:
    """Doubts about codes of a mosaic with the clean signal of each pixel."""
    noisy = image(np.rint(codes).astype(np.uint16), black=black)
    return list(doubts(noisy, pack(clean.astype(np.float32), noisy.cfa), None))


def codes_about(mean: float, sigma: float = 8.0, side: int = SIDE) -> np.ndarray:
    return np.rint(np.random.default_rng(0).normal(mean, sigma, (side, side)))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("part", "doubted"), [(0.97, False), (1.03, True)])
def test_three_percent_of_other_light_is_doubted(sign: int, part: float, doubted: bool) -> None:
    codes = codes_about(1000)
    light = (codes.mean() - BLACK) / (1 + sign * part * 0.03)
    found = said(codes, np.full(codes.shape, light + BLACK))
    assert [f"is {100 + sign * 3 * part:.1f} % as bright" in words for words in found] == [True] * doubted


@pytest.mark.parametrize(("part", "side", "doubted"), [(0.98, 64, False), (1.02, 64, True), (2.0, 62, False)])
def test_in_the_dark_by_six_standard_errors_of_four_thousand_pixels(part: float, side: int, doubted: bool) -> None:
    """The signal is one DN, of which 3 % are no limit; of 3,844 pixels nothing is said."""
    codes = codes_about(300, side=side)
    clean = codes.mean() - part * 6 * codes.std() / side
    assert bool(said(codes, np.full(codes.shape, clean), black=clean - 1.0)) is doubted


@pytest.mark.parametrize(("part", "doubted"), [(0.95, False), (1.05, True)])
def test_brightness_is_compared_below_four_fifths_of_the_clip_level(part: float, doubted: bool) -> None:
    """The left half is right; the right half has 20 % more light than its signal, just below and above that level."""
    codes, clean = codes_about(1000), np.full((SIDE, SIDE), 1000.0)
    clean[:, SIDE // 2 :] = (2 - part) * 0.8 * image(codes.astype(np.uint16)).clip_levels().min()
    codes[:, SIDE // 2 :] += 0.9 * clean[:, SIDE // 2 :] - 1000
    assert bool([words for words in said(codes, clean) if "as bright" in words]) is doubted
    assert clean.max() < WHITE


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("part", "doubted"), [(0.97, False), (1.03, True)])
def test_three_percent_of_the_noise_in_the_clean_signal_are_doubted(sign: int, part: float, doubted: bool) -> None:
    """If the signal has a part a of the codes' departures, noise and signal share a/(1 − a) of the noise variance."""
    codes = codes_about(1000)
    share = sign * part * 0.03
    clean = codes.mean() + share / (1 + share) * (codes - codes.mean())
    found = said(codes, clean)
    assert ["of the noise variance is explained" in words for words in found] == [True] * doubted


@pytest.mark.parametrize(("correlation", "doubted"), [(0.48, False), (0.52, True)])
def test_a_difference_that_neighbours_share_by_half_is_doubted(correlation: float, doubted: bool) -> None:
    """A first-order process along the rows of each plane, whose differences have 1 − ρ of twice its variance."""
    draws = np.random.default_rng(1).normal(size=(2, 2, SIDE, SIDE))
    for column in range(1, SIDE):
        draws[..., column] = correlation * draws[..., column - 1] + (1 - correlation**2) ** 0.5 * draws[..., column]
    codes = np.rint(1000 + 20 * draws.transpose(2, 0, 3, 1).reshape(2 * SIDE, 2 * SIDE))
    found = said(codes, np.full(codes.shape, codes.mean()))
    assert ["is common to neighbouring pixels" in words for words in found] == [True] * doubted


def test_a_long_exposure_has_as_much_more_light_as_time_and_iso_say() -> None:
    """0.01 s at ISO 400 and 1 s at ISO 100: 4 % of the light; each of the four must be known."""
    known = {"exposure_s": 0.01, "iso": 400.0, "twin_exposure_s": 1.0, "twin_iso": 100.0}

    def ratio(**changed: float | None) -> float:
        told = {**known, **changed, "twin": "gt.dng"}
        noisy = SimpleNamespace(source="a.dng", exposure_s=told.pop("exposure_s"), iso=told.pop("iso"))
        return _exposure_ratio(noisy, told)  # type: ignore[arg-type]

    assert ratio() == pytest.approx(0.04)
    for name in known:
        with pytest.raises(RawError, match=r"a\.dng: its clean twin gt\.dng is a long exposure"):
            ratio(**{name: None})
