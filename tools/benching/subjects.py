"""What is timed, by name: a step of training and a pass of sampling of each."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from noiseflow.flows import Conditions
from noiseflow.models import ModelSpec, build
from noiseflow.ops.native import compiled
from tools.benching.of_nflows import NflowsNoiseFlow
from tools.benching.plain import PlainNoiseFlow

__all__ = ["DEFAULT", "GENERATED", "MODELS", "PLAIN", "Point", "Work", "built", "inputs_of", "work"]

PLAIN, GENERATED = "plain layers", "torch.randn"

MODELS = (
    PLAIN,
    "nflows",
    "noise_flow, eager",
    "noise_flow, kernels",
    "physics_flow, eager",
    "physics_flow, kernels",
)
"""Names of what trains and samples; `GENERATED` only draws normal numbers."""


@dataclass(frozen=True)
class Point:
    """One size of the work.

    Parameters
    ----------
    batch : int
        Patches.
    side : int
        Pixels of a plane.
    couplings : int
        Of `noise_flow`; `physics_flow` has its default size.
    threads : int
        Of torch.
    """

    batch: int = 138
    side: int = 32
    couplings: int = 8
    threads: int = 1

    @property
    def pixels(self) -> int:
        """Raw pixels of a batch: values of all planes."""
        return 4 * self.batch * self.side**2


DEFAULT = Point()


@dataclass(frozen=True)
class Work:
    """A step of training and a pass of sampling; each takes the mode it needs."""

    training: Callable[[], object] | None
    sampling: Callable[[], object]


def work(name: str, point: Point, device: str = "cpu") -> Work:
    """What is called to be timed."""
    noise, cond = inputs_of(point, device)
    if name == GENERATED:
        return Work(None, lambda: torch.randn(noise.shape, device=device))
    model = built(name, point).to(device)
    given = cond if name in MODELS[2:] else cond.clean
    optimiser = torch.optim.Adam(model.parameters(), fused=True)
    kernels = not name.endswith("eager")

    # Going through all modules costs as much as a kernel, and a user does it once.
    def train() -> None:
        if not model.training:
            model.train()
        with compiled(kernels):
            optimiser.zero_grad(set_to_none=True)
            (-model(noise, given).mean() / noise[0].numel()).backward()
            optimiser.step()

    def sample() -> Tensor:
        if model.training:
            model.eval()
        with compiled(kernels), torch.no_grad():
            return model.sample(given)  # type: ignore[no-any-return, operator]

    return Work(train, sample)


def built(name: str, point: Point = DEFAULT) -> nn.Module:
    """A model of that name, by a fixed seed."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        if name == PLAIN:
            return PlainNoiseFlow(point.couplings)
        if name == "nflows":
            return NflowsNoiseFlow(point.couplings, point.side)
        own = name.split(",")[0]
        options: dict[str, Any] = {}
        if own == "noise_flow":
            half = ["unc"] * (point.couplings // 2)
            options = {"architecture": "|".join(["sdn5", *half, "gain4", *half])}
        return build(ModelSpec(own, cameras=("A",), isos=(100.0, 800.0), options=options))


def inputs_of(point: Point, device: str = "cpu") -> tuple[Tensor, Conditions]:
    """Noise, and conditions of one camera at ISO 200."""
    draw = torch.Generator().manual_seed(1)
    clean = torch.rand(point.batch, 4, point.side, point.side, generator=draw)
    noise = 0.02 * torch.randn(clean.shape, generator=draw)
    isos, cameras = torch.full((point.batch,), 200.0), torch.zeros(point.batch).long()
    return noise.to(device), Conditions(clean.to(device), isos.to(device), cameras.to(device))


def along(start: Point, axis: str, values: tuple[int, ...]) -> list[Point]:
    """Points that differ in one size."""
    return [replace(start, **{axis: value}) for value in values]
