import pytest

from noiseflow.core.text import counted
from noiseflow.evaluate.presentation.formatting import cell_labels, join, number, plus_minus, significant
from noiseflow.evaluate.statistics.intervals import Interval


@pytest.mark.parametrize(
    ("value", "half", "words"),
    [
        (0.41234, 0.0203, "0.412 ± 0.020"),
        (-3.2, 12.4, "−3 ± 12"),
        (1.0, 0.0000004, "1.000000 ± 0.000000"),
        (99.86, 0.69, "99.86 ± 0.69"),
        (0.0, 0.0, "0.0000 ± 0.0000"),
    ],
)
def test_intervals_have_two_digits(value: float, half: float, words: str) -> None:
    assert plus_minus(Interval(value, half / 2, value - half, value + half, 9)) == words


def test_without_interval_there_is_no_plus_minus() -> None:
    assert plus_minus(Interval(0.5, None, None, None, 1)) == "0.5000"


def test_what_is_not_a_number_is_a_dash() -> None:
    assert number(float("nan"), 2) == number(None, 2) == significant(None) == "–"


def test_no_negative_zero() -> None:
    assert number(-0.0001, 2) == "0.00"


@pytest.mark.parametrize(("value", "words"), [(0.0000521, "0.000052"), (0.29, "0.29"), (12.3, "12"), (0.0, "0.0000")])
def test_significant_digits(value: float, words: str) -> None:
    assert significant(value) == words


def test_plurals_and_lists() -> None:
    assert counted(1, "frame") == "1 frame"
    assert counted(20_000, "frame") == "20,000 frames"
    assert join(["a"]) == "a"
    assert join(["a", "b", "c"]) == "a, b and c"


def test_labels_name_the_camera_only_where_there_are_several() -> None:
    assert cell_labels([("S6", 100.0), ("S6", 800.0)]) == ["ISO 100", "ISO 800"]
    assert cell_labels([("S6", 100.0), ("A very long name indeed", 100.0)])[1] == "A very long n… · ISO 100"
