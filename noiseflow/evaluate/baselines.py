"""What a model has to beat: the closed-form baselines and, where it is known, the truth."""

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
"""Models fitted in closed form to the training split of the data that is scored."""


def named(models: Sequence[tuple[Path, NoiseModel]]) -> dict[str, NoiseModel]:
    """Models by their registry names, or by registry name and folder where two share one.

    Parameters
    ----------
    models : sequence of (Path, NoiseModel)
        Where each model was loaded from, and the model.
    """
    names = [model.spec.model for _, model in models]
    return {
        name if names.count(name) == 1 else f"{name} ({run.resolve().name})": model
        for name, (run, model) in zip(names, models, strict=True)
    }


def baselines(store: PatchStore, known: Mapping[str, NoiseModel], progress: Progress = silent) -> dict[str, NoiseModel]:
    """The baselines not among the known models, fitted to the store, and its oracle if it has one."""
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
    """The density that simulated data was drawn from; None for real data, or where it has no closed form."""
    if not store.truth:
        return None
    return oracle_from_truth(store.truth, store.layout, store.cameras, store.isos)
