"""Maximum likelihood of integer codes (censored regression) for models with exact code probabilities."""

import copy
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from noiseflow.flows.conditions import Conditions
from noiseflow.models.adc_levels import Levels
from noiseflow.models.capabilities import exact_codes
from noiseflow.models.model import NoiseModel, checked_conditions

__all__ = ["maximise_code_likelihood"]

Model = TypeVar("Model", bound=NoiseModel)


def maximise_code_likelihood(
    model: Model, codes: Tensor, cond: Conditions, levels: Levels, iterations: int = 100
) -> Model:
    """Maximise Σ log P(codes) by L-BFGS in float64, starting from the model's parameters.

    Clipped codes contribute their whole tail (censored, or Tobit, regression).

    Parameters
    ----------
    model : NoiseModel
        Model with few parameters and exact code probabilities; it is not changed.
    codes : Tensor, shape (B, C, H, W)
        Whole numbers in DN.
    cond : Conditions
        Clean signal, ISO and camera of the codes, and which of them are observed.
    levels : Levels
        Black and white levels of the codes.
    iterations : int
        Largest number of iterations.

    Returns
    -------
    NoiseModel
        A copy in float64 at the local maximum.
    """
    fine = copy.deepcopy(model).double()
    cond = checked_conditions(fine, replace(cond, clean=cond.clean.double()))
    exact = exact_codes(fine)
    assert exact is not None
    optimiser = torch.optim.LBFGS(
        fine.parameters(), max_iter=iterations, tolerance_change=1e-10, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        terms = -exact.log_prob_of_codes(codes, cond, levels)
        value = terms.mean() if cond.observed is None else terms[cond.observed].mean()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    with torch.enable_grad():
        optimiser.step(loss)  # type: ignore[no-untyped-call]
    return fine
