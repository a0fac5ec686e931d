"""Sentences of the stronger two-sample tests."""

from collections.abc import Sequence

from noiseflow.evaluate.data_summary import CLOSE_VALUES
from noiseflow.evaluate.judges.judge import JUDGES
from noiseflow.evaluate.metric import DATA
from noiseflow.evaluate.metrics.judges import FEWEST, LEVEL, Judges
from noiseflow.evaluate.presentation.formatting import join, percent, plus_minus
from noiseflow.evaluate.presentation.presenter import Finding, Presenter, Record, TableRow

__all__ = ["PRESENTER"]

MARGIN = 0.01
"""Largest accuracy above ½ that counts as chance, as in the two-sample test."""

MOST_ACCURACY = 0.15
"""Largest upper end of an interval, above ½, at which real and sampled noise count as indistinguishable."""


class JudgesPresenter(Presenter[Judges]):
    """Presents `Judges`."""

    title = "Stronger two-sample tests"

    @property
    def method(self) -> str:  # type: ignore[override]
        """Description of the method, with the features of each judge."""
        each = " ".join(f"{judge.name[0].upper()}{judge.name[1:]}: {judge.method}" for judge in JUDGES.values())
        return (
            f"On whole patches, at most {CLOSE_VALUES:,} values of each source: residuals (noise over the real "
            f"noise’s σ at that signal, ±½ code added). {each} Each is tested on scenes that it was not trained on. "
            f"Chance is 50 %. Real and sampled noise differ if a judge’s {percent(LEVEL, 2)} interval over scenes is "
            f"above 50 % and its accuracy is above {percent(0.5 + MARGIN)}."
        )

    def findings(self, score: Judges, tested: str) -> Sequence[Finding]:
        """Return which judges can distinguish real from sampled noise."""
        if not score.accuracy:
            text = f"The stronger two-sample tests need at least {FEWEST} patches; there are {score.patches}."
            return [Finding("open", "judges", text)]
        accuracy = {JUDGES[judge].name: of_models[tested] for judge, of_models in score.accuracy.items()}
        shown = {name: f"{name} ({plus_minus(value.scaled(100.0), 1)} %)" for name, value in accuracy.items()}
        right = [name for name, value in accuracy.items() if value.above(0.5) and value.value > 0.5 + MARGIN]
        if right:
            judges = join([shown[name] for name in right])
            text = f"Real and sampled noise can be distinguished (chance is 50 %) by {judges}."
            return [Finding("bad", "judges", text)]
        all_judges = join(list(shown.values()))
        if not all(value.below(0.5 + MOST_ACCURACY) for value in accuracy.values()):
            text = f"Too few scenes to decide whether stronger tests distinguish real from sampled noise: {all_judges}."
            return [Finding("open", "judges", text)]
        text = f"Stronger tests cannot distinguish real from sampled noise (chance is 50 %): {all_judges}."
        return [Finding("good", "judges", text)]

    def table(self, score: Judges) -> Sequence[TableRow]:
        """Return one row of accuracies per judge."""
        return [
            TableRow(
                f"Two-sample test, {JUDGES[judge].name}",
                "held-out accuracy, %",
                "50",
                {DATA: "", **{name: plus_minus(value.scaled(100.0), 1) for name, value in accuracy.items()}},
            )
            for judge, accuracy in score.accuracy.items()
        ]

    def records(self, score: Judges) -> Sequence[Record]:
        """Return the accuracies."""
        return [
            Record("judge_accuracy", "1", name, None, None, judge, *value.numbers)
            for judge, accuracy in score.accuracy.items()
            for name, value in accuracy.items()
        ]


PRESENTER = JudgesPresenter()
