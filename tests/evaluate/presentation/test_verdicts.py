"""Verdicts in words, from numbers on both sides of each limit."""

import math
from types import SimpleNamespace
from typing import Any

import pytest

from noiseflow.evaluate.metric import DATA
from noiseflow.evaluate.metrics.sample_checks import LEVELS, ON
from noiseflow.evaluate.presentation.moments import (
    FEWEST_BEYOND,
    FEWEST_IN_BIN,
    TAIL_MARGIN,
    VARIANCE_MARGIN,
    MeanVariancePresenter,
    TailsPresenter,
)
from noiseflow.evaluate.presentation.presenter import Presenter
from noiseflow.evaluate.presentation.sample_checks import (
    ACCURACY_MARGIN,
    CALIBRATION_MARGIN,
    MOST_ACCURACY,
    ROUNDING_MARGIN,
    TIME_MARGIN,
    TIME_WIDE,
    PitCalibrationPresenter,
    QuantisationPresenter,
    TemporalPresenter,
    TwoSamplePresenter,
)
from noiseflow.evaluate.presentation.structure import (
    COLUMN_MARGIN,
    CORRELATION_MARGIN,
    PLANE_MARGIN,
    ROW_MARGIN,
    RowNoisePresenter,
    StructurePresenter,
)
from noiseflow.evaluate.statistics.intervals import LEVEL, Interval

SURE = 1e-4
"""Half of an interval that decides."""


def about(value: float, half: float = SURE) -> Interval:
    return Interval(value, half / 2, value - half, value + half, 9)


def unknown(value: float) -> Interval:
    return Interval(value, None, None, None, 1)


def verdicts(presenter: Presenter[Any], **score: Any) -> list[tuple[str, str]]:
    """Level and words of each finding."""
    return [(each.level, each.text) for each in presenter.findings(SimpleNamespace(**score), "A")]


def compared(real: float, sampled: float, half: float = SURE, part: str = "(0, 1)") -> SimpleNamespace:
    missing = about(real - sampled, half) if math.isfinite(half) else unknown(real - sampled)
    return SimpleNamespace(part=part, of={DATA: about(real), "A": about(sampled)}, missing={"A": missing})


NEUTRAL = compared(0.1, 0.1)


def structure(**changed: Any) -> list[tuple[str, str]]:
    known = {"lags": (NEUTRAL,), "columns": compared(1.0, 1.0), "planes": (NEUTRAL,), "pairs": (), "order": {"A": None}}
    return verdicts(StructurePresenter(), **{**known, **changed})


@pytest.mark.parametrize(
    ("real", "sampled", "half", "level", "words"),
    [
        (0.1, 0.1 - 0.9 * CORRELATION_MARGIN, SURE, "good", "as in the data"),
        (0.1, 0.1 - 1.1 * CORRELATION_MARGIN, SURE, "bad", "is too weak"),
        (0.1, 0.1 - 1.1 * CORRELATION_MARGIN, 0.02, "good", "as in the data"),
        (0.1, 0.1 + 1.1 * CORRELATION_MARGIN, SURE, "bad", "is too strong"),
        (0.1, 0.026, SURE, "bad", "is too weak"),
        (0.1, 0.024, SURE, "bad", "is missing"),
        (-0.1, -0.024, SURE, "bad", "is missing"),
        (-0.1, 0.026, SURE, "bad", "is too weak"),
        (0.1, 0.0, math.inf, "open", "Too few scenes"),
    ],
)
def test_correlation_in_space(real: float, sampled: float, half: float, level: str, words: str) -> None:
    found = structure(lags=(NEUTRAL, compared(real, sampled, half, "(2, 0)")))[0]
    assert found[0] == level
    assert words in found[1]
    assert ("(2, 0)" in found[1]) or level == "good"


@pytest.mark.parametrize(
    ("real", "sampled", "half", "level", "words"),
    [
        (2.0, 2.0 - 1.98 * COLUMN_MARGIN, SURE, "good", "as in the data"),
        (2.0, 2.0 - 2.02 * COLUMN_MARGIN, SURE, "bad", "too weak"),
        # Below 1 the margin is of 1.
        (0.5, 0.5 + 0.98 * COLUMN_MARGIN, SURE, "good", "as in the data"),
        (0.5, 0.5 + 1.02 * COLUMN_MARGIN, SURE, "bad", "too strong"),
        (2.0, 2.5, SURE, "bad", "too strong"),
        (2.0, 1.26, SURE, "bad", "too weak"),
        (2.0, 1.24, SURE, "bad", "missing"),
        (2.0, 1.24, 1.0, "good", "as in the data"),
        (2.0, 1.0, math.inf, "open", "Too few scenes"),
    ],
)
def test_columns(real: float, sampled: float, half: float, level: str, words: str) -> None:
    found = structure(columns=compared(real, sampled, half))[1]
    assert found[0] == level
    assert words in found[1]


