"""An objective small enough to know what must come out."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from noiseflow.fit.training.objective import StepPosition
from noiseflow.ops.random.sampling import normal

CPU = torch.device("cpu")


@dataclass
class Distance:
    """Squared distance of a point from random places around 1; NaN, or a part of them, at some steps."""

    bad: frozenset[int] = frozenset()
    bad_from: int = 0
    name: str = "distance"
    unit: str = "m²"
    references: Mapping[str, float] = field(default_factory=lambda: {"start": 1.0})

    def batch(self, position: StepPosition) -> Tensor:
        values = 1 + 0.1 * torch.randn(8, 3, generator=torch.Generator().manual_seed(position.step))
        if position.step in self.bad:
            values[self.bad_from :] = float("nan")
        return values[position.share(len(values))]

    def count(self, position: StepPosition) -> int:
        return 8

    def loss(self, model: nn.Module, batch: Tensor, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        moved = model(batch + 0.01 * normal(batch, generator))
        return moved.square().mean(), {"first": moved[0, 0]}

    def held_out(self, model: nn.Module) -> float:
        return float(model(torch.ones(1, 3)).square().mean())

    def record(self, position: StepPosition) -> tuple[str, dict[str, Tensor]]:
        return f"step {position.step}", {"values": self.batch(position)}

    def pictures(self, model: nn.Module) -> Mapping[str, Tensor]:
        return {}


class Point(nn.Module):
    """x − point, noted in a buffer as batch normalisation would."""

    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.point = nn.Parameter(torch.zeros(3))
        self.register_buffer("seen", torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.seen.mul_(0.5).add_(0.5 * x.detach().mean(0))
        return x - self.point
