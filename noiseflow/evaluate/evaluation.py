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
from noiseflow.evaluate.density import has_latent, kind_of, latent, log_density, refusal
from noiseflow.evaluate.examples import Example, choose, crop, preview
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
from noiseflow.evaluate.metrics import LEGACY, METRICS
from noiseflow.evaluate.survey import scale_dn, signal_dn, survey
from noiseflow.evaluate.words import count, join, percent
from noiseflow.flows.conditions import Conditions
from noiseflow.models.model import NoiseModel
from noiseflow.patches.store import PatchBatch, PatchStore
from noiseflow.progress import Progress, silent
from noiseflow.raw.bayer import plane_names
from noiseflow.units import NLL_UNIT

__all__ = ["Data", "Evaluation", "evaluate"]

VALUES_AT_A_TIME = 2**20
"""Pixels of all planes that are held at a time: the memory of an evaluation."""

MOST_CLIPPED = 0.001
FEW_GROUPS = 5

LATENT_VALUES = 2**20
"""Values whose latent is looked at, of each model."""

FORMAT = 2
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
        Distinct frames.
    groups : int
    group_is : str
        What intervals rest on: ``"scene"`` or ``"frame"``, each at one camera and ISO.
    close_values : int
        Values of each source that the expensive measures looked at.
    clipped : float
        Part of the pixels at code 0 or at the white level.
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
    groups: int
    group_is: str
    close_values: int
    clipped: float
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
    notes : tuple of str
        What the data or the models do not let anybody say.
    """

    models: tuple[str, ...]
    specs: Mapping[str, Mapping[str, Any]]
    data: Data
    seed: int
    scores: Mapping[str, Score]
    examples: tuple[Example, ...]
    notes: tuple[str, ...] = ()

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
        checks = [finding for finding in findings if finding.measure not in ("nll", "oracle", "legacy_kl")]
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
            "notes": self.notes,
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
"""Measures in the words of the headline."""


def _standing(tested: str, likelihood: Likelihood) -> str:
    if tested not in likelihood.density:
        return f"{tested} has no likelihood."
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
    legacy_kl: bool = False,
    progress: Progress = silent,
) -> Evaluation:
    """Score models on the patches of a split.

    The data is read twice: once for its range and its noise curve, once to score.  Memory does not grow with
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
    legacy_kl : bool
        Whether to add the published KL estimators, for comparison with papers.
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
    found = survey(store, rows, batch=size, seed=seed, progress=progress)
    wanted, examples, latent_left = choose(found), [], LATENT_VALUES // math.prod(store.patch_shape)
    with torch.no_grad(), _evaluating(models.values()):
        without = _without_density(models, camera_of, store, rows)
        densities = {name: kind_of(model) for name, model in models.items() if name not in without}
        setup = Setup(found, tuple(models), seed, densities, without)
        metrics = {name: metric(setup) for name, metric in (METRICS | (LEGACY if legacy_kl else {})).items()}
        for start in range(0, len(rows), size):
            read = store.read(rows[start : start + size])
            batch = _score(models, camera_of, store, read, setup, start, latent_left)
            latent_left -= len(batch.latent_group)
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
        frames=found.frames,
        groups=found.groups,
        group_is=found.group_is,
        close_values=int(found.close.sum()) * math.prod(store.patch_shape),
        clipped=found.clipped,
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
        notes=notes(setup),
    )


def notes(setup: Setup) -> tuple[str, ...]:
    """What the data or the models do not let anybody say, in words."""
    found = setup.survey
    said = [f"{name} has no likelihood: “{reason}”." for name, reason in setup.without_density.items()]
    if len({cell.iso for cell in found.cells}) == 1:
        said.append(f"All of the data is at ISO {found.cells[0].iso:g}: nothing is said of other ISOs.")
    if found.clipped > MOST_CLIPPED:
        said.append(
            f"{percent(found.clipped, 1)} of the pixels stand at code 0 or at the white level, where the noise is cut: "
            "scores there are of the cut noise."
        )
    if found.still:
        said.append(f"{count(found.still, 'patch', 'patches')} without any noise, clipped throughout, are in the data.")
    if found.groups < FEW_GROUPS:
        said.append(
            f"The data holds {count(found.groups, found.group_is)} only: intervals are wide or missing, and what is "
            "not flagged may still be wrong."
        )
    return tuple(said)


