"""Weights of a model as plain tensors: copies, averages, exchanges."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["Average", "copied", "holding"]

Weights = dict[str, Tensor]


def copied(model: nn.Module) -> Weights:
    """A copy of a model's parameters and buffers."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


@contextmanager
def holding(model: nn.Module, weights: Mapping[str, Tensor] | None) -> Iterator[None]:
    """Let the model have other weights for a while; its own if None."""
    if weights is None:
        yield
        return
    own = copied(model)
    model.load_state_dict(weights)
    try:
        yield
    finally:
        model.load_state_dict(own)


class Average:
    """Exponential moving average of weights: w̄ ← d·w̄ + (1 − d)·w at each step.

    Early on d is (1 + k)/(10 + k) after k steps, if that is less, so that the start is forgotten.

    Parameters
    ----------
    model : nn.Module
        Where it starts.
    decay : float
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = copied(model)

    @torch.no_grad()
    def take(self, model: nn.Module, step: int) -> None:
        """Take in the weights after a step; counts, which are whole numbers, are copied."""
        keep = min(self.decay, (1 + step) / (10 + step))
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                self.weights[name].lerp_(value, 1 - keep)
            else:
                self.weights[name].copy_(value)
