"""The words, tables and figures of all the scores of an evaluation, made from their numbers alone."""

from collections.abc import Mapping
from typing import Any

from noiseflow.evaluate.metric import Score
from noiseflow.evaluate.metrics.likelihood import CodeLikelihood, DensityLikelihood
from noiseflow.evaluate.presentation.figures import Pen
from noiseflow.evaluate.presentation.formatting import join
from noiseflow.evaluate.presentation.likelihood import standing
from noiseflow.evaluate.presentation.presenter import Finding, Record, TableRow
from noiseflow.evaluate.presentation.registry import presenter_of

__all__ = ["LIKELIHOODS", "MEASURES", "findings", "headline", "methods", "records", "sections", "table"]

Scores = Mapping[str, Score]
"""By the metric's name."""

LIKELIHOODS = ("nll", "nll_codes", "oracle")
"""Measures of findings that are a comparison with other models, not a check."""

MEASURES = {
    "kl": "histogram",
    "variance": "variance",
    "skewness": "skewness",
    "mean_variance": "variance by intensity",
    "conditional": "distribution by intensity",
    "tails": "tails",
    "row_noise": "row noise",
    "columns": "column noise",
    "correlation": "spatial correlation",
    "planes": "planes",
    "temporal": "correlation in time",
    "quantisation": "quantisation",
    "calibration": "calibration of the density",
    "two_sample": "two-sample test",
}
"""Measures of findings in the words of a reader."""


def findings(scores: Scores, tested: str) -> tuple[Finding, ...]:
    """The verdict on a model, sentence by sentence."""
    return tuple(finding for name, score in scores.items() for finding in presenter_of(name).findings(score, tested))


def headline(scores: Scores, tested: str) -> str:
    """The verdict in one or two sentences."""
    checks = [each for each in findings(scores, tested) if each.measure not in (*LIKELIHOODS, "legacy_kl")]
    bad, unsettled = (
        [MEASURES.get(each.measure, each.measure) for each in checks if each.level == level]
        for level in ("bad", "open")
    )
    if bad:
        samples = f"Its samples are off in {len(bad)} of {len(checks)} checks: {join(bad)}."
    elif unsettled:
        passed = len(checks) - len(unsettled)
        samples = f"Its samples pass {passed} of {len(checks)} checks; not settled: {join(unsettled)}."
    else:
        samples = f"Its samples pass all {len(checks)} checks."
    return f"{_standing(scores, tested)} {samples}"


def _standing(scores: Scores, tested: str) -> str:
    density, codes = scores["likelihood"], scores["codes"]
    assert isinstance(density, DensityLikelihood)
    assert isinstance(codes, CodeLikelihood)
    if tested not in density.density:
        return f"{tested} has no likelihood."
    found = standing(codes if density.coarse else density)
    parts = [
        f"{words} {join(list(names))}"
        for words, names in (
            ("better than", found.better),
            ("not told apart from", found.equal),
            ("worse than", found.worse),
        )
        if names
    ]
    if not parts:
        return f"{tested} is scored without a baseline."
    return f"By likelihood {'of the integers ' if density.coarse else ''}{tested} is {', '.join(parts)}."


def table(scores: Scores) -> tuple[TableRow, ...]:
    """The table of results."""
    return tuple(row for name, score in scores.items() for row in presenter_of(name).table(score))


def records(scores: Scores) -> tuple[Record, ...]:
    """All numbers, flat: what ``metrics.csv`` holds."""
    return tuple(record for name, score in scores.items() for record in presenter_of(name).records(score))


def methods(scores: Scores) -> dict[str, str]:
    """How each metric is measured."""
    return {name: presenter_of(name).method for name in scores}


def sections(scores: Scores, pens: Mapping[str, Pen]) -> list[dict[str, Any]]:
    """Heading, method and figures of each metric."""
    return [
        {
            "name": name,
            "title": presenter_of(name).title,
            "method": presenter_of(name).method,
            "plates": presenter_of(name).plates(score, pens),
        }
        for name, score in scores.items()
    ]
