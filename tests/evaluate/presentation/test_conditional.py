"""The verdict on the distribution by intensity, from divergences on both sides of each limit."""

from types import SimpleNamespace
from typing import Any

import pytest

from noiseflow.evaluate.metric import DATA
from noiseflow.evaluate.presentation.distribution import FEWEST_IN_BIN, ConditionalPresenter
from noiseflow.evaluate.statistics.divergence import Divergence
from noiseflow.evaluate.statistics.intervals import Interval

FLOOR, HIGH = 0.002, 0.003
"""Mean of the floor, and two standard deviations above it; a bin is off from four on, 0.004."""


def bin_of(kl: float, low: float | None, values: int = FEWEST_IN_BIN, high: float | None = HIGH) -> Any:
    interval = Interval(kl, 1e-4, low, kl + 1e-4, 9)
    return SimpleNamespace(values=values, signal_dn=120.0, kl=Divergence(FLOOR, high, {"m": interval}))


def verdict(*bins: Any) -> tuple[str, str]:
    score: Any = SimpleNamespace(bins=bins, kl={DATA: FLOOR, "m": 0.0025})
    (found,) = ConditionalPresenter().findings(score, "m")
    return found.level, found.text


@pytest.mark.parametrize(
    ("bin_", "level"),
    [
        (bin_of(0.0039, 0.0038), "good"),
        (bin_of(0.0041, 0.0040), "bad"),
        # The interval reaches down to the floor.
        (bin_of(0.0041, 0.0019), "good"),
        (bin_of(0.0041, 0.0021), "bad"),
        # Without an interval its value decides, and without a spread the floor.
        (bin_of(0.0041, None), "bad"),
        (bin_of(0.0021, 0.00205, high=None), "bad"),
        (bin_of(0.0019, 0.0018, high=None), "good"),
        (bin_of(0.0041, 0.0040, FEWEST_IN_BIN - 1), "open"),
    ],
)
def test_a_bin_is_off_from_four_standard_deviations_of_the_floor_on(bin_: Any, level: str) -> None:
    assert verdict(bin_)[0] == level


def test_the_worst_bin_is_that_of_the_largest_ratio_to_its_floor() -> None:
    other = SimpleNamespace(
        values=20_000, signal_dn=7.0, kl=Divergence(2e-4, 2e-4, {"m": Interval(0.01, 0, 9e-3, 0.011, 9)})
    )
    level, text = verdict(bin_of(0.02, 0.019), other, bin_of(0.002, 0.0019))
    assert level == "bad"
    assert "differs in 2 of 3 intensity bins, most about 7 DN: KL 0.010 nats, floor 0.00020" in text
