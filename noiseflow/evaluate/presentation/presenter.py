"""What a presenter is: it makes sentences, table rows, figures and records from the numbers of a metric."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Generic, Literal, TypeVar

from noiseflow.evaluate.metric import Score
from noiseflow.evaluate.presentation.figures import Pen, Plate
from noiseflow.evaluate.presentation.formatting import plus_minus, significant
from noiseflow.evaluate.statistics.intervals import Interval

__all__ = ["Finding", "Presenter", "Record", "TableRow"]


@dataclass(frozen=True)
class Finding:
    """One sentence of the verdict, and whether it is good news.

    ``"open"`` means that the data does not decide.
    """

    level: Literal["good", "bad", "open"]
    measure: str
    text: str


@dataclass(frozen=True)
class TableRow:
    """One measure in the table of results: a text per source, and what good looks like."""

    measure: str
    unit: str
    good: str
    cells: Mapping[str, str]


@dataclass(frozen=True)
class Record:
    """One number of ``metrics.csv``."""

    measure: str
    unit: str
    model: str
    camera: str | None
    iso: float | None
    part: str
    value: float
    standard_error: float | None = None
    low: float | None = None
    high: float | None = None


ScoreType = TypeVar("ScoreType", bound=Score)


class Presenter(Generic[ScoreType]):
    """How the numbers of a metric are shown; as it stands, a plain table of those that belong to a model.

    Parameters
    ----------
    name : str
        Name of the metric in ``metrics.json``; the heading where a presenter has no title.
    """

    title: str = ""
    """Heading of its section."""

    method: str = ""
    """How it is measured, in a few sentences, with every constant that it depends on."""

    def __init__(self, name: str = "") -> None:
        self.title = self.title or name.replace("_", " ").capitalize()

    def findings(self, score: ScoreType, tested: str) -> Sequence[Finding]:
        """Verdict on the model under test, each sentence by a threshold that `method` states."""
        return []

    def table(self, score: ScoreType) -> Sequence[TableRow]:
        """Rows of the table of results."""
        return [
            TableRow(name.replace("_", " ").capitalize(), "", "", {model: _text(value) for model, value in of.items()})
            for name, of in _numbers(score)
        ]

    def records(self, score: ScoreType) -> Sequence[Record]:
        """All its numbers, flat."""
        return [
            Record(name, "", model, None, None, "", *value.numbers)
            if isinstance(value, Interval)
            else Record(name, "", model, None, None, "", float(value))
            for name, of in _numbers(score)
            for model, value in of.items()
        ]

    def plates(self, score: ScoreType, pens: Mapping[str, Pen]) -> Sequence[Plate]:
        """Its figures."""
        return []


def _numbers(score: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The fields of a score that hold a number per model."""
    for field in fields(score):
        value = getattr(score, field.name)
        if isinstance(value, Mapping) and all(isinstance(each, (Interval, int, float)) for each in value.values()):
            yield field.name, value


def _text(value: Any) -> str:
    return plus_minus(value) if isinstance(value, Interval) else significant(float(value))
