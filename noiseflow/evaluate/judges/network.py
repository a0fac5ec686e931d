"""A judge that learns what to look at: a small convolutional classifier of the residuals themselves."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import softplus

from noiseflow.evaluate.judges.judge import Array, Judge

__all__ = ["NETWORK"]

SIZE = 24
"""Pixels a side of what it sees; larger patches are cut to their first."""

WIDTH, FOLDS = 8, 2
STEPS, BATCH, RATE = 150, 32, 1e-2
MOST_PAIRS = 4096


def seen(residual: Tensor, brightness: Tensor) -> Tensor:
    """The residuals and a plane of the root of the signal, (B, C + 1, h, w); far values are drawn in."""
    cut = residual[:, :, :SIZE, :SIZE].clamp(-8, 8)
    light = brightness.clamp(min=0).sqrt()[:, None, None, None].expand(-1, 1, *cut.shape[2:])
    return torch.cat([cut, light], 1)


class _Network(nn.Module):
    """Two layers of 3×3, the means of the maps and of their squares, and a linear layer: about 1,000 weights."""

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
        """Log-odds that a patch is real, (B,)."""
        one = self.first(x).relu()
        two = self.second(one).relu()
        pooled = [each for maps in (x, one, two) for each in (maps.mean((2, 3)), maps.square().mean((2, 3)))]
        odds: Tensor = self.last(self.norm(torch.cat(pooled, 1)))[:, 0]
        return odds


def hits(real: Array, sampled: Array, group: NDArray[np.int64]) -> Array:
    """Of each pair, how many are classified correctly by a network trained on the other half of the groups."""
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
    """A network trained on pairs: logistic loss, Adam, a rate that falls to zero."""
    generator = torch.Generator().manual_seed(seed)
    rows = rows[:MOST_PAIRS]
    network = _Network(pairs.shape[2], generator)
    optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=1e-2)
    for step in range(STEPS):
        for entry in optimiser.param_groups:
            entry["lr"] = RATE * 0.5 * (1 + np.cos(np.pi * step / STEPS))
        chosen = rows[torch.randint(len(rows), (BATCH,), generator=generator).numpy()]
        odds = network(_turned(pairs[chosen], generator).flatten(0, 1)).reshape(-1, 2)
        loss = (softplus(-odds[:, 0]) + softplus(odds[:, 1])).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return network.eval()


def _turned(pairs: Tensor, generator: torch.Generator) -> Tensor:
    """The same pairs cut at another place: up to three lines off, so that places are not learned by heart."""
    down, across = (int(torch.randint(4, (1,), generator=generator)) for _ in range(2))
    return pairs[..., down:, across:]


NETWORK = Judge(
    "a small network",
    f"Residuals of at most {SIZE} × {SIZE} pixels and the signal; two convolutions of {WIDTH} maps, means of the maps "
    f"and of their squares, one linear layer, {STEPS} steps of {BATCH} pairs on each half of the scenes, tried on the "
    "other half.",
    seen,
    hits,
)
