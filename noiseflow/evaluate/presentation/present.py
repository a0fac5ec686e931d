"""The words, tables and figures of all the scores of an evaluation, made from their numbers alone."""

from collections.abc import Mapping
from typing import Any

from noiseflow.core.progress import Progress, silent
from noiseflow.core.registry import Registry
from noiseflow.evaluate.data_summary import FEWEST_SCENES
from noiseflow.evaluate.metric import Score, Setup
from noiseflow.evaluate.metrics.denoising import DenoisingCost
from noiseflow.evaluate.metrics.likelihood import CodeLikelihood, DensityLikelihood
from noiseflow.evaluate.presentation.denoising import DenoisingPresenter, cost_in_words
from noiseflow.evaluate.presentation.distribution import ConditionalPresenter, MarginalPresenter
from noiseflow.evaluate.presentation.figures import Pen
from noiseflow.evaluate.presentation.formatting import count, join, percent
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
"""Name of the metric in `noiseflow.evaluate.metrics.registry.METRICS` → its presenter."""

OPTIONAL_PRESENTERS = Registry[Presenter[Any]](
    {
        "judges": "noiseflow.evaluate.presentation.judges:PRESENTER",
        "proper_scores": "noiseflow.evaluate.presentation.proper_scores:PRESENTER",
        "samples_digest": "noiseflow.evaluate.presentation.samples_digest:PRESENTER",
    }
)
"""Presenters of metrics that are rarely requested, imported on demand."""

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
    "judges": "stronger two-sample tests",
    "proper_scores": "proper scores",
    "denoising": "cost of a denoiser",
}
"""Measures of findings in the words of a reader."""

MOST_CLIPPED = 0.001
FEW_GROUPS = 5


def presenter_of(name: str) -> Presenter[Any]:
    """The presenter of a metric, a plain one if it has none."""
    return OPTIONAL_PRESENTERS[name] if name in OPTIONAL_PRESENTERS else PRESENTERS.get(name) or Presenter(name)


def findings(scores: Scores, tested: str) -> tuple[Finding, ...]:
    """The verdict on a model, sentence by sentence."""
    return tuple(finding for name, score in scores.items() for finding in presenter_of(name).findings(score, tested))


def headline(scores: Scores, tested: str) -> str:
    """The verdict in two or three sentences."""
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


def sections(scores: Scores, pens: Mapping[str, Pen], progress: Progress = silent) -> list[dict[str, Any]]:
    """Heading, method and figures of each metric."""
    found = []
    for done, (name, score) in enumerate(scores.items()):
        presenter = presenter_of(name)
        progress(done, len(scores), presenter.title)
        facts = {"name": name, "title": presenter.title, "method": presenter.method}
        found.append({**facts, "plates": presenter.plates(score, pens)})
    progress(len(scores), len(scores))
    return found


def notes(setup: Setup) -> tuple[str, ...]:
    """Limits of the data and of the models, in words."""
    found = setup.survey
    said = [f"{name} has no likelihood: “{reason}”." for name, reason in setup.without_density.items()]
    if len({cell.iso for cell in found.cells}) == 1:
        said.append(f"All of the data is at ISO {found.cells[0].iso:g}: the report does not cover other ISOs.")
    if found.clipped > MOST_CLIPPED:
        said.append(
            f"{percent(found.clipped, 1)} of the pixels are clipped at code 0 or at the white level: scores there are "
            "of the clipped noise."
        )
    if found.still:
        said.append(f"The data holds {count(found.still, 'patch', 'patches')} without any noise: clipped throughout.")
    if found.groups < FEW_GROUPS:
        said.append(
            f"The data holds only {count(found.groups, found.group_is)}: intervals are wide or missing, and what is "
            f"not flagged may still be wrong. Score {FEWEST_SCENES} scenes or more."
        )
    return tuple(said)
