"""A step of training asks a GPU for no value: it would wait for it."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from builders import gaussian_store
from distance import CPU, Distance, Point
from torch.utils._python_dispatch import TorchDispatchMode

from noiseflow.fit import gather, spec_for
from noiseflow.fit.batches import conditions_of
from noiseflow.fit.training.engine import CHECK_EVERY, train
from noiseflow.fit.training.objective import TrainingLength
from noiseflow.fit.training.session import TrainingSession
from noiseflow.fit.training.settings import TrainSettings
from noiseflow.models import build
from noiseflow.models.flow.flow_model import ResidualFlow
from noiseflow.patches import PatchStore

WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "is_nonzero", "equal")


class Reads(TorchDispatchMode):
    """Counts the operations whose result, or its shape, the host waits for."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in WAITS:
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> PatchStore:
    return gaussian_store(tmp_path_factory.mktemp("store") / "s.h5", patches=60, isos=(400.0, 1600.0))


def test_the_loop_reads_now_and_then(tmp_path: Path) -> None:
    def reads(steps: int) -> int:
        settings = TrainSettings(patience=None, state_seconds=1e9, ema=0.9)
        length = TrainingLength(steps, 1000, 8)
        with Reads() as counted:
            train(Point(), Distance(), settings, length, TrainingSession(tmp_path / str(steps), CPU), {})
        return sum(counted.counts.values())

    assert reads(10 * CHECK_EVERY) - reads(5 * CHECK_EVERY) <= 5


@pytest.mark.parametrize("name", ["noise_flow", "physics_flow", "realnvp", "glow", "maf", "iaf"])
def test_no_model_reads_in_a_step(store: PatchStore, name: str) -> None:
    model = build(spec_for(store, name))
    model.start_from(gather(store))
    model.train()
    batch = store.read(store.indices("train")[:8])
    cond = conditions_of(batch)
    with Reads() as counted:
        if name == "iaf":
            # Trained by distillation, in its fast direction.
            assert isinstance(model, ResidualFlow)
            sum(each.mean() for each in model.flow.inverse_and_log_det(batch.noise, cond)).backward()
        else:
            (-model(batch.noise, cond).mean()).backward()
    assert not counted.counts
