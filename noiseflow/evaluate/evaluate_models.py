"""`evaluate`: scores of models on a patch store, in one pass after a survey of the data."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.core.errors import DataError, ModelError
from noiseflow.core.progress import Progress, in_stages, silent
from noiseflow.evaluate.data_summary import Survey, read_whole, survey
from noiseflow.evaluate.examples import Example, choose, crop, preview
from noiseflow.evaluate.metric import DATA, Metric, Score, ScoredBatch, Setup, codes_kind_of, kind_of
from noiseflow.evaluate.metrics.registry import METRICS, OPTIONAL
from noiseflow.evaluate.presentation.present import notes
from noiseflow.evaluate.report.evaluation_result import Data, Evaluation
from noiseflow.evaluate.scoring import Scorer, for_model
from noiseflow.flows.conditions import Conditions
from noiseflow.models.capabilities import HasDrawnSamples
from noiseflow.models.model import NoiseModel
from noiseflow.patches.store.store import PatchStore
from noiseflow.raw.bayer import plane_names

__all__ = ["evaluate", "evaluation_costs"]

VALUES_AT_A_TIME = 2**20
"""Values (pixels of all planes) per batch, which sets the memory of an evaluation."""

LATENT_VALUES = 2**20
"""Number of values whose latent is computed, per model."""


def evaluate(
    models: Mapping[str, NoiseModel],
    store: PatchStore,
    *,
    split: str = "test",
    seed: int = 0,
    max_patches: int | None = None,
    metrics: Sequence[str] = (),
    progress: Progress = silent,
) -> Evaluation:
    """Score models on the patches of a split.

    The data is read twice: once for its range and its noise curve, and once to score.  Apart from a few numbers per
    patch, memory does not grow with the number of patches.  The same arguments give the same result, and the samples
    of a model do not depend on which other models are scored.

    Parameters
    ----------
    models : mapping of str to NoiseModel
        Models by name.  The first is under test, the others are baselines.  A model named ``"oracle"`` is the true
        density.  The models' cameras are matched to those of the store by name.
    store : PatchStore
        Patches to score the models on.
    split : str
        ``"train"``, ``"val"`` or ``"test"``.
    seed : int
        Seed of the samples, and of the choice of patches.
    max_patches : int, optional
        Score at most this many patches, drawn at random.
    metrics : sequence of str
        Names in `OPTIONAL` of additional metrics: stronger two-sample tests, proper scores for models without a
        density, or the published KL estimators for comparison with papers.
    progress : Progress
        Called with the percentage done, 100, and the stage: ``survey``, ``scores`` or ``numbers``.

    Returns
    -------
    Evaluation
        Scores of all models, with the summary of the data and example patches.

    Raises
    ------
    StoreError
        The split is empty or unknown.
    DataError
        No model, a reserved name, an unknown metric, NaN in the data, constant noise, or patches that are too small.
    ModelError
        A model does not know a camera of the data, has another plane layout, or gives a
        density or samples that are not finite.
    """
    unknown = sorted(set(metrics) - set(OPTIONAL))
    if unknown:
        raise DataError(f"metrics: unknown metric {unknown[0]!r}; expected some of {', '.join(OPTIONAL)}")
    rows = _drawn(store, split, max_patches, seed)
    camera_of = _check(models, store, rows)
    size = max(VALUES_AT_A_TIME // math.prod(store.patch_shape), 1)
    stage = in_stages(progress, {"survey": 0.02 * len(rows), "scores": len(rows), "numbers": _after_scores(len(rows))})
    found = survey(store, rows, batch=size, seed=seed, progress=stage("survey"))
    wanted, examples, latent_left = choose(found), [], LATENT_VALUES // math.prod(store.patch_shape)
    with torch.no_grad(), _evaluating(models.values()):
        setup = _setup(models, camera_of, store, found, seed)
        scorer = Scorer(models, camera_of, store, setup)
        measures = {name: metric(setup) for name, metric in METRICS.items()}
        measures |= {name: OPTIONAL[name](setup) for name in OPTIONAL if name in metrics}
        for start in range(0, len(rows), size):
            batch = scorer.score(read_whole(store, rows[start : start + size]), start, latent_left)
            latent_left -= len(batch.latent_group)
            for metric in measures.values():
                metric.update(batch)
            examples += _examples(wanted, store, batch, rows[start : start + size])
            stage("scores")(min(start + size, len(rows)), len(rows), "patches")
        scores = _numbers(measures, stage("numbers"))
    order = list(wanted.values())
    return Evaluation(
        models=tuple(models),
        specs={name: json.loads(model.spec.to_json()) for name, model in models.items()},
        data=_data(store, split, found),
        seed=seed,
        scores=scores,
        examples=tuple(sorted(examples, key=lambda example: order.index(example.name))),
        notes=notes(setup),
    )


def _after_scores(patches: int) -> float:
    """Return the expected time from the last patch to the scores, in units of the time to score one patch.

    With three models on 216 and 1,727 patches of 4×32×32, 88 and 460 were measured.
    """
    return 0.2 * patches + 50


def evaluation_costs(store: PatchStore, split: str, max_patches: int | None) -> dict[str, float]:
    """Return the expected times of the stages of an evaluation, for `in_stages`.

    Parameters
    ----------
    store : PatchStore
        Patches to score.
    split : str
        Split to score.
    max_patches : int or None
        Largest number of patches to score.

    Returns
    -------
    dict of str to float
        Time of each stage, in units of the time to score one patch.
    """
    patches = len(store.indices(split))
    patches = patches if max_patches is None else min(patches, max_patches)
    read = len(store.indices("train"))
    # The figures took the time of 500 to 690 patches, whatever the number of patches scored.
    return {"baselines": 0.02 * read + 1, "evaluation": 1.02 * patches + _after_scores(patches), "figures": 600.0}


def _numbers(metrics: Mapping[str, Metric], progress: Progress) -> dict[str, Score]:
    """Compute the score of each metric."""
    scores = {}
    for done, (name, metric) in enumerate(metrics.items()):
        progress(done, len(metrics), name.replace("_", " "))
        scores[name] = metric.score()
    progress(len(metrics), len(metrics))
    return scores


def _drawn(store: PatchStore, split: str, max_patches: int | None, seed: int) -> NDArray[np.int64]:
    """Return the rows to score, rising; a random choice if there are more than `max_patches`."""
    rows = store.indices(split)
    if max_patches is None or max_patches >= len(rows):
        return rows
    if max_patches < 1:
        raise DataError(f"max_patches: expected 1 or more; got {max_patches}")
    return np.sort(np.random.default_rng(seed).choice(rows, max_patches, replace=False))


def _setup(
    models: Mapping[str, NoiseModel], camera_of: Mapping[str, Tensor], store: PatchStore, found: Survey, seed: int
) -> Setup:
    """Collect the facts that metrics get before the first batch, including which models can only sample."""
    read = read_whole(store, found.rows[:8])
    without = {}
    for name, model in models.items():
        noise, cond = for_model(model, read, camera_of[name])
        try:
            model.log_prob(noise, cond)
        except ModelError as error:
            if not isinstance(model, HasDrawnSamples):
                # A model that can neither score nor sample is refused here.
                model.sample(cond, torch.Generator(noise.device).manual_seed(0))
            without[name] = str(error)
    densities = {name: kind_of(model) for name, model in models.items() if name not in without}
    codes = {name: codes_kind_of(models[name]) for name in densities}
    return Setup(found, tuple(models), (DATA, *models), seed, densities, codes, without)


def _data(store: PatchStore, split: str, found: Survey) -> Data:
    """Return the facts about the data for the report."""
    return Data(
        store=str(store.path),
        fingerprint=store.fingerprint,
        layout=store.layout,
        pairing=store.pairing,
        split=split,
        patches=len(found.rows),
        patches_in_split=len(store.indices(split)),
        patch_shape=found.patch_shape,
        frames=found.frames,
        groups=found.groups,
        group_is=found.group_is,
        close_values=int(found.close.sum()) * math.prod(store.patch_shape),
        clipped=found.clipped,
        cameras=tuple(sorted({str(cell.camera) for cell in found.cells})),
        isos=tuple(sorted({float(cell.iso or 0) for cell in found.cells})),
    )


def _check(models: Mapping[str, NoiseModel], store: PatchStore, rows: NDArray[np.int64]) -> dict[str, Tensor]:
    """Check that the models can score the rows, and match their cameras to the store's.

    Returns, per model, its index of each of the store's cameras; −1 for a camera that is not scored.
    """
    if not models:
        raise DataError("models: expected at least one to evaluate; got none")
    if DATA in models:
        raise DataError(f"models: the name {DATA!r} is reserved for the real data; rename the model")
    if min(store.patch_shape[1:]) < 2:
        raise DataError(
            f"{store.path}: patches of {store.patch_shape[1]}×{store.patch_shape[2]} pixels per plane are too small to "
            "score; expected at least 2×2: ingest larger patches"
        )
    used = np.unique(store.table["camera"][rows])
    names = [store.cameras[index] for index in used]
    camera_of = {}
    for name, model in models.items():
        if model.spec.layout != store.layout:
            raise ModelError(
                f"{name}: its plane layout is {model.spec.layout!r}, but that of {store.path} is {store.layout!r}; "
                f"ingest with the layout {model.spec.layout!r}, or fit the model to this store"
            )
        try:
            known = Conditions(torch.zeros(len(names), 1, 1, 1), 1.0, names).resolve(model.cameras).camera
        except ModelError as error:
            raise ModelError(f"{name}: {error}") from error
        camera_of[name] = torch.full((len(store.cameras),), -1).scatter(
            0, torch.from_numpy(used.astype(np.int64)), known
        )
    return camera_of


@contextmanager
def _evaluating(models: Iterable[NoiseModel]) -> Iterator[None]:
    """Put the models into evaluation mode, and restore their modes afterwards."""
    training = [model for model in models if model.training]
    for model in training:
        model.eval()
    try:
        yield
    finally:
        for model in training:
            model.train()


def _examples(
    wanted: Mapping[int, str], store: PatchStore, batch: ScoredBatch, rows: NDArray[np.int64]
) -> list[Example]:
    """Return the example patches of a batch that are among the wanted rows."""
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
