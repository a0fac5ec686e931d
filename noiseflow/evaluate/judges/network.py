"""A judge that learns its own features: a small convolutional classifier of the residuals."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import softplus

from noiseflow.evaluate.judges.judge import Array, Judge

__all__ = ["NETWORK"]

SIZE = 24
"""Height and width of the network's input, pixels; larger patches are cropped to their top left."""

WIDTH, FOLDS = 8, 2
"""Channels of the convolutions, and folds of the cross-validation."""

STEPS, BATCH, RATE = 150, 32, 1e-2
"""Training steps, pairs per step, and initial learning rate."""

MOST_PAIRS = 4096
"""Largest number of pairs used for training."""


def seen(residual: Tensor, brightness: Tensor) -> Tensor:
    """Return the residuals, clipped at ±8 σ, and a plane with the square root of the signal, (B, C + 1, h, w)."""
    cut = residual[:, :, :SIZE, :SIZE].clamp(-8, 8)
    light = brightness.clamp(min=0).sqrt()[:, None, None, None].expand(-1, 1, *cut.shape[2:])
    return torch.cat([cut, light], 1)


class _Network(nn.Module):
    """Two 3×3 convolutions, means of the maps and of their squares, and a linear layer: about 1,000 weights."""

    def __init__(self, planes: int, generator: torch.Generator) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(planes, WIDTH, 3), nn.Conv2d(WIDTH, WIDTH, 3)
        self.last = nn.Linear(4 * WIDTH + 2 * planes, 1)
        self.norm = nn.BatchNorm1d(4 * WIDTH + 2 * planes)
        with torch.no_grad():
            for layer in (self.first, self.second):
                spread = (2 / layer.weight[0].numel()) ** 0.5
                layer.weight.normal_(0, spread, generator=generator)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
            self.last.weight.zero_()
            self.last.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Return the log-odds that each patch is real, (B,)."""
        one = self.first(x).relu()
        two = self.second(one).relu()
        pooled = [each for maps in (x, one, two) for each in (maps.mean((2, 3)), maps.square().mean((2, 3)))]
        odds: Tensor = self.last(self.norm(torch.cat(pooled, 1)))[:, 0]
        return odds


def hits(real: Array, sampled: Array, group: NDArray[np.int64]) -> Array:
    """Return how many of each pair a network classifies correctly that was trained on the other half of the groups."""
    pairs = torch.from_numpy(np.stack([real, sampled], 1)).float()
    distinct = np.unique(group)
    few = len(distinct) < 2 * FOLDS
    fold = np.arange(len(group)) * FOLDS // len(group) if few else np.searchsorted(distinct, group) % FOLDS
    found = np.zeros(len(group))
    for number in range(FOLDS):
        test = np.flatnonzero(fold == number)
        network = _trained(pairs, np.flatnonzero(fold != number), number)
        for start in range(0, len(test), 256):
            rows = test[start : start + 256]
            with torch.no_grad():
                odds = network(pairs[rows].flatten(0, 1)).reshape(-1, 2).numpy()
            found[rows] = np.heaviside(odds[:, 0], 0.5) + np.heaviside(-odds[:, 1], 0.5)
    return found


@torch.enable_grad()
def _trained(pairs: Tensor, rows: NDArray[np.int64], seed: int) -> _Network:
    """Train a network on pairs with the logistic loss, AdamW, and a cosine learning rate that falls to zero."""
    generator = torch.Generator().manual_seed(seed)
    rows = rows[:MOST_PAIRS]
    network = _Network(pairs.shape[2], generator)
    optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=1e-2)
    for step in range(STEPS):
        for entry in optimiser.param_groups:
            entry["lr"] = RATE * 0.5 * (1 + np.cos(np.pi * step / STEPS))
        chosen = rows[torch.randint(len(rows), (BATCH,), generator=generator).numpy()]
        odds = network(_shifted(pairs[chosen], generator).flatten(0, 1)).reshape(-1, 2)
        loss = (softplus(-odds[:, 0]) + softplus(odds[:, 1])).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return network.eval()


def _shifted(pairs: Tensor, generator: torch.Generator) -> Tensor:
    """Crop pairs by zero to three rows and columns, so that the network does not memorise positions."""
    down, across = (int(torch.randint(4, (1,), generator=generator)) for _ in range(2))
    return pairs[..., down:, across:]


NETWORK = Judge(
    "a small network",
    f"Residuals of at most {SIZE} × {SIZE} pixels, and the signal; two convolutions with {WIDTH} maps, the means of "
    f"the maps and of their squares, and one linear layer; trained for {STEPS} steps of {BATCH} pairs on each half of "
    "the scenes, and tested on the other half.",
    seen,
    hits,
)
