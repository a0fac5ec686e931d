"""Contract of a presenter, which makes sentences, table rows, figures and records from the numbers of a metric."""

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
    """The verdict of one check.

    Parameters
    ----------
    level : str
        ``"good"``, ``"bad"``, or ``"open"`` if the data is not sufficient to decide.
    measure : str
        Name of the check.
    text : str
        One or more sentences for the user.
    """

    level: Literal["good", "bad", "open"]
    measure: str
    text: str


@dataclass(frozen=True)
class TableRow:
    """One row of the table of results.

    Parameters
    ----------
    measure, unit : str
        Name of the measure, and its unit.
    good : str
        Description of a good value.
    cells : mapping of str to str
        Text for each source.
    """

    measure: str
    unit: str
    good: str
    cells: Mapping[str, str]


@dataclass(frozen=True)
class Record:
    """One number, a row of ``metrics.csv``.

    Parameters
    ----------
    measure, unit : str
        Name of the measure, and its unit.
    model : str
        Name of the model, or of the data.
    camera : str or None
        Name of the camera; None for all.
    iso : float or None
        ISO; None for all.
    part : str
        Part of the data, such as a plane or a bin of intensity; empty for all.
    value : float
        The number.
    standard_error, low, high : float, optional
        Its standard error, and the ends of its interval.
    """

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
    """Presents the numbers of a metric; this base class shows those that belong to a model as a plain table.

    Parameters
    ----------
    name : str
        Name of the metric in ``metrics.json``, used as the heading of a presenter without a title.
    """

    title: str = ""
    """Heading of the section."""

    method: str = ""
    """Description of the method in a few sentences, with every constant that the result depends on."""

    def __init__(self, name: str = "") -> None:
        self.title = self.title or name.replace("_", " ").capitalize()

    def findings(self, score: ScoreType, tested: str) -> Sequence[Finding]:
        """Return the verdicts on the model under test, by thresholds that `method` states."""
        return []

    def table(self, score: ScoreType) -> Sequence[TableRow]:
        """Return rows of the table of results."""
        return [
            TableRow(name.replace("_", " ").capitalize(), "", "", {model: _text(value) for model, value in of.items()})
            for name, of in _numbers(score)
        ]

    def records(self, score: ScoreType) -> Sequence[Record]:
        """Return all numbers as flat records."""
        return [
            Record(name, "", model, None, None, "", *value.numbers)
            if isinstance(value, Interval)
            else Record(name, "", model, None, None, "", float(value))
            for name, of in _numbers(score)
            for model, value in of.items()
        ]

    def plates(self, score: ScoreType, pens: Mapping[str, Pen]) -> Sequence[Plate]:
        """Return the figures, with a pen for each source."""
        return []


def _numbers(score: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield name and value of the fields of a score that have one number per model."""
    for field in fields(score):
        value = getattr(score, field.name)
        if isinstance(value, Mapping) and all(isinstance(each, (Interval, int, float)) for each in value.values()):
            yield field.name, value


def _text(value: Any) -> str:
    return plus_minus(value) if isinstance(value, Interval) else significant(float(value))
