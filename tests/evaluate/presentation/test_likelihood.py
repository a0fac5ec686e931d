"""The axis of differences in likelihood."""

from types import SimpleNamespace

import pytest
from matplotlib.figure import Figure

from noiseflow.evaluate.presentation.likelihood import _symlog
from noiseflow.evaluate.statistics.intervals import Interval


def axis_of(*values: Interval) -> tuple[str, tuple[float, float], list[str]]:
    """Scale, ends and ticks."""
    ax = Figure().subplots()
    _symlog(ax, [SimpleNamespace(behind={"m": value}) for value in values])  # type: ignore[arg-type]
    return ax.get_xscale(), ax.get_xlim(), [each.get_text() for each in ax.get_xticklabels()]


def about(value: float, half: float) -> Interval:
    return Interval(value, half / 2, value - half, value + half, 9)


@pytest.mark.parametrize("value", [0.1, -0.1, 0.0])
def test_small_differences_are_on_a_plain_axis(value: float) -> None:
    assert axis_of(about(value, 0.5))[0] == "linear"


def test_large_ones_are_on_a_logarithmic_one_of_twice_their_intervals() -> None:
    found = axis_of(about(-0.3, 0.2), about(0.11, 0.1))
    assert found[0] == "symlog"
    assert found[1] == pytest.approx((-1.0, 0.42))
    assert found[2] == ["−1.0", "−0.1", "−0.01", "0.00", "0.01", "0.1"]


def test_an_axis_reaches_a_hundredth_on_either_side() -> None:
    assert axis_of(Interval(3.0, None, None, None, 1), about(2.0, 1.0))[1] == pytest.approx((-0.01, 6.0))
    assert axis_of(about(-2.0, 1.0))[1] == pytest.approx((-6.0, 0.01))