def _without_density(
    models: Mapping[str, NoiseModel], camera_of: Mapping[str, Tensor], store: PatchStore, rows: NDArray[np.int64]
) -> dict[str, str]:
    """Models that only sample, and why."""
    read = store.read(rows[:8])
    refused = {}
    for name, model in models.items():
        noise, cond = _as_wanted(model, read, camera_of[name])
        reason = refusal(model, noise, cond)
        if reason is not None:
            refused[name] = reason
    return refused


def _as_wanted(model: NoiseModel, read: PatchBatch, camera_of: Tensor) -> tuple[Tensor, Conditions]:
    """Noise and conditions on the model's device and in its precision."""
    like = next(iter(model.parameters()), read.noise)
    device, dtype = like.device, like.dtype
    cond = Conditions(read.clean.to(device, dtype), read.iso.to(device, dtype), camera_of[read.camera].to(device))
    return read.noise.to(device, dtype), cond


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
    setup: Setup,
    start: int,
    latent_left: int,
) -> ScoredBatch:
    found = setup.survey
    number = np.arange(start, start + len(read.camera))
    group, close = found.group[number], found.close[number]
    cell = found.cell_of_group[group]
    chosen = np.flatnonzero(close)[:latent_left]
    scale, clean_variance = scale_dn(read), read.table["clean_variance"].astype(np.float64)
    code = 1 / (scale * np.sqrt(1.0 + clean_variance)[:, None])
    blurred = _blurred(read.noise, code, setup.seed, DATA, start)
    noise, nll, latents = {DATA: read.noise}, {}, {}
    for name, model in models.items():
        real, cond = _as_wanted(model, read, camera_of[name])
        if name in setup.densities:
            nll[name] = -log_density(model, real, cond).double().cpu().numpy()
        generator = torch.Generator(real.device).manual_seed(seed_for(setup.seed, "sample", name, start))
        noise[name] = model.sample(cond, generator).cpu().float()
        for what, finite in (
            ("log-density", np.isfinite(nll.get(name, np.zeros(len(number))))),
            ("sample", torch.isfinite(noise[name]).all(3).all(2).all(1).numpy()),
        ):
            if not finite.all():
                bad = found.rows[number][~finite][:5].tolist()
                raise ModelError(
                    f"{name}: its {what} is NaN or infinite on patches {bad} of {store.path}; is it fitted?"
                )
        if len(chosen) and has_latent(model):
            some = Conditions(cond.clean[chosen], cond.isos[chosen], cond.camera_indices[chosen])
            latents[name] = latent(model, blurred.to(real.device, real.dtype)[chosen], some).cpu().float()
    signal = signal_dn(read)
    sigma = found.curve.at(signal.float() / torch.from_numpy(scale).float()[:, :, None, None], cell)
    all_blurred = {
        name: blurred if name == DATA else _blurred(values, code, setup.seed, name, start)
        for name, values in noise.items()
    }
    return ScoredBatch(
        noise=noise,
        nll=nll,
        blurred=all_blurred,
        residual={name: values / sigma for name, values in all_blurred.items()},
        clean=read.clean,
        signal_dn=signal,
        number=number,
        group=group,
        cell=cell,
        close=close,
        latent=latents,
        latent_group=group[chosen],
        row=read.table["y"].astype(np.int64),
        scale_dn=scale,
        black_dn=read.table["black"].astype(np.float64),
        clean_variance=clean_variance,
        code=code,
    )


def _blurred(noise: Tensor, code: NDArray[np.float64], seed: int, name: str, start: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed_for(seed, "blur", name, start))
    half_codes = torch.rand(noise.shape, generator=generator).sub_(0.5)
    return half_codes.mul_(torch.from_numpy(code)[:, :, None, None].float()).add_(noise)


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
                srgb=preview(batch, int(index)) if store.layout == "bayer" else {},
            )
        )
    return examples
