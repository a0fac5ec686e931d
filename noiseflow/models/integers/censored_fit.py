"""Maximum likelihood of integer codes (censored regression) for models with exact code probabilities."""

import copy
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from noiseflow.flows.conditions import Conditions, Resolved
from noiseflow.models.adc_levels import Levels, log_cells
from noiseflow.models.capabilities import CodesByLatent, exact_codes
from noiseflow.models.model import NoiseModel, checked_conditions
from noiseflow.models.noise_statistics import expected_signal

__all__ = ["maximise_code_likelihood"]

Model = TypeVar("Model", bound=NoiseModel)


def maximise_code_likelihood(
    model: Model, codes: Tensor, cond: Conditions, levels: Levels, iterations: int = 100
) -> Model:
    """Maximise Σ log P(codes) by L-BFGS in float64, starting from the model's parameters.

    Clipped codes contribute their whole tail (censored, or Tobit, regression).  Where the clean signal is an
    estimate, the noise is measured from it, but its variance is that of the `expected_signal`.

    Parameters
    ----------
    model : NoiseModel
        Model with few parameters and an elementwise latent; it is not changed.
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
    assert isinstance(exact, CodesByLatent)
    latent = exact.latent.latent
    cells = levels.cells(codes, cond.clean)
    if levels.spread is not None:
        stored = cond.clean if levels.origin is None else levels.origin.double()
        signal = expected_signal(stored, levels.spread > 1, _settings(cond), cond.observed)
        cond = replace(cond, clean=signal)
    optimiser = torch.optim.LBFGS(
        fine.parameters(), max_iter=iterations, tolerance_change=1e-10, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        terms = -log_cells(latent(cells.low, cond), latent(cells.high, cond), cells)
        value = terms.mean() if cond.observed is None else terms[cond.observed].mean()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    with torch.enable_grad():
        optimiser.step(loss)  # type: ignore[no-untyped-call]
    return fine


def _settings(cond: Resolved) -> Tensor:
    """Number of each element's camera and ISO, (B,)."""
    settings = list(zip(cond.camera.tolist(), cond.iso.tolist(), strict=True))
    number = {setting: index for index, setting in enumerate(dict.fromkeys(settings))}
    return torch.tensor([number[setting] for setting in settings], device=cond.clean.device)
