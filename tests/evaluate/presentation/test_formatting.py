"""Numbers in words at the edges where their form changes."""

import math
from dataclasses import replace

import pytest

from noiseflow.core.text import counted
from noiseflow.evaluate.metrics.moments import Beyond
from noiseflow.evaluate.presentation.distribution import _beside_floor
from noiseflow.evaluate.presentation.formatting import (
    cell_labels,
    cell_name,
    join,
    number,
    percent,
    plus_minus,
    shown_names,
    significant,
    times,
)
from noiseflow.evaluate.presentation.moments import _log_ratio, _numbers, _of_bin
from noiseflow.evaluate.statistics.divergence import Divergence
from noiseflow.evaluate.statistics.intervals import Interval


@pytest.mark.parametrize(
    ("value", "decimals", "words"),
    [(None, 2, "–"), (math.nan, 2, "–"), (math.inf, 2, "–"), (-0.004, 2, "0.00"), (-0.006, 2, "−0.01"), (2.0, 0, "2")],
)
def test_a_number_has_its_decimals_and_no_minus_before_zero(value: float | None, decimals: int, words: str) -> None:
    assert number(value, decimals) == words


def test_parts_factors_and_counts() -> None:
    assert (percent(0.1234), percent(0.1234, 1), percent(-0.5)) == ("12 %", "12.3 %", "−50 %")
    assert (times(1.8649), times(120.0), times(math.nan)) == ("1.86 ×", "120 ×", "–")
    assert [counted(number, "frame") for number in (1, 0, 20_000)] == ["1 frame", "0 frames", "20,000 frames"]
    assert (counted(1, "axis", "axes"), counted(2, "axis", "axes")) == ("1 axis", "2 axes")
    assert (join([]), join(["a"]), join(["a", "b"]), join(["a", "b", "c"])) == ("", "a", "a and b", "a, b and c")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "–"),
        (0.0, "0.0000"),
        (5.21e-5, "0.000052"),
        (0.0999, "0.100"),
        (1.25, "1.2"),
        (10.4, "10"),
        (-321.0, "−321"),
    ],
)
def test_two_digits_and_no_power_of_ten(value: float | None, words: str) -> None:
    assert significant(value) == words


def about(value: float, low: float, high: float) -> Interval:
    return Interval(value, 0.1, low, high, 9)


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        (about(0.5, 0.4, 0.6), "0.50 ± 0.10"),
        (about(0.5, 0.401, 0.599), "0.500 ± 0.099"),
        (about(50.0, 0.1, 99.9), "50 ± 50"),
        (about(5e-7, 4e-7, 6e-7), "0.000000 ± 0.000000"),
        # Off the middle by a tenth of half the interval, and by more.
        (about(0.5, 0.409, 0.609), "0.50 ± 0.10"),
        (about(0.5, 0.411, 0.611), "0.50 (0.41 to 0.61)"),
        # The ± would reach across 0 where the interval does not.
        (about(0.1, 0.001, 0.203), "0.10 (0.00 to 0.20)"),
        (about(-0.1, -0.203, -0.001), "−0.10 (−0.20 to −0.00)".replace("−0.00", "0.00")),
        (Interval(0.25, None, None, None, 1), "0.2500"),
        (about(0.25, -math.inf, math.inf), "0.2500"),
        (about(0.25, 0.25, 0.25), "0.2500 ± 0.0000"),
    ],
)
def test_an_interval_that_is_lopsided_is_written_out(interval: Interval, words: str) -> None:
    assert plus_minus(interval) == words


def test_cells_have_the_camera_where_there_are_several() -> None:
    assert cell_name(None, 100.0) == cell_name("A", None) == "all"
    assert cell_name("A", 100.0) == "A · ISO 100"
    long = "Fourteen chars"
    assert cell_labels([("B", 1.0), (long, 2.0), (f"{long}s", 3.0)]) == [
        "B · ISO 1",
        "Fourteen chars · ISO 2",
        "Fourteen char… · ISO 3",
    ]
    assert cell_labels([(None, None), ("B", 1.0)]) == ["all", "ISO 1"]


def test_names_that_cannot_be_shown_are_numbered_apart() -> None:
    found = shown_names(["a" * 60, "a" * 61, "a" * 62, "", "\u202ex", "plain"])
    assert "plain" not in found
    assert "a" * 60 not in found
    assert len(set(found.values()) | {"a" * 60, "plain"}) == 6
    assert found[""] == "(no name)"
    assert found["a" * 62].endswith("(2)")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (Interval(0.0123456, None, None, None, 1), "0.012346"),
        (Interval(0.0123456, 0.001, 0.0103456, 0.0143456, 9), "0.0123 ± 0.0020"),
        (Interval(0.001, 0.001, -0.001, 0.003, 9), "0.0010 (0.0000 to 0.0030)"),
    ],
)
def test_a_divergence_stands_beside_its_floor_and_is_never_below_zero(value: Interval, words: str) -> None:
    assert _beside_floor(Divergence(0.0021, 0.003, {"m": value})) == {"data": "floor 0.0021", "m": words}
    assert _beside_floor(Divergence(None, None, {})) == {"data": "–"}


def test_tails_are_compared_by_logs_of_counts_and_told_as_one_pixel_in_so_many() -> None:
    parts = {"data": Interval(1e-4, None, None, None, 1), "m": Interval(0.0, None, None, None, 1)}
    each = Beyond(4.0, {"data": 40, "m": 0}, parts, {})
    assert _log_ratio(each, "m") == pytest.approx(math.log(0.5 / 40))
    # No pixel counts as half of one on either side.
    assert _log_ratio(replace(each, pixels={"data": 0, "m": 40}), "m") == pytest.approx(math.log(40 / 0.5))
    assert _numbers(each, "m") == "1 pixel in 10,000 is beyond 4 σ in the data, no pixel in the samples"
    bin_ = _of_bin(2.0, 0.1)
    assert bin_.numbers == pytest.approx((2.0, 0.1, 1.804, 2.196))
