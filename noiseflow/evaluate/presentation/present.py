"""Sentences, tables and figures of all scores of an evaluation, made from their numbers alone."""

from collections.abc import Mapping
from typing import Any

from noiseflow.core.progress import Progress, silent
from noiseflow.core.registry import Registry
from noiseflow.core.text import counted
from noiseflow.evaluate.data_summary import FEWEST_SCENES
from noiseflow.evaluate.metric import Score, Setup
from noiseflow.evaluate.metrics.denoising import DenoisingCost
from noiseflow.evaluate.metrics.likelihood import CodeLikelihood, DensityLikelihood
from noiseflow.evaluate.presentation.denoising import DenoisingPresenter, cost_in_words
from noiseflow.evaluate.presentation.distribution import ConditionalPresenter, MarginalPresenter
from noiseflow.evaluate.presentation.figures import Pen
from noiseflow.evaluate.presentation.formatting import join, percent
from noiseflow.evaluate.presentation.likelihood import CodeLikelihoodPresenter, DensityLikelihoodPresenter, standing
from noiseflow.evaluate.presentation.moments import MeanVariancePresenter, TailsPresenter
from noiseflow.evaluate.presentation.presenter import Finding, Presenter, Record, TableRow
from noiseflow.evaluate.presentation.sample_checks import (
    LegacyKlPresenter,
    PitCalibrationPresenter,
    QuantisationPresenter,
    TemporalPresenter,
    TwoSamplePresenter,
)
from noiseflow.evaluate.presentation.structure import RowNoisePresenter, StructurePresenter

__all__ = [
    "LIKELIHOODS",
    "MEASURES",
    "OPTIONAL_PRESENTERS",
    "PRESENTERS",
    "findings",
    "headline",
    "methods",
    "notes",
    "presenter_of",
    "records",
    "sections",
    "table",
]

PRESENTERS: dict[str, Presenter[Any]] = {
    "likelihood": DensityLikelihoodPresenter(),
    "codes": CodeLikelihoodPresenter(),
    "calibration": PitCalibrationPresenter(),
    "marginal": MarginalPresenter(),
    "mean_variance": MeanVariancePresenter(),
    "conditional": ConditionalPresenter(),
    "tails": TailsPresenter(),
    "row_noise": RowNoisePresenter(),
    "structure": StructurePresenter(),
    "temporal": TemporalPresenter(),
    "quantisation": QuantisationPresenter(),
    "two_sample": TwoSamplePresenter(),
    "denoising": DenoisingPresenter(),
    "legacy_kl": LegacyKlPresenter(),
}
"""Presenters by the names of their metrics in `noiseflow.evaluate.metrics.registry.METRICS`."""

OPTIONAL_PRESENTERS = Registry[Presenter[Any]](
    {
        "judges": "noiseflow.evaluate.presentation.judges:PRESENTER",
        "proper_scores": "noiseflow.evaluate.presentation.proper_scores:PRESENTER",
        "samples_digest": "noiseflow.evaluate.presentation.samples_digest:PRESENTER",
    }
)
"""Presenters of metrics that are rarely requested, imported on demand."""

Scores = Mapping[str, Score]
"""Scores by the names of their metrics."""

LIKELIHOODS = ("nll", "nll_codes", "oracle")
"""Measures of findings that compare with other models and are not checks."""

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
    "judges": "stronger two-sample tests",
    "proper_scores": "proper scores",
    "denoising": "cost of a denoiser",
}
"""Names of the checks for the reader, by the measures of their findings."""

MOST_CLIPPED = 0.001
"""Fraction of clipped pixels above which a note is added."""

FEW_GROUPS = 5
"""Number of groups below which a note is added."""


def presenter_of(name: str) -> Presenter[Any]:
    """Return the presenter of a metric, or a plain one if it has none."""
    return OPTIONAL_PRESENTERS[name] if name in OPTIONAL_PRESENTERS else PRESENTERS.get(name) or Presenter(name)


def findings(scores: Scores, tested: str) -> tuple[Finding, ...]:
    """Return the verdict of each check on the model under test, `tested`."""
    return tuple(finding for name, score in scores.items() for finding in presenter_of(name).findings(score, tested))


def headline(scores: Scores, tested: str) -> str:
    """Return the verdict on the model under test, `tested`, in two or three sentences."""
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
    denoising = scores.get("denoising")
    cost = cost_in_words(denoising, tested) if isinstance(denoising, DenoisingCost) else ""
    return " ".join(filter(None, (_standing(scores, tested), samples, cost)))


def _standing(scores: Scores, tested: str) -> str:
    """Return a sentence that compares the model under test with the others by likelihood."""
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
            ("not distinguishable from", found.equal),
            ("worse than", found.worse),
        )
        if names
    ]
    if not parts:
        return f"{tested} is scored without a baseline."
    return f"By likelihood {'of the integers ' if density.coarse else ''}{tested} is {', '.join(parts)}."


def table(scores: Scores) -> tuple[TableRow, ...]:
    """Return the rows of the table of results."""
    return tuple(row for name, score in scores.items() for row in presenter_of(name).table(score))


def records(scores: Scores) -> tuple[Record, ...]:
    """Return all numbers as flat records, the rows of ``metrics.csv``."""
    return tuple(record for name, score in scores.items() for record in presenter_of(name).records(score))


def methods(scores: Scores) -> dict[str, str]:
    """Return the description of each metric's method."""
    return {name: presenter_of(name).method for name in scores}


def sections(scores: Scores, pens: Mapping[str, Pen], progress: Progress = silent) -> list[dict[str, Any]]:
    """Return name, heading, method and figures of each metric.

    Parameters
    ----------
    scores : mapping of str to Score
        Scores by the names of their metrics.
    pens : mapping of str to Pen
        Pen of each source.
    progress : Progress
        Called with the number of sections done.

    Returns
    -------
    list of dict
        ``name``, ``title``, ``method`` and ``plates`` of each section.
    """
    found = []
    for done, (name, score) in enumerate(scores.items()):
        presenter = presenter_of(name)
        progress(done, len(scores), presenter.title)
        facts = {"name": name, "title": presenter.title, "method": presenter.method}
        found.append({**facts, "plates": presenter.plates(score, pens)})
    progress(len(scores), len(scores))
    return found


def notes(setup: Setup) -> tuple[str, ...]:
    """Return the limits of the data and of the models, as sentences for the user."""
    found = setup.survey
    sentences = [f"{name} has no likelihood: “{reason}”." for name, reason in setup.without_density.items()]
    if len({cell.iso for cell in found.cells}) == 1:
        sentences.append(f"All of the data is at ISO {found.cells[0].iso:g}: the report does not cover other ISOs.")
    if found.clipped > MOST_CLIPPED:
        sentences.append(
            f"{percent(found.clipped, 1)} of the pixels are clipped at code 0 or at the white level: their scores are "
            "those of clipped noise."
        )
    if found.still:
        patches = counted(found.still, "patch", "patches")
        sentences.append(f"The data contains {patches} without any noise, as when clipped throughout.")
    if found.groups < FEW_GROUPS:
        sentences.append(
            f"The data contains only {counted(found.groups, found.group_is)}: intervals are wide or missing, and "
            f"faults may go undetected. Score at least {FEWEST_SCENES} scenes."
        )
    return tuple(sentences)
