"""What one process of several does: the gradients of some models' steps on a store, and the training of a point.

Arguments: store, folder to write into.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from distance import CPU, Distance, Point
from safetensors.torch import save_file

from noiseflow.fit import gather, spec_for
from noiseflow.fit.batches import PatchBatches, conditions_of
from noiseflow.fit.discretised_objective import DiscretisedObjective, codes_of
from noiseflow.fit.likelihood_objective import LikelihoodObjective
from noiseflow.fit.training.engine import train
from noiseflow.fit.training.objective import TrainingLength
from noiseflow.fit.training.ranks import Ranks, joined
from noiseflow.fit.training.session import TrainingSession
from noiseflow.fit.training.settings import TrainSettings
from noiseflow.models import build
from noiseflow.ops.random.sampling import part_of
from noiseflow.patches import PatchStore

MODELS = ("noise_flow", "noise_flow:bound", "glow:dropout", "physics_flow", "maf")
"""With batch norms, the draws of a bound, dropout."""

BATCH = 15


def gradient(store: PatchStore, model_name: str, ranks: Ranks) -> dict[str, torch.Tensor]:
    """Loss, gradient and buffers of a step, in float64."""
    name, _, kind = model_name.partition(":")
    spec = spec_for(store, name, {"unknown_camera": 0.5} if kind == "dropout" else {})
    model = build(spec)
    model.start_from(gather(store))
    batches = PatchBatches(store, store.indices("train"), BATCH, seed=3)
    objective = (DiscretisedObjective if kind == "bound" else LikelihoodObjective)(batches, np.arange(1), CPU)
    torch.manual_seed(1)
    model.double().train()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, dtype=torch.float64))
    position = TrainingLength(9, 9, BATCH).position(2, ranks.rank, ranks.world)
    count = objective.count(position)
    read = batches.read(position, torch.float64)
    inputs = codes_of(read) if kind == "bound" else (read.noise, conditions_of(read))
    with ranks.as_one(model), part_of(position.share(count), count):
        buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
        loss, _ = objective.loss(model, inputs, torch.Generator().manual_seed(5))
        loss = position.weight(count) * loss
        loss.backward()
        with torch.no_grad():
            loss, _ = ranks.add_up(loss, {}, list(model.parameters()), buffers)
    found = {f"gradient {name}": value.grad for name, value in model.named_parameters() if value.grad is not None}
    found |= {f"buffer {name}": value.clone() for name, value in model.named_buffers()}
    return {"loss": loss.detach().clone(), **found}


def trained_point(out: Path, ranks: Ranks) -> Point:
    """A point after a training in which a sample of three steps is NaN, one rank's sample where there are several."""
    point, settings = Point(), TrainSettings(learning_rate=0.05, patience=None)
    objective, length = Distance(frozenset({3, 12, 13}), bad_from=-1), TrainingLength(40, 10, 8)
    train(point, objective, settings, length, TrainingSession(out, CPU, ranks), {})
    return point


if __name__ == "__main__":
    torch.set_num_threads(1)
    store, out = PatchStore(sys.argv[1]), Path(sys.argv[2])
    with joined() as ranks:
        for each in MODELS:
            found = gradient(store, each, ranks)
            if ranks.leads:
                save_file({name: value.contiguous() for name, value in found.items()}, out / each)
        trained_point(out, ranks)
    left = [(task / "comm").read_text() for task in Path("/proc/self/task").iterdir()]
    # A thread of a group that is left at the process's exit now and then aborts it.
    assert not any("gloo" in name for name in left), left
