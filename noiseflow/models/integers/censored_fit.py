"""Maximum likelihood of the integers, for models that give each code its probability."""

import copy
from typing import TypeVar

import torch
from torch import Tensor

from noiseflow.flows.conditions import Conditions
from noiseflow.models.adc_levels import Levels
from noiseflow.models.model import NoiseModel

__all__ = ["climb_codes"]

Model = TypeVar("Model", bound=NoiseModel)


def climb_codes(model: Model, codes: Tensor, cond: Conditions, levels: Levels, iterations: int = 100) -> Model:
    """A copy of a model at the maximum of Σ log P(codes) that is uphill of it, by L-BFGS in float64.

    Clipped codes count as the tails that they are (censored, or Tobit, regression).

    Parameters
    ----------
    model : NoiseModel
        With few parameters and `exact_codes`.
    codes : Tensor, shape (B, C, H, W)
        DN.
    cond : Conditions
    levels : Levels
    iterations : int
        At the most.

    Returns
    -------
    NoiseModel
        In float64.
    """
    fine = copy.deepcopy(model).double()
    cond = fine.checked(Conditions(cond.clean.double(), cond.iso, cond.camera))
    optimiser = torch.optim.LBFGS(
        fine.parameters(), max_iter=iterations, tolerance_change=1e-10, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        log_prob = fine.log_prob_of_codes(codes, cond, levels)
        assert log_prob is not None
        value = -log_prob.mean()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    with torch.enable_grad():
        optimiser.step(loss)  # type: ignore[no-untyped-call]
    return fine
