"""Codes of a converter, by the numbers themselves."""

import numpy as np
import pytest
import torch

from noiseflow.core.errors import DataError
from noiseflow.models.adc_levels import Levels

BLACK, WHITE = ((60.0, 64.5), (10.0, 0.0)), (1023.0, 4000.5)


def levels(spread: tuple[float, float] | None = None) -> Levels:
    return Levels(torch.tensor(BLACK), torch.tensor(WHITE), None if spread is None else torch.tensor(spread))


@pytest.mark.parametrize("spread", [None, (1.0, 1.25)])
def test_noise_becomes_the_nearest_codes_within_the_converter(spread: tuple[float, float] | None) -> None:
    draw = torch.Generator().manual_seed(0)
    clean = torch.rand(2, 2, 30, 30, generator=draw)
    noise = 0.3 * torch.randn(2, 2, 30, 30, generator=draw)
    made = levels(spread)
    codes, rounded = made.codes(noise, clean).numpy(), made.rounded(noise, clean).numpy()
    for element, plane in np.ndindex(2, 2):
        black, white = BLACK[element][plane], WHITE[element]
        span = (white - black) * (1.0 if spread is None else spread[element])
        origin = black + clean[element, plane].double().numpy() * (white - black)
        analogue = origin + noise[element, plane].double().numpy() * span
        expected = np.clip(np.rint(analogue), 0, np.ceil(white))
        assert codes[element, plane] == pytest.approx(expected)
        assert rounded[element, plane] == pytest.approx((expected - origin) / span, abs=1e-6)
        assert float(made.log_code()[element, plane]) == pytest.approx(-np.log(span), rel=1e-6)
    assert (codes == 0).any()
    assert (codes == np.ceil(WHITE)[:, None, None, None]).any()


def test_a_cell_is_half_a_code_to_either_side_and_its_ends_are_known() -> None:
    made = Levels(torch.tensor([[64.0]]), torch.tensor([1023.0]), torch.tensor([1.5]))
    codes = torch.tensor([0.0, 1.0, 500.0, 1022.0, 1023.0, 2000.0]).reshape(1, 1, 1, 6)
    clean = torch.full((1, 1, 1, 6), 0.25)
    cells = made.cells(codes, clean)
    origin, span = 64 + 0.25 * 959, 959 * 1.5
    seen = np.minimum(codes.flatten().numpy(), 1023)
    assert cells.low.flatten().tolist() == pytest.approx(((seen - 0.5 - origin) / span).tolist())
    assert cells.high.flatten().tolist() == pytest.approx(((seen + 0.5 - origin) / span).tolist())
    assert cells.at_black.flatten().tolist() == [True, False, False, False, False, False]
    assert cells.at_white.flatten().tolist() == [False, False, False, False, True, True]
    assert cells.clipped.flatten().tolist() == [True, False, False, False, True, True]


@pytest.mark.parametrize(
    ("black", "white"),
    [([[64.0]], [64.0]), ([[64.0]], [63.0]), ([[-5.0]], [0.5]), ([64.0], [1023.0]), ([[64.0]], [1.0, 2.0])],
)
def test_levels_without_a_code_between_them_are_refused(black: list[object], white: list[float]) -> None:
    with pytest.raises(DataError, match="levels"):
        Levels(torch.tensor(black), torch.tensor(white))


def test_one_code_is_enough() -> None:
    assert float(Levels(torch.tensor([[0.0]]), torch.tensor([1.0])).top()) == 1.0


@pytest.mark.parametrize("bad", [-1.0, 0.5, float("nan")])
def test_what_is_no_code_is_refused(bad: float) -> None:
    with pytest.raises(DataError, match="whole numbers"):
        levels().cells(torch.full((2, 2, 1, 1), bad), torch.zeros(2, 2, 1, 1))
    with pytest.raises(DataError, match="shape"):
        levels().cells(torch.zeros(2, 1, 1, 1), torch.zeros(2, 1, 1, 1))


def test_the_spread_of_a_patch_is_that_of_its_noise_and_of_its_clean_signal() -> None:
    """A clean signal that is the mean of the four other frames adds a quarter of the variance."""
    table = np.zeros(2, [("black", "f4", 2), ("white", "f4"), ("clean_variance", "f4")])
    table["black"], table["white"], table["clean_variance"] = BLACK, WHITE, (0.0, 0.25)
    found = Levels.of(table)
    assert found.spread is not None
    assert found.spread.tolist() == pytest.approx([1.0, np.sqrt(1.25)])
    for ours, theirs in ((found.black, BLACK), (found.white, WHITE)):
        assert np.array_equal(ours.numpy(), np.float32(theirs))
