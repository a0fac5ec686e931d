"""What a model has to beat: the closed-form baselines and, where it is known, the truth."""

from collections.abc import Mapping
from pathlib import Path

from noiseflow.core.errors import ModelError
from noiseflow.core.progress import Progress, silent
from noiseflow.fit.fit_model import spec_for
from noiseflow.fit.gather_statistics import gather
from noiseflow.models import NoiseModel, build, load
from noiseflow.models.noise_statistics import start_from
from noiseflow.models.oracle.select import oracle_from_truth
from noiseflow.patches.store.store import PatchStore

__all__ = ["BASELINES", "baselines", "load_runs", "oracle_of"]

BASELINES = ("nlf", "gaussian")
"""Models fitted in closed form to the training split of the data that is scored."""


def load_runs(runs: list[Path]) -> dict[str, NoiseModel]:
    """Load run folders; each model is named by its registry name, and by its folder where two share that.

    Raises
    ------
    ModelError
        If none is given, or one is no run folder.
    """
    if not runs:
        raise ModelError("no run folder given; expected at least one, as `noiseflow fit` writes it")
    loaded = [(run, load(run)) for run in runs]
    names = [model.spec.model for _, model in loaded]
    return {
        name if names.count(name) == 1 else f"{name} ({run.resolve().name})": model
        for name, (run, model) in zip(names, loaded, strict=True)
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
