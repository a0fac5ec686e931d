"""Verdicts on the histogram of all noise, from numbers on both sides of each limit."""

from types import SimpleNamespace
from typing import Any

import pytest

from noiseflow.evaluate.metric import DATA
from noiseflow.evaluate.presentation.distribution import MarginalPresenter
from noiseflow.evaluate.statistics.intervals import Interval

SURE = 1e-4


def about(value: float, half: float = SURE) -> Interval:
    return Interval(value, half / 2, value - half, value + half, 9)


def cell(**changed: Any) -> SimpleNamespace:
    """A camera and ISO in which all agrees, changed."""
    known = {
        "kl": 0.001,
        "floor": 0.001,
        "floor_high": 0.002,
        "ratio": about(1.0),
        "skewness": (about(0.1), about(0.1)),
    }
    known |= changed
    real, sampled = known.pop("skewness")
    ratio, kl = known.pop("ratio"), known.pop("kl")
    skewness = {DATA: real, "A": sampled}
    return SimpleNamespace(camera="C", iso=100.0, kl={"A": kl}, variance_ratio={"A": ratio}, skewness=skewness, **known)


def verdicts(*cells: SimpleNamespace) -> list[tuple[str, str, str]]:
    found = MarginalPresenter().findings(SimpleNamespace(cells=cells), "A")  # type: ignore[arg-type]
    return [(each.level, each.measure, each.text) for each in found]


@pytest.mark.parametrize(
    ("ratio", "level", "words"),
    [
        (about(1.019), "good", "within 2 %"),
        (about(0.981), "good", "within 2 %"),
        (about(1.021), "bad", "too large"),
        (about(0.979), "bad", "too small"),
        # One end of the interval is beyond the margin.
        (about(1.01, 0.011), "open", "Whether that is within 2 % is not settled"),
        (about(0.99, 0.011), "open", "Whether that is within 2 % is not settled"),
        (Interval(1.0, None, None, None, 1), "open", "Whether that is within 2 % is not settled"),
    ],
)
def test_variance(ratio: Interval, level: str, words: str) -> None:
    found = verdicts(cell(ratio=ratio))[1]
    assert found[:2] == (level, "variance")
    assert words in found[2]


def test_variance_of_one_camera_and_iso() -> None:
    """The farthest of those that are off by their intervals is named."""
    cells = (about(1.0), about(1.03), about(0.95), about(1.03, 0.02))
    level, _, text = verdicts(*(cell(ratio=each) for each in cells))[1]
    assert level == "bad"
    assert "over all data. It is off in 2 of 3 camera–ISO pairs" in text
    assert text.endswith("C · ISO 100: 95.0000 ± 0.0100 %.")


@pytest.mark.parametrize(
    ("changed", "level", "words"),
    [
        ({"kl": 0.00199}, "good", "agrees with"),
        ({"kl": 0.00201}, "bad", "differs from the data’s"),
        ({"kl": 0.00201}, "bad", "2.01 × the floor"),
        ({"kl": None}, "open", "too few patches to halve"),
        ({"floor": None}, "open", "too few patches to halve"),
        ({"floor_high": None}, "open", "too few patches to halve"),
    ],
)
def test_divergence(changed: dict[str, Any], level: str, words: str) -> None:
    found = verdicts(cell(**changed))[0]
    assert found[:2] == (level, "kl")
    assert words in found[2]


@pytest.mark.parametrize(
    ("real", "sampled", "wrong"),
    [(0.1, -0.1, True), (-0.1, 0.1, True), (0.1, 0.05, False), (0.1, -0.01, False), (0.01, -0.1, False)],
)
def test_the_sign_of_the_skewness(real: float, sampled: float, wrong: bool) -> None:
    """It is wrong where both intervals, of ± 0.02, leave 0 out on opposite sides."""
    found = verdicts(cell(skewness=(about(real, 0.02), about(sampled, 0.02))))
    assert [measure for _, measure, _ in found] == ["kl", "variance", *["skewness"] * wrong]
