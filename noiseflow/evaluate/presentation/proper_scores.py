"""Sentences of the proper scores."""

from collections.abc import Sequence

from noiseflow.evaluate.data_summary import CLOSE_VALUES
from noiseflow.evaluate.metric import DATA
from noiseflow.evaluate.metrics.proper_scores import EXCESS_LEVEL, PARTNERS, ProperScores
from noiseflow.evaluate.presentation.formatting import percent, plus_minus
from noiseflow.evaluate.presentation.presenter import Finding, Presenter, Record, TableRow

__all__ = ["PRESENTER"]

NAMES = {"crps": "CRPS by pixel", "energy": "Energy score of a patch"}
"""Names of the scores for the reader."""


class ProperScoresPresenter(Presenter[ProperScores]):
    """Presents `ProperScores`."""

    title = "Proper scores"

    method = (
        f"From samples alone, on at most {CLOSE_VALUES:,} values of each source: residuals (noise over the real "
        "noise’s σ at that signal, ±½ code added). CRPS = mean |x − y| − ½ mean |x − x′| per pixel, with y real and "
        "x, x′ sampled. The energy score is the same with the Euclidean norm of the patch, divided by the root of its "
        f"number of values. x′ and y′ are from {PARTNERS} other patches of similar signal in other scenes. The excess, "
        "½ mean(|x − y′| + |x′ − y| − |x − x′| − |y − y′|), is the score minus that of real noise: half the energy "
        "distance, and 0 on average for the true model. It is flagged if its "
        f"{percent(EXCESS_LEVEL, 2)} interval over scenes is above 0. All are in units of σ; lower is better. The "
        "energy score of a patch is sensitive to its variance, but hardly to correlation."
    )

    def findings(self, score: ProperScores, tested: str) -> Sequence[Finding]:
        """Return whether the excess is above zero."""
        excess = {"crps": score.crps_excess[tested], "energy": score.energy_excess[tested]}
        by = " and ".join(f"{plus_minus(value, 5)} ({NAMES[name]})" for name, value in excess.items())
        if any(value.low is None for value in excess.values()):
            return [Finding("open", "proper_scores", f"Too few scenes for intervals of the proper scores: {by}.")]
        if any(value.above(0.0) for value in excess.values()):
            return [Finding("bad", "proper_scores", f"By proper scores the samples are worse than real noise: {by}.")]
        return [Finding("good", "proper_scores", f"By proper scores the samples are as good as real noise: {by}.")]

    def table(self, score: ProperScores) -> Sequence[TableRow]:
        """Return scores and excesses."""
        rows = []
        for name, words in NAMES.items():
            scores, excess = getattr(score, name), getattr(score, f"{name}_excess")
            cells = {model: plus_minus(value, 4) for model, value in scores.items()}
            rows.append(TableRow(words, "σ", "low", {DATA: "", **cells}))
            cells = {model: plus_minus(value, 5) for model, value in excess.items()}
            rows.append(TableRow(f"{words}, above real noise", "σ", "0", {DATA: "", **cells}))
        return rows

    def records(self, score: ProperScores) -> Sequence[Record]:
        """Return scores and excesses."""
        return [
            Record(f"{name}{suffix}", "σ", model, None, None, "", *value.numbers)
            for name in NAMES
            for suffix in ("", "_excess")
            for model, value in getattr(score, f"{name}{suffix}").items()
        ]


PRESENTER = ProperScoresPresenter()
