"""Words of the stronger two-sample tests."""

from collections.abc import Sequence

from noiseflow.evaluate.data_summary import CLOSE_VALUES
from noiseflow.evaluate.judges.judge import JUDGES
from noiseflow.evaluate.metric import DATA
from noiseflow.evaluate.metrics.judges import FEWEST, LEVEL, Judges
from noiseflow.evaluate.presentation.formatting import join, percent, plus_minus
from noiseflow.evaluate.presentation.presenter import Finding, Presenter, Record, TableRow

__all__ = ["PRESENTER"]

MARGIN = 0.01
"""Accuracy above ½ that passes as chance, as in the two-sample test."""

MOST_ACCURACY = 0.15
"""Largest reach of an interval above ½ at which real and sampled are called alike."""


class JudgesPresenter(Presenter[Judges]):
    """Words of `Judges`."""

    title = "Stronger two-sample tests"

    @property
    def method(self) -> str:  # type: ignore[override]
        """What each judge looks at."""
        each = " ".join(f"{judge.name[0].upper()}{judge.name[1:]}: {judge.method}" for judge in JUDGES.values())
        return (
            f"On whole patches, at most {CLOSE_VALUES:,} values of each source: residuals (noise over the real "
            f"noise’s σ at that signal, ±½ code added). {each} Each is tried on scenes it has not seen. Chance is "
            f"50 %. Real and sampled differ where a judge’s {percent(LEVEL, 2)} interval over scenes is above 50 % "
            f"and its accuracy above {percent(0.5 + MARGIN)}."
        )

    def findings(self, score: Judges, tested: str) -> Sequence[Finding]:
        """Who can tell real from sampled."""
        if not score.accuracy:
            text = f"The stronger two-sample tests want {FEWEST} patches; there are {score.patches}."
            return [Finding("open", "judges", text)]
        of = {JUDGES[judge].name: accuracy[tested] for judge, accuracy in score.accuracy.items()}
        said = {name: f"{name} ({plus_minus(value.scaled(100.0), 1)} %)" for name, value in of.items()}
        seen = [name for name, value in of.items() if value.above(0.5) and value.value > 0.5 + MARGIN]
        if seen:
            text = f"Real and sampled are told apart, 50 % being chance, by {join([said[name] for name in seen])}."
            return [Finding("bad", "judges", text)]
        if not all(value.below(0.5 + MOST_ACCURACY) for value in of.values()):
            text = f"Too few scenes to say whether stronger tests tell real from sampled: {join(list(said.values()))}."
            return [Finding("open", "judges", text)]
        text = f"Stronger tests cannot tell real from sampled, 50 % being chance: {join(list(said.values()))}."
        return [Finding("good", "judges", text)]

    def table(self, score: Judges) -> Sequence[TableRow]:
        """Accuracies, a row a judge."""
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
        """Accuracies."""
        return [
            Record("judge_accuracy", "1", name, None, None, judge, *value.numbers)
            for judge, accuracy in score.accuracy.items()
            for name, value in accuracy.items()
        ]


PRESENTER = JudgesPresenter()
