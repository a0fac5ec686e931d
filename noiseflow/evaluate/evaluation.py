"""Score models on a patch store, in one pass after a survey of the data."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.errors import DataError, ModelError
from noiseflow.evaluate.examples import Example, choose, crop
from noiseflow.evaluate.likelihood import Likelihood
from noiseflow.evaluate.metric import (
    DATA,
    ORACLE,
    Finding,
    Record,
    Score,
    ScoredBatch,
    Setup,
    TableRow,
    as_json,
    seed_for,
)
from noiseflow.evaluate.metrics import METRICS
from noiseflow.evaluate.survey import Survey, scale_dn, signal_dn, survey
from noiseflow.evaluate.words import join
from noiseflow.flows.conditions import Conditions
from noiseflow.models.model import NoiseModel
from noiseflow.patches.store import PatchBatch, PatchStore
from noiseflow.progress import Progress, silent
from noiseflow.raw.bayer import plane_names
from noiseflow.units import NLL_UNIT

__all__ = ["Data", "Evaluation", "evaluate"]

VALUES_AT_A_TIME = 2**20
"""Pixels of all planes that are held at a time: the memory of an evaluation."""

FORMAT = 1
"""Version of the layout of ``metrics.json``."""


@dataclass(frozen=True)
class Data:
    """What was scored.

    Parameters
    ----------
    store : str
        Path.
    fingerprint : str
        Of the store's content.
    layout, pairing, split : str
    patches, patches_in_split : int
        Scored, and in the split.
    patch_shape : tuple of int
        (C, h, w).
    frames : int
        Distinct frames: the groups that intervals rest on.
    cameras : tuple of str
    isos : tuple of float
    """

    store: str
    fingerprint: str
    layout: str
    pairing: str
    split: str
    patches: int
    patches_in_split: int
    patch_shape: tuple[int, int, int]
    frames: int
    cameras: tuple[str, ...]
    isos: tuple[float, ...]


@dataclass(frozen=True)
class Evaluation:
    """Scores of models on a patch store.

    Parameters
    ----------
    models : tuple of str
        The first is under test, the others are baselines.
    specs : mapping of str to mapping
        Of each model, as JSON values.
    data : Data
    seed : int
        Of the samples.
    scores : mapping of str to Score
        By the metric's name in `METRICS`.
    examples : tuple of Example
        Patches to look at.
    """

    models: tuple[str, ...]
    specs: Mapping[str, Mapping[str, Any]]
    data: Data
    seed: int
    scores: Mapping[str, Score]
    examples: tuple[Example, ...]

    @property
    def tested(self) -> str:
        """Name of the model under test."""
        return self.models[0]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The verdict, sentence by sentence."""
        return tuple(finding for score in self.scores.values() for finding in score.findings(self.tested))

    @property
    def headline(self) -> str:
        """The verdict in one or two sentences."""
        findings = self.findings
        likelihood = self.scores["likelihood"]
        assert isinstance(likelihood, Likelihood)
        standing = _standing(self.tested, likelihood)
        checks = [finding for finding in findings if finding.measure not in ("nll", "oracle")]
        bad = [finding for finding in checks if finding.level == "bad"]
        unsettled = [finding for finding in checks if finding.level == "open"]
        if bad:
            names = join([NAMES.get(finding.measure, finding.measure) for finding in bad])
            samples = f"Its samples are off in {len(bad)} of {len(checks)} checks: {names}."
        elif unsettled:
            names = join([NAMES.get(finding.measure, finding.measure) for finding in unsettled])
            samples = f"Its samples pass {len(checks) - len(unsettled)} of {len(checks)} checks; not settled: {names}."
        else:
            samples = f"Its samples pass all {len(checks)} checks."
        return f"{standing} {samples}"

    def table(self) -> tuple[TableRow, ...]:
        """The table of results."""
        return tuple(row for score in self.scores.values() for row in score.table())

    def records(self) -> tuple[Record, ...]:
        """All numbers, flat: what ``metrics.csv`` holds."""
        return tuple(record for score in self.scores.values() for record in score.records())

    def to_json(self) -> str:
        """All of it as JSON; what is not a number is null."""
        content = {
            "format": FORMAT,
            "unit": NLL_UNIT,
            "headline": self.headline,
            "findings": self.findings,
            "models": self.models,
            "specs": self.specs,
            "data": self.data,
            "seed": self.seed,
            "methods": {name: score.method for name, score in self.scores.items()},
            "scores": self.scores,
            "examples": self.examples,
        }
        return json.dumps(as_json(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


NAMES = {
    "kl": "histogram",
    "variance": "variance",
    "skewness": "skewness",
    "mean_variance": "variance by intensity",
    "row_noise": "row noise",
}
"""Measures in the words of the headline."""


def _standing(tested: str, likelihood: Likelihood) -> str:
    behind = {name: value for name, value in likelihood.cells[0].behind.items() if name != ORACLE}
    if not behind:
        return f"{tested} is scored without a baseline."
    better = [name for name, value in behind.items() if value.above(0)]
    worse = [name for name, value in behind.items() if value.below(0)]
    equal = [name for name in behind if name not in better and name not in worse]
    parts = [
        f"{words} {join(names)}"
        for words, names in (("better than", better), ("not told apart from", equal), ("worse than", worse))
        if names
    ]
    return f"By likelihood {tested} is {', '.join(parts)}."


def evaluate(
    models: Mapping[str, NoiseModel],
    store: PatchStore,
    *,
    split: str = "test",
    seed: int = 0,
    max_patches: int | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Score models on the patches of a split.

    The data is read twice: once for its range, once to score.  Memory does not grow with
    the number of patches but for a few numbers a patch.  The same arguments give the same
    result; samples of a model do not depend on which others are scored.

    Parameters
    ----------
    models : mapping of str to NoiseModel
        By name.  The first is under test, the others are baselines; one named ``"oracle"``
        is taken for the true density.  Cameras are matched to the store's by name.
    store : PatchStore
    split : str
    seed : int
        Of the samples, and of the choice of patches.
    max_patches : int, optional
        Score so many patches at the most, drawn at random.
    progress : Progress
        Told of patches done.

    Returns
    -------
    Evaluation

    Raises
    ------
    StoreError
        The split is empty or unknown.
    DataError
        No model, NaN in the data, patches that no score can be had from.
    ModelError
        A model does not know a camera of the data, is for another plane layout, or gives a
        density or samples that are not finite.
    """
    rows = store.indices(split)
    in_split = len(rows)
    if max_patches is not None:
        if max_patches < 1:
            raise DataError(f"max_patches: expected 1 or more; got {max_patches}")
        if max_patches < in_split:
            rows = np.sort(np.random.default_rng(seed).choice(rows, max_patches, replace=False))
    camera_of = _check(models, store, rows)
    size = max(VALUES_AT_A_TIME // math.prod(store.patch_shape), 1)
    found = survey(store, rows, batch=size, progress=progress)
    setup = Setup(found, tuple(models), seed)
    metrics = {name: metric(setup) for name, metric in METRICS.items()}
    wanted, examples = choose(found), []
    with torch.no_grad(), _evaluating(models.values()):
        for start in range(0, len(rows), size):
            read = store.read(rows[start : start + size])
            batch = _score(models, camera_of, store, read, found, start, seed)
            for metric in metrics.values():
                metric.update(batch)
            examples += _examples(wanted, store, batch, rows[start : start + size])
            progress(min(start + size, len(rows)), len(rows), "scores")
    data = Data(
        store=str(store.path),
        fingerprint=store.fingerprint,
        layout=store.layout,
        pairing=store.pairing,
        split=split,
        patches=len(rows),
        patches_in_split=in_split,
        patch_shape=found.patch_shape,
        frames=found.groups,
        cameras=tuple(sorted({str(cell.camera) for cell in found.cells})),
        isos=tuple(sorted({float(cell.iso or 0) for cell in found.cells})),
    )
    order = list(wanted.values())
    return Evaluation(
        models=tuple(models),
        specs={name: json.loads(model.spec.to_json()) for name, model in models.items()},
        data=data,
        seed=seed,
        scores={name: metric.score() for name, metric in metrics.items()},
        examples=tuple(sorted(examples, key=lambda example: order.index(example.name))),
    )


def _check(models: Mapping[str, NoiseModel], store: PatchStore, rows: NDArray[np.int64]) -> dict[str, Tensor]:
    """The index of each of the store's cameras in each model; −1 for one that is not scored."""
    if not models:
        raise DataError("models: expected at least one to evaluate; got none")
    if DATA in models:
        raise DataError(f"models: the name {DATA!r} stands for the real data; call the model otherwise")
    if min(store.patch_shape[1:]) < 2:
        raise DataError(
            f"{store.path}: patches of {store.patch_shape[1:]} pixels are too small to score; ingest larger ones"
        )
    used = np.unique(store.table["camera"][rows])
    names = [store.cameras[index] for index in used]
    camera_of = {}
    for name, model in models.items():
        if model.spec.layout != store.layout:
            raise ModelError(
                f"{name}: made for the plane layout {model.spec.layout!r}; {store.path} has {store.layout!r}: "
                "ingest with that layout, or fit the model to this store"
            )
        try:
            known = Conditions(torch.zeros(len(names), 1, 1, 1), 1.0, names).resolve(model.cameras).camera_indices
        except ModelError as error:
            raise ModelError(f"{name}: {error}") from error
        camera_of[name] = torch.full((len(store.cameras),), -1).scatter(
            0, torch.from_numpy(used.astype(np.int64)), known
        )
    return camera_of


@contextmanager
def _evaluating(models: Iterable[NoiseModel]) -> Iterator[None]:
    """Models in evaluation mode, and afterwards as they were."""
    training = [model for model in models if model.training]
    for model in training:
        model.eval()
    try:
        yield
    finally:
        for model in training:
            model.train()


def _score(
    models: Mapping[str, NoiseModel],
    camera_of: Mapping[str, Tensor],
    store: PatchStore,
    read: PatchBatch,
    found: Survey,
    start: int,
    seed: int,
) -> ScoredBatch:
    part = slice(start, start + len(read.camera))
    group = found.group[part]
    scale = scale_dn(read)
    noise, nll = {DATA: read.noise}, {}
    for name, model in models.items():
        like = next(iter(model.parameters()), read.noise)
        device, dtype = like.device, like.dtype
        cond = Conditions(
            read.clean.to(device, dtype), read.iso.to(device, dtype), camera_of[name][read.camera].to(device)
        )
        nll[name] = -model.log_prob(read.noise.to(device, dtype), cond).double().cpu().numpy()
        generator = torch.Generator(device).manual_seed(seed_for(seed, "sample", name, start))
        noise[name] = model.sample(cond, generator).cpu().float()
        for what, finite in (
            ("log-density", np.isfinite(nll[name])),
            ("sample", torch.isfinite(noise[name]).all(3).all(2).all(1).numpy()),
        ):
            if not finite.all():
                bad = found.rows[part][~finite][:5].tolist()
                raise ModelError(
                    f"{name}: its {what} is NaN or infinite on patches {bad} of {store.path}; is it fitted?"
                )
    spread = np.sqrt(1.0 + read.table["clean_variance"].astype(np.float64))
    return ScoredBatch(
        noise=noise,
        nll=nll,
        clean=read.clean,
        signal_dn=signal_dn(read),
        group=group,
        cell=found.cell_of_group[group],
        row=read.table["y"].astype(np.int64),
        scale_dn=scale,
        code=1 / (scale * spread[:, None]),
    )


def _examples(
    wanted: Mapping[int, str], store: PatchStore, batch: ScoredBatch, rows: NDArray[np.int64]
) -> list[Example]:
    plane = min(1, batch.clean.shape[1] - 1)
    examples = []
    for index in np.flatnonzero(np.isin(rows, list(wanted))):
        entry = store.table[rows[index]]
        clean, noise = crop(batch, int(index), plane)
        examples.append(
            Example(
                name=wanted[int(rows[index])],
                row=int(rows[index]),
                camera=store.cameras[entry["camera"]],
                iso=float(entry["iso"]),
                scene=store.scenes[entry["scene"]],
                plane=plane_names(store.layout)[plane],
                clean_variance=float(entry["clean_variance"]),
                clean=clean,
                noise=noise,
            )
        )
    return examples
