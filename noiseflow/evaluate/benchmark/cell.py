"""One cell of a benchmark: a model that is fitted to or given for a data set, and scored on it."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noiseflow.core.errors import DataError, NoiseflowError
from noiseflow.core.output.checks import writing
from noiseflow.core.output.folder import refilled_folder
from noiseflow.core.output.listed import write_listed
from noiseflow.core.reading.schema import built
from noiseflow.core.version import __version__
from noiseflow.evaluate.baselines import baselines
from noiseflow.evaluate.benchmark.cost import iso_cost, measured
from noiseflow.evaluate.benchmark.given import given_model, given_path
from noiseflow.evaluate.benchmark.spec import ModelChoice, digest
from noiseflow.evaluate.evaluate_models import evaluate
from noiseflow.evaluate.metric import ORACLE, as_json
from noiseflow.evaluate.metrics.distribution import Marginal
from noiseflow.evaluate.metrics.judges import Judges
from noiseflow.evaluate.metrics.likelihood import CodeLikelihood, DensityLikelihood
from noiseflow.evaluate.metrics.proper_scores import ProperScores
from noiseflow.evaluate.metrics.samples_digest import SamplesDigest
from noiseflow.evaluate.metrics.two_sample import TwoSample
from noiseflow.evaluate.presentation.present import LIKELIHOODS
from noiseflow.evaluate.report.evaluation_result import Evaluation
from noiseflow.evaluate.report.report import write_report
from noiseflow.fit.fit_model import FitSettings, fit, spec_for
from noiseflow.models import NoiseModel
from noiseflow.patches import PatchStore, WithoutIsos
from noiseflow.patches.store.patches import Patches

__all__ = ["BenchmarkCell", "record_in", "run_cell"]

CELL_RECORD = "cell.json"
"""Name of the record of a finished cell."""

ROW = 3
"""Version of the content of a row; cells with a row of another version are run again."""


@dataclass(frozen=True)
class BenchmarkCell:
    """One model on one data set, with everything that a worker process needs.

    Parameters
    ----------
    folder : Path
        Folder of the run, the report and the record.
    store : Path
        Patch store of the data.
    fingerprint : str
        Fingerprint of the store.
    data : str
        Name of the data.
    model : ModelChoice
        Model to fit or to load.
    base : Path
        Folder that the model's paths are relative to.
    seed : int
        Seed of fit and samples.
    split : str
        Split to score.
    max_patches : int or None
        Largest number of patches to score; None for all.
    reference : str
        Baseline that the model is compared with.
    leave_out : float or None
        ISO to leave out in a second fit; None for no second fit.
    device : str
        Device for fitting, sampling and scoring.
    metrics : tuple of str
        Metrics in addition to the default ones.
    given : str
        Checksum of the files that the model is loaded from; empty for a model that is fitted.
    """

    folder: Path
    store: Path
    fingerprint: str
    data: str
    model: ModelChoice
    base: Path
    seed: int
    split: str
    max_patches: int | None
    reference: str
    leave_out: float | None = None
    device: str = "cpu"
    metrics: tuple[str, ...] = ()
    given: str = ""

    @property
    def key(self) -> str:
        """Checksum of everything that the result depends on."""
        scored = (self.seed, self.split, self.max_patches, self.reference, self.leave_out, self.metrics)
        return digest("cell", __version__, ROW, self.fingerprint, self.model, self.given, *scored)


def run_cell(cell: BenchmarkCell) -> dict[str, Any]:
    """Fit and score one cell, unless it is finished.

    Parameters
    ----------
    cell : BenchmarkCell
        The cell.

    Returns
    -------
    dict
        Row of the table; if the cell failed, ``data``, ``model`` and the message under ``error``.
    """
    cell.folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with writing(cell.folder, folder=True, goes_on=True):
            held = record_in(cell.folder / CELL_RECORD)
            if held.get("key") == cell.key:
                row: dict[str, Any] = held["row"]
                return row
            made = ({"folder": name} for name in ("run", "run_without", "report"))
            with refilled_folder(cell.folder, "cell", *made):
                row = _fit_and_score(cell)
                content = json.dumps({"key": cell.key, "row": row}, indent=1)
                write_listed(cell.folder, CELL_RECORD, content.encode())
            return row
    except NoiseflowError as error:
        # A failure is not recorded, so the cell is tried again next time.
        return {"data": cell.data, "model": cell.model.name, "error": str(error)}


def _fit_and_score(cell: BenchmarkCell) -> dict[str, Any]:
    """Fit or load the model, score it, write its report, and return its row."""
    began = time.monotonic()
    choice = cell.model
    with PatchStore(cell.store) as store:
        fixed = given_path(choice, cell.base, cell.data) is not None
        if fixed:
            model: NoiseModel = given_model(choice, cell.base, cell.data, store, cell.split)
        else:
            chosen = {"seed": cell.seed, "device": cell.device, **choice.fit}
            settings = built(FitSettings, chosen, f"[[model]] {choice.name!r}: fit", DataError)
            model = _fitted(store, choice, cell.folder / "run", settings)
        fitted = time.monotonic()
        extra: dict[str, Any] = {"parameters": sum(each.numel() for each in model.parameters())}
        extra |= {"mpix_per_s": None} if choice.samples is not None else measured(model, cell.seed)
        if cell.given:
            extra["given_sha256"] = cell.given
        if cell.leave_out is not None and not fixed:
            without = WithoutIsos(store, [cell.leave_out])
            other = _fitted(without, choice, cell.folder / "run_without", settings)
            extra["iso_left_out"] = as_json(iso_cost(store, model, other, cell.leave_out, cell.split))
        models = {choice.name: model} | baselines(store, {choice.name: model})
        models = {name: each.to(cell.device) for name, each in models.items()}
        evaluation = evaluate(
            models,
            store,
            split=cell.split,
            seed=cell.seed,
            max_patches=cell.max_patches,
            metrics=("samples_digest", *cell.metrics),
        )
    write_report(evaluation, cell.folder / "report", overwrite=True)
    seconds = {"fit_s": round(fitted - began, 1), "evaluate_s": round(time.monotonic() - fitted, 1)}
    return {"data": cell.data, **_row(evaluation, cell), **extra, **seconds}


def _fitted(store: Patches, choice: ModelChoice, out: Path, settings: FitSettings) -> NoiseModel:
    spec = spec_for(store, choice.model or choice.name, dict(choice.options))
    return fit(store, spec, out, settings).model


def _row(evaluation: Evaluation, cell: BenchmarkCell) -> dict[str, Any]:
    """Return the numbers of an evaluation that the table shows."""
    tested = evaluation.tested
    likelihood, marginal = evaluation.scores["likelihood"], evaluation.scores["marginal"]
    two_sample = evaluation.scores["two_sample"]
    assert isinstance(likelihood, DensityLikelihood)
    assert isinstance(marginal, Marginal)
    assert isinstance(two_sample, TwoSample)
    whole, divergence = likelihood.cells[0], marginal.cells[0]
    checks = [finding for finding in evaluation.findings if finding.measure not in LIKELIHOODS]
    codes = evaluation.scores["codes"]
    assert isinstance(codes, CodeLikelihood)
    digest_of_samples = evaluation.scores["samples_digest"]
    assert isinstance(digest_of_samples, SamplesDigest)
    # With coarse codes, a continuous density can appear better than the true one.
    gap = (codes.cells[0] if codes.coarse else whole).behind.get(ORACLE)
    return as_json(  # type: ignore[no-any-return]
        {
            "model": tested,
            "nats_per_dim": whole.nats_per_dim.get(tested),
            "nats_per_pixel_dn": whole.nats_per_pixel_dn.get(tested),
            "nats_per_pixel_codes": codes.cells[0].nats_per_pixel.get(tested),
            "codes_kind": codes.kinds.get(tested),
            "better_than_reference": whole.behind.get(cell.reference),
            "behind_oracle": None if gap is None else -gap,
            "kl": divergence.kl_interval.get(tested),
            "kl_floor": divergence.floor,
            "variance_ratio": divergence.variance_ratio[tested],
            "two_sample": two_sample.accuracy.get(tested),
            "faults": [finding.measure for finding in checks if finding.level == "bad"],
            "unsettled": [finding.measure for finding in checks if finding.level == "open"],
            "headline": evaluation.headline,
            "patches": evaluation.data.patches,
            "groups": f"{evaluation.data.groups} {evaluation.data.group_is}s",
            "fingerprint": cell.fingerprint,
            "samples_sha256": digest_of_samples.sha256[tested],
            "key": cell.key,
            **_more(evaluation),
        }
    )


def _more(evaluation: Evaluation) -> dict[str, Any]:
    """Return the numbers of the additional metrics."""
    found: dict[str, Any] = {}
    proper, judges = (evaluation.scores.get(name) for name in ("proper_scores", "judges"))
    if isinstance(proper, ProperScores):
        for name in ("crps_excess", "energy_excess"):
            found[name] = getattr(proper, name)[evaluation.tested]
    if isinstance(judges, Judges):
        found["judges"] = {judge: accuracy[evaluation.tested] for judge, accuracy in judges.accuracy.items()}
    return found


def record_in(path: Path) -> Mapping[str, Any]:
    """Read the record of finished work, a JSON file; return an empty one if it is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