def test_planes() -> None:
    share, pair = (compared(0.3, 0.3 - 1.1 * margin, part="B") for margin in (PLANE_MARGIN, CORRELATION_MARGIN))
    within = compared(0.3, 0.3 - 0.9 * PLANE_MARGIN)
    assert structure(planes=(within,), pairs=(compared(0.3, 0.3 - 0.9 * CORRELATION_MARGIN),))[2][0] == "good"
    level, words = structure(planes=(within, share))[2]
    assert level == "bad"
    assert "plane B has 30.0 % of the mean variance in the data, 27.8 % in the samples" in words
    level, words = structure(pairs=(pair,))[2]
    assert level == "bad"
    assert "planes B correlate by" in words
    assert structure(planes=(compared(0.3, 0.0, math.inf),))[2][0] == "open"
    assert "in the wrong order" in structure(order={"A": "B, G, R"})[2][1]
    assert len(structure(planes=())) == 2


def rows(real: Interval, sampled: float, half: float = SURE) -> tuple[str, str]:
    ratio = compared(real.value, sampled, half)
    ratio.ratio, ratio.signal_dn = {DATA: real, "A": about(sampled)}, 12.0
    (found,) = verdicts(RowNoisePresenter(), width=32, whole=ratio, signals=(ratio,))
    return found


@pytest.mark.parametrize(
    ("real", "sampled", "half", "level", "words"),
    [
        (about(2.0), 2.0 - 1.98 * ROW_MARGIN, SURE, "good", "have the row noise of the data"),
        (about(2.0), 2.0 - 2.02 * ROW_MARGIN, SURE, "bad", "too weak"),
        (about(2.0), 2.0 + 2.02 * ROW_MARGIN, SURE, "bad", "too strong"),
        (about(2.0), 1.26, SURE, "bad", "too weak"),
        (about(2.0), 1.24, SURE, "bad", "missing"),
        (about(2.0), 1.24, 1.0, "good", "have the row noise"),
        (about(2.0), 1.0, math.inf, "open", "Too few frames"),
        (about(1 + ROW_MARGIN + 2 * SURE), 1 + ROW_MARGIN, SURE, "good", "have the row noise"),
        (
            about(1 + ROW_MARGIN - 2 * SURE),
            1 + ROW_MARGIN,
            SURE,
            "good",
            "Neither the data nor the samples have row noise",
        ),
        (about(1 + ROW_MARGIN, 0.2), 1 + ROW_MARGIN, 0.2, "open", "is not settled"),
    ],
)
def test_row_noise(real: Interval, sampled: float, half: float, level: str, words: str) -> None:
    found = rows(real, sampled, half)
    assert found[0] == level
    assert words in found[1]


def curves(*ratios: float, count: int = FEWEST_IN_BIN, error: float = 1e-3) -> list[tuple[str, str]]:
    def moments(variance: float) -> SimpleNamespace:
        return SimpleNamespace(variance=variance, variance_error=error * variance / math.sqrt(2))

    bins = [
        SimpleNamespace(count=count, clean=10.0 * (1 + place), moments={DATA: moments(4.0), "A": moments(4.0 * ratio)})
        for place, ratio in enumerate(ratios)
    ]
    return verdicts(MeanVariancePresenter(), curves=(SimpleNamespace(camera="S6", iso=100.0, bins=tuple(bins)),))


def test_variance_against_signal() -> None:
    ((level, words),) = curves(1.0, 1 - 0.9 * VARIANCE_MARGIN, 1.01)
    assert level == "good"
    assert "in all 3 intensity bins" in words
    assert "off by at most 1.8 %." in words
    # Three bins are one verdict: 2.39 standard errors of a single one.
    reach = 2.394 * 1e-3
    assert curves(1.0, 1.0, 1 + VARIANCE_MARGIN + 0.9 * reach)[0][0] == "good"
    assert "within the errors of the bins" in curves(1.0, 1.0, 1 + VARIANCE_MARGIN + 0.9 * reach)[0][1]
    ((level, words),) = curves(1.0, 0.9, 1 + VARIANCE_MARGIN + 1.15 * reach)
    assert level == "bad"
    assert "off in 2 of 3 intensity bins" in words
    assert "most at 20 DN: 90.0 ± 0.2 % of the data’s" in words
    assert curves(0.5, count=FEWEST_IN_BIN - 1)[0][0] == "open"
    assert curves(0.5, count=FEWEST_IN_BIN)[0][0] == "bad"
    assert LEVEL == 0.95


def tails(real: int, sampled: int, half: float = SURE, part: float = 1e-3) -> tuple[str, str]:
    parts = {DATA: about(part), "A": about(part * sampled / max(real, 1))}
    missing = about(part * (1 - sampled / real), half * part) if math.isfinite(half) else unknown(0.0)
    beyond = SimpleNamespace(threshold=4.0, pixels={DATA: real, "A": sampled}, part=parts, missing={"A": missing})
    (found,) = verdicts(TailsPresenter(), beyond=(beyond,), kurtosis={DATA: about(3.5), "A": about(3.0)})
    return found


