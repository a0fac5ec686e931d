"""Models to compare with: closed-form baselines and, for simulated data, the true density."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from noiseflow.core.progress import Progress, silent
from noiseflow.fit.batches import gather
from noiseflow.fit.fit_model import spec_for
from noiseflow.models import NoiseModel, build
from noiseflow.models.noise_statistics import start_from
from noiseflow.models.oracle.select import oracle_from_truth
from noiseflow.patches.store.store import PatchStore

__all__ = ["BASELINES", "baselines", "named", "oracle_of"]

BASELINES = ("nlf", "gaussian")
"""Names of the models fitted in closed form to the training split of the store."""


def named(models: Sequence[tuple[Path, NoiseModel]]) -> dict[str, NoiseModel]:
    """Name models by their registry names, with the folder's name added where two models share one.

    Parameters
    ----------
    models : sequence of (Path, NoiseModel)
        Path from which each model was loaded, and the model.

    Returns
    -------
    dict of str to NoiseModel
        The models by unique names.
    """
    names = [model.spec.model for _, model in models]
    return {
        name if names.count(name) == 1 else f"{name} ({run.resolve().name})": model
        for name, (run, model) in zip(names, models, strict=True)
    }


def baselines(store: PatchStore, known: Mapping[str, NoiseModel], progress: Progress = silent) -> dict[str, NoiseModel]:
    """Fit the baselines to a store, and add its oracle if there is one.

    Parameters
    ----------
    store : PatchStore
        Store whose training split the baselines are fitted to.
    known : mapping of str to NoiseModel
        Models by name; a baseline among them is not fitted again.
    progress : Progress
        Called with the number of patches read.

    Returns
    -------
    dict of str to NoiseModel
        The fitted baselines, and ``"oracle"`` for simulated data of known density.

    Raises
    ------
    StoreError
        The training split is empty.
    """
    wanted = [name for name in BASELINES if name not in known]
    fitted: dict[str, NoiseModel] = {}
    if wanted:
        statistics = gather(store, store.indices("train"), progress)
        for name in wanted:
            fitted[name] = build(spec_for(store, name)).eval()
            start_from(fitted[name], statistics)
    oracle = oracle_of(store)
    return {**fitted, "oracle": oracle} if oracle is not None else fitted


def oracle_of(store: PatchStore) -> NoiseModel | None:
    """Return the density from which simulated data was drawn.

    Parameters
    ----------
    store : PatchStore
        A store of simulated or real data.

    Returns
    -------
    NoiseModel or None
        The true density; None for real data, or where the density has no closed form.
    """
    if not store.truth:
        return None
    return oracle_from_truth(store.truth, store.layout, store.cameras, store.isos)
