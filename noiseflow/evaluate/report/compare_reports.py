"""Comparison of two reports: the gain in likelihood, and checks whose verdict changed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from noiseflow.core.text import counted
from noiseflow.evaluate.presentation.formatting import percent, plus_minus
from noiseflow.evaluate.presentation.present import MEASURES
from noiseflow.evaluate.report.metrics_file import read_metrics
from noiseflow.evaluate.statistics.intervals import LEVEL, Interval, bootstrap_ratio

__all__ = ["Change", "Comparison", "compare"]


@dataclass(frozen=True)
class Change:
    """A check with different verdicts in two reports.

    Parameters
    ----------
    measure : str
        Name of the check.
    before, after : tuple of (str, str) or None
        Level (``"good"``, ``"open"`` or ``"bad"``) and text of the verdict; None where the check was not made.
    """

    measure: str
    before: tuple[str, str] | None
    after: tuple[str, str] | None


@dataclass(frozen=True)
class Comparison:
    """Comparison of two reports.

    Parameters
    ----------
    models : tuple of str
        Model under test in each report.
    gain : Interval or None
        NLL of the first minus that of the second, nats/dim, paired over groups of patches: above 0, the second is
        better.  None if the reports did not score the same patches.
    changes : tuple of Change
        Checks whose verdict changed.
    notes : tuple of str
        Differences in the data that the reports scored, as sentences.
    numbers : mapping of str to tuple
        Values of each measure over all data in the first and the second report; None where missing.
    """

    models: tuple[str, str]
    gain: Interval | None
    changes: tuple[Change, ...]
    notes: tuple[str, ...]
    numbers: Mapping[str, tuple[Interval | None, Interval | None]]

    def words(self) -> list[str]:
        """Return the comparison as sentences."""
        second = self.models[1]
        sentences = list(self.notes)
        if self.gain is not None:
            over = f"{percent(LEVEL)} interval, paired over {counted(self.gain.groups, 'group')} of patches"
            if self.gain.above(0):
                sentences.append(f"The second, {second}, is better by {plus_minus(self.gain)} nats/dim ({over}).")
            elif self.gain.below(0):
                sentences.append(f"The second, {second}, is worse by {plus_minus(-self.gain)} nats/dim ({over}).")
            else:
                sentences.append(
                    f"Their likelihoods do not differ significantly: {plus_minus(self.gain)} nats/dim ({over})."
                )
        for change in self.changes:
            before, after = (level[0] if level else "not checked" for level in (change.before, change.after))
            words = (change.after or change.before or ("", ""))[1]
            sentences.append(f"{MEASURES.get(change.measure, change.measure)}: {before} before, {after} now. {words}")
        if not self.changes:
            sentences.append("No check changed its verdict.")
        return sentences


NUMBERS: dict[str, Callable[[Any], Any]] = {
    "nats_per_dim": lambda scores: scores["likelihood"]["cells"][0]["nats_per_dim"],
    "nats_per_pixel_dn": lambda scores: scores["likelihood"]["cells"][0]["nats_per_pixel_dn"],
    "nats_per_pixel_codes": lambda scores: scores["codes"]["cells"][0]["nats_per_pixel"],
    "kl": lambda scores: scores["marginal"]["cells"][0]["kl_interval"],
    "variance_ratio": lambda scores: scores["marginal"]["cells"][0]["variance_ratio"],
    "kurtosis": lambda scores: scores["tails"]["kurtosis"],
    "two_sample": lambda scores: scores["two_sample"]["accuracy"],
}
"""Rows of the comparison, each with a function that gets its numbers from the scores in ``metrics.json``."""


def compare(first: str | Path, second: str | Path) -> Comparison:
    """Compare two report folders.

    Parameters
    ----------
    first, second : path
        Folders written by `noiseflow.evaluate.write_report`.

    Returns
    -------
    Comparison
        Gain in likelihood, changed verdicts, and numbers of both.

    Raises
    ------
    DataError
        A folder contains no report of this version.
    """
    reports = [read_metrics(Path(folder)) for folder in (first, second)]
    notes = []
    alike = True
    for what, name in (("data", "fingerprint"), ("split", "split"), ("number of patches", "patches"), ("seed", "")):
        one, other = (report["data"][name] if name else report["seed"] for report in reports)
        if one != other:
            shown = (str(value)[:12] for value in (one, other))
            notes.append(f"The {what} is not the same: {' and '.join(shown)}.")
            # The seed changes the patches only if they were drawn at random.
            drawn = any(report["data"]["patches"] < report["data"]["patches_in_split"] for report in reports)
            alike &= name == "" and not drawn
    models = tuple(report["models"][0] for report in reports)
    levels = [{each["measure"]: each for each in _by_badness(report["findings"])} for report in reports]
    measures = list(dict.fromkeys([*levels[0], *levels[1]]))
    changes = [
        Change(measure, *(_verdict(level.get(measure)) for level in levels))
        for measure in measures
        if measure not in ("nll", "nll_codes", "legacy_kl")
        and (levels[0].get(measure) or {}).get("level") != (levels[1].get(measure) or {}).get("level")
    ]
    return Comparison(
        models=(models[0], models[1]),
        gain=_gain(reports, models) if alike else None,
        changes=tuple(changes),
        notes=tuple(notes),
        numbers={
            name: (_number(reports[0], holder), _number(reports[1], holder))
            for name, holder in NUMBERS.items()
            # With fine codes, both likelihoods in DN are the same number.
            if "codes" not in name or any(report["scores"]["codes"]["coarse"] for report in reports)
        },
    )


def _by_badness(findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sort findings from good to bad, so that the worst of a measure comes last and is kept in a dictionary."""
    return sorted(findings, key=lambda finding: ("good", "open", "bad").index(finding["level"]))


def _verdict(finding: Mapping[str, Any] | None) -> tuple[str, str] | None:
    return None if finding is None else (finding["level"], finding["text"])


def _gain(reports: list[dict[str, Any]], models: tuple[str, ...]) -> Interval | None:
    """Return the paired difference of NLL, nats/dim, or None if the groups differ or have no likelihood."""
    likelihoods = [report["scores"]["likelihood"] for report in reports]
    nats = [likelihood["group_nats"].get(model) for likelihood, model in zip(likelihoods, models, strict=True)]
    dims = [likelihood["group_dims"] for likelihood in likelihoods]
    if None in nats or dims[0] != dims[1] or any(len(each) != len(dims[0]) or None in each for each in nats):
        return None
    return bootstrap_ratio(numerator=np.array(nats[0]) - np.array(nats[1]), denominator=np.array(dims[0]), level=LEVEL)


def _number(report: Mapping[str, Any], holder: Callable[[Any], Any]) -> Interval | None:
    """Return a number of the model under test from a report, or None if it or its interval is missing."""
    held = holder(report["scores"]).get(report["models"][0])
    if held is None or None in (held[name] for name in ("value", "standard_error", "low", "high")):
        return None
    return Interval(held["value"], held["standard_error"], held["low"], held["high"], held["groups"])
