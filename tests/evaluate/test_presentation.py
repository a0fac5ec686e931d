"""Presentation from numbers alone: one interval in words and figures, hostile names, metrics without a presenter."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from noiseflow.core.sortable import SORT_SCRIPT
from noiseflow.core.text import csv_cell
from noiseflow.evaluate import Data, Evaluation
from noiseflow.evaluate.metric import Score
from noiseflow.evaluate.metrics.likelihood import (
    CodeLikelihood,
    CodeLikelihoodCell,
    DensityLikelihood,
    DensityLikelihoodCell,
)
from noiseflow.evaluate.metrics.two_sample import TwoSample
from noiseflow.evaluate.presentation.figures import axes, bars, canvas, dots, pens_for
from noiseflow.evaluate.presentation.formatting import plus_minus, renamed, shown_names
from noiseflow.evaluate.presentation.present import presenter_of
from noiseflow.evaluate.presentation.sample_checks import _in_percent
from noiseflow.evaluate.report.report import page
from noiseflow.evaluate.statistics.intervals import Interval

LOPSIDED = Interval(0.0025, 0.0012, 0.0002, 0.0117, 9)
HOSTILE = ("cost$_$", "<script>alert(1)</script>", "a\nb\x1b[31m", "abc\u202egnp", "x" * 10_000, "[/b]", "_hidden")


def evaluation(tested: str, other: str, camera: str = "S6", difference: Interval = LOPSIDED) -> Evaluation:
    nll = {tested: Interval(1.0, 0.1, 0.8, 1.2, 9), other: Interval(1.1, 0.1, 0.9, 1.3, 9)}
    density = [
        DensityLikelihoodCell(name, iso, "", 10.0, 9, 9, {other: difference}, nll, nll)
        for name, iso in ((None, None), (camera, 100.0), (camera, 800.0))
    ]
    codes = CodeLikelihoodCell(None, None, "", 10.0, 9, 9, {other: difference}, nll)
    scores: Mapping[str, Score] = {
        "likelihood": DensityLikelihood(
            False, "scene", dict.fromkeys(nll, ""), {}, (1.0,), dict.fromkeys(nll, (1.0,)), tuple(density), (), ()
        ),
        "codes": CodeLikelihood(False, "scene", dict.fromkeys(nll, "exact"), 9.0, (codes,), (), (), ()),
        "two_sample": TwoSample(400, (4, 16, 16), 90, dict.fromkeys(nll, Interval(0.93, 0.05, -6.0, 7.9, 2))),
    }
    data = Data(
        "patches.h5", "0" * 64, "bayer", "gt", "test", 9, 9, (4, 16, 16), 9, 9, "scene", 9, 0.0, (camera,), (1,)
    )
    return Evaluation((tested, other), {}, data, 0, scores, ())


def ends_drawn(draw: Any, value: Interval) -> tuple[float, ...]:
    with canvas() as figure:
        ax = axes(figure, "", "")
        draw(ax, value)
        (container,) = ax.containers
        (segments,) = container[2]
        return tuple(sorted({float(end) for point in segments.get_segments()[0] for end in point}))


def test_text_and_figure_show_the_same_interval() -> None:
    assert plus_minus(LOPSIDED) == "0.0025 (0.0002 to 0.0117)"
    pen = pens_for("data", ["m"])["m"]
    low, high = LOPSIDED.low, LOPSIDED.high
    assert ends_drawn(lambda ax, value: dots(ax, [value], [5.0], pen, "m"), LOPSIDED) == pytest.approx((low, high, 5.0))
    assert ends_drawn(lambda ax, value: bars(ax, [5.0], [value], pen, "m"), LOPSIDED) == pytest.approx((low, high, 5.0))


def test_a_symmetric_interval_keeps_its_plus_minus() -> None:
    assert plus_minus(Interval(0.412, 0.01, 0.392, 0.4325, 9)) == "0.412 ± 0.020"


@pytest.mark.parametrize(
    ("value", "least", "most", "words"),
    [
        (Interval(0.93, 0.5, -6.0, 7.9, 2), 0.0, 1.0, "0.9300"),
        (Interval(0.976, 0.02, 0.927, 1.025, 9), 0.0, 1.0, "0.976 (0.927 to 1.000)"),
        (Interval(0.1, 0.1, -1.4, 1.6, 2), 0.0, float("inf"), "0.10 (0.00 to 1.60)"),
        (Interval(0.5, 0.1, 0.4, 0.6, 9), 0.0, 1.0, "0.50 ± 0.10"),
    ],
)
def test_an_interval_stays_within_the_range_of_its_measure(
    value: Interval, least: float, most: float, words: str
) -> None:
    assert plus_minus(value.within(least, most)) == words


def test_two_frames_cannot_decide_and_the_report_says_what_would() -> None:
    few = evaluation("mine", "other", difference=Interval(0.1, 0.1, -1.4, 1.6, 2))
    likelihood, *_ = few.findings
    assert likelihood.text.endswith("2 scenes cannot decide: score at least 8 scenes.")
    two_sample = few.findings[-1]
    assert two_sample.level == "open"
    assert "±" not in two_sample.text
    assert "score at least 8 scenes" in two_sample.text


def test_an_evaluation_is_short_in_a_notebook() -> None:
    shown = evaluation("<b>mine</b>", "other")
    assert len(repr(shown)) < 500
    assert "<b>mine</b>" in repr(shown)
    html = shown._repr_html_()
    assert len(html) < 20_000
    assert "<table" in html
    assert "<b>" not in html


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_harmless_in_a_page(name: str) -> None:
    html = page(evaluation(name, "other", camera=name))
    assert "<script" not in html.replace(SORT_SCRIPT, "")
    assert "\x1b" not in html
    assert "\u202e" not in html
    assert "x" * 100 not in html
    assert html.count("data:image/svg") == 4


def test_distinct_names_stay_distinct() -> None:
    long = ["x" * 10_000 + end + "x" * 10_000 for end in "ab"]
    names = shown_names([*long, "plain", ""])
    assert "plain" not in names
    assert len(set(names.values())) == 3
    assert renamed((long[0], {long[1]: f"about {long[1]}."}), names) == (
        names[long[0]],
        {names[long[1]]: f"about {names[long[1]]}."},
    )


def test_a_formula_in_a_table_is_text() -> None:
    shown = evaluation("=HYPERLINK(1)", "other")
    text = io.StringIO()
    csv.writer(text).writerows([csv_cell(record.model)] for record in shown.records())
    assert "\n=" not in "\n" + text.getvalue()
    assert "'=HYPERLINK(1)" in text.getvalue()


@dataclass(frozen=True)
class Sharpness(Score):
    """A toy."""

    sharpness: Mapping[str, Interval]
    patches: int


def test_a_metric_without_a_presenter_gets_a_plain_table() -> None:
    score = Sharpness({"mine": Interval(0.5, 0.05, 0.4, 0.6, 9)}, 7)
    presenter = presenter_of("edge_sharpness")
    assert presenter.title == "Edge sharpness"
    (row,) = presenter.table(score)
    assert (row.measure, row.cells) == ("Sharpness", {"mine": "0.50 ± 0.10"})
    (record,) = presenter.records(score)
    assert (record.measure, record.model, record.value, record.low) == ("sharpness", "mine", 0.5, 0.4)
    assert presenter.findings(score, "mine") == []


def test_pages_have_contents_dark_mode_and_a_cue_to_scroll() -> None:
    html = page(evaluation("mine", "other"))
    for anchor in ("results", "likelihood", "methods", "data"):
        assert f'href="#{anchor}"' in html
        assert f'id="{anchor}"' in html
    assert "prefers-color-scheme: dark" in html
    assert "Scroll the table sideways" in html
    assert "@media print" in html
    # A click on a measure sorts the models; without scripts nothing says so.
    assert '<table data-sort="columns">' in html
    assert html.endswith(f"{SORT_SCRIPT}\n</body>\n</html>")
    assert '<p class="method sorts" hidden>' in html
    assert "<button" not in html.replace(SORT_SCRIPT, "")


def test_a_correlation_s_interval_ends_at_one_on_both_sides() -> None:
    from noiseflow.evaluate.presentation.structure import _correlation

    assert _correlation(Interval(0.95, 0.1, 0.75, 1.15, 9)) == _correlation(Interval(0.95, 0.1, 0.75, 1.0, 9))
    assert _correlation(Interval(-0.95, 0.1, -1.15, -0.75, 9)) == _correlation(Interval(-0.95, 0.1, -1.0, -0.75, 9))


def test_an_accuracy_in_a_figure_is_in_percent_and_at_most_all() -> None:
    found = _in_percent(Interval(0.8, 0.1, 0.55, 1.05, 9))
    assert (found.value, found.low, found.high) == pytest.approx((80, 55, 100))
