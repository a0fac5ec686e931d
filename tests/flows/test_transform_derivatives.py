"""Derivatives of every transform both ways by values and clean signal, first and second order, against differences."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from transform_table import TRANSFORMS, conditions, generator, made, noise_like

STEP = 1e-4
Function = Callable[[Tensor], Tensor]


def difference(function: Function, at: Tensor, direction: Tensor) -> Tensor:
    """(f(x + hd) − f(x − hd))/2h without its third-order error: Richardson on two steps."""
    coarse, fine = (
        (function(at + step * direction) - function(at - step * direction)) / (2 * step) for step in (STEP, STEP / 2)
    )
    return (4 * fine - coarse) / 3


def along(like: Tensor, seed: int) -> Tensor:
    return 0.3 * torch.randn(like.shape, generator=generator(seed), dtype=like.dtype)


def gradient(function: Function, at: Tensor, graph: bool = False) -> Tensor:
    at = at if at.requires_grad else at.detach().requires_grad_()
    return torch.autograd.grad(function(at), at, create_graph=graph, materialize_grads=True)[0]


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("way", ["forward", "inverse"])
@pytest.mark.parametrize("by", ["values", "clean"])
def test_first_and_second_derivatives(name: str, way: str, by: str) -> None:
    case = TRANSFORMS[name]
    transform = made(replace(case, spread=min(case.spread, 0.1)))
    cond = conditions(3, case.planes, 4, 3)
    # Away from the ends of splines, where a second derivative jumps.
    cond = replace(cond, clean=0.05 + 0.9 * cond.clean)
    values = noise_like(cond, scale=0.7)
    weight = noise_like(cond, seed=9)

    def scalar(given: Tensor) -> Tensor:
        x, known = (given, cond) if by == "values" else (values, replace(cond, clean=given))
        if way == "inverse":
            return (weight * transform.inverse(x, known).square()).sum()
        z, log_det = transform(x, known)
        return (weight * z.square()).sum() + log_det.sum()

    at = values if by == "values" else cond.clean
    one, two = along(at, 3), along(at, 4)
    with torch.no_grad():
        expected = float(difference(scalar, at, one))
    assert float((gradient(scalar, at) * one).sum()) == pytest.approx(expected, rel=1e-6, abs=1e-8)
    point = at.clone().requires_grad_()
    slope = (gradient(scalar, point, graph=True) * one).sum()
    second = torch.autograd.grad(slope, point, materialize_grads=True)[0] if slope.requires_grad else 0 * point
    expected = float((difference(lambda given: gradient(scalar, given), at, two) * one).sum())
    assert float((second * two).sum()) == pytest.approx(expected, rel=1e-6, abs=1e-7)