@pytest.mark.parametrize(
    ("real", "sampled", "half", "level", "words"),
    [
        (1000, round(1000 * (1 - 0.9 * TAIL_MARGIN)), SURE, "good", "match the data up to 4 σ"),
        (1000, round(1000 * (1 - 1.1 * TAIL_MARGIN)), SURE, "bad", "too light"),
        (1000, round(1000 * (1 + 1.1 * TAIL_MARGIN)), SURE, "bad", "too heavy"),
        (1000, 340, SURE, "bad", "too light"),
        (1000, 330, SURE, "bad", "missing"),
        # Nothing is proved: within a factor of two it passes, beyond it is open.
        (1000, 510, 2.0, "good", "match the data up to"),
        (1000, 490, 2.0, "open", "Too few scenes to decide"),
        (1000, 500, math.inf, "open", "Too few scenes for a verdict"),
        (FEWEST_BEYOND // 2, FEWEST_BEYOND // 2, SURE, "good", "match the data up to"),
        (FEWEST_BEYOND // 2, FEWEST_BEYOND // 2 - 1, SURE, "open", "No verdict"),
    ],
)
def test_tails(real: int, sampled: int, half: float, level: str, words: str) -> None:
    found = tails(real, sampled, half)
    assert found[0] == level
    assert words in found[1]
    if level in ("good", "bad"):
        assert "1 pixel in 1,000 is beyond 4 σ in the data" in found[1]


@pytest.mark.parametrize(
    ("excess", "level"),
    [
        (about(0.9 * TIME_MARGIN), "good"),
        (about(1.1 * TIME_MARGIN), "bad"),
        (about(-1.1 * TIME_MARGIN), "bad"),
        (about(1.1 * TIME_MARGIN, 0.02), "good"),
        (about(0.0, 1.01 * TIME_WIDE), "open"),
        (about(0.0, 0.99 * TIME_WIDE), "good"),
        (unknown(0.3), "open"),
    ],
)
def test_correlation_in_time(excess: Interval, level: str) -> None:
    assert [each[0] for each in verdicts(TemporalPresenter(), excess=excess, pairs=40)] == [level]
    assert verdicts(TemporalPresenter(), excess=None) == []


@pytest.mark.parametrize(
    ("accuracy", "level"),
    [
        (about(0.5 + 0.9 * ACCURACY_MARGIN), "good"),
        (about(0.5 + 1.1 * ACCURACY_MARGIN), "bad"),
        (about(0.53, 0.04), "good"),
        (about(0.5, 0.99 * MOST_ACCURACY), "good"),
        (about(0.5, 1.01 * MOST_ACCURACY), "open"),
        (unknown(0.9), "open"),
    ],
)
def test_telling_apart(accuracy: Interval, level: str) -> None:
    score = {"accuracy": {"A": accuracy}, "shape": (4, 16, 16), "pieces": 90}
    assert [each[0] for each in verdicts(TwoSamplePresenter(), **score)] == [level]
    assert verdicts(TwoSamplePresenter(), **{**score, "accuracy": {}})[0][0] == "open"


@pytest.mark.parametrize(
    ("error", "half", "level"),
    [(0.9, SURE, "good"), (1.1, SURE, "bad"), (-1.1, SURE, "bad"), (1.1, 0.02, "good"), (5.0, math.inf, "open")],
)
def test_calibration(error: float, half: float, level: str) -> None:
    below = [about(each) for each in LEVELS]
    off = LEVELS[2] + error * CALIBRATION_MARGIN
    below[2] = about(off, half) if math.isfinite(half) else unknown(off)
    coverage = SimpleNamespace(below=tuple(below))
    ((found, words),) = verdicts(PitCalibrationPresenter(), models={"A": coverage})
    assert found == level
    assert f"the density’s {100 * LEVELS[2]:g} % quantile" in words
    assert verdicts(PitCalibrationPresenter(), models={}) == []


@pytest.mark.parametrize("step", [1, 4])
@pytest.mark.parametrize(
    ("on", "coarse", "level", "words"),
    [
        (ON, True, "good", "are on the camera’s codes"),
        (0.99 * ON, True, "bad", "Quantisation is missing"),
        (0.99 * ON, False, "good", "too fine for this to matter"),
    ],
)
def test_codes(step: int, on: float, coarse: bool, level: str, words: str) -> None:
    """Rounding adds step²/12: coarse from a fiftieth of σ² on."""
    sigma = math.sqrt(step**2 / 12 / ROUNDING_MARGIN) * (0.99 if coarse else 1.01)
    cell = SimpleNamespace(camera="S6", iso=100.0, step=step, sigma_dn=sigma, on_codes={DATA: 1.0, "A": on})
    ((found, said),) = verdicts(QuantisationPresenter(), cells=(cell,))
    assert found == level
    assert words in said
    none = SimpleNamespace(**{**vars(cell), "step": None})
    assert "not on whole codes" in verdicts(QuantisationPresenter(), cells=(none,))[0][1]
