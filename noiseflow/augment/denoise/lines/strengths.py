"""Strength of the row and column noise of a noise model."""

from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor

from noiseflow.flows.conditions import Conditions
from noiseflow.flows.transform import WholeLines
from noiseflow.models.capabilities import HasVariance, of_one_frame
from noiseflow.models.flow.flow_model import FlowModel
from noiseflow.models.model import NoiseModel, checked_conditions
from noiseflow.models.physics.dark_frame import DarkFrame

__all__ = ["LineStrengths", "line_strengths"]

FLAT = 256
"""Side of the sampled dark flat, in pixels of a plane; the σ of its lines is then known to 3 %."""

SURE = 4.0
"""The variance of lines must be this many standard errors above 0 to count."""


class LineStrengths(NamedTuple):
    """σ of the offsets of sensor rows and sensor columns, normalised; 0 if there are none."""

    row: float
    column: float


def line_strengths(model: NoiseModel, iso: float, camera: str) -> LineStrengths:
    """Measure the line noise of a model of Bayer planes on a dark sample.

    The two halves of a line share its offset but no pixel.  So the covariance of their means is the variance of the
    offsets, whatever the noise of pixels and neighbours.

    Parameters
    ----------
    model : NoiseModel
        Model of Bayer planes.
    iso, camera : float, str
        ISO and camera of the noise.
    """
    model = of_one_frame(model)
    if not _may_have_lines(model):
        return LineStrengths(0.0, 0.0)
    like = next(chain(model.parameters(), model.buffers()), torch.empty(0))
    size = (FLAT, FLAT)
    if isinstance(model, DarkFrame):
        height, width = model.frames_at(iso).shape[-2:]
        size = min(FLAT, height), min(FLAT, width)
    cond = checked_conditions(model, Conditions(torch.zeros(1, 4, *size, device=like.device), iso, camera))
    with torch.no_grad():
        noise = model.sample(cond, torch.Generator(like.device).manual_seed(0))[0].double().cpu()
    red, green_1, green_2, blue = noise
    rows = torch.stack([red + green_1, green_2 + blue]) / 2
    columns = torch.stack([red + green_2, green_1 + blue]).mT / 2
    return LineStrengths(_sigma(rows), _sigma(columns))


def _may_have_lines(model: NoiseModel) -> bool:
    """Whether the model may have line noise at all; measuring it by sampling takes seconds."""
    if isinstance(model, FlowModel):
        return any(isinstance(module, WholeLines) for module in model.modules())
    return not isinstance(model, HasVariance)


def _sigma(lines: Tensor) -> float:
    """σ of the offsets of lines, (..., lines, pixels); 0 if it is not significant."""
    left, right = (half.mean(-1) for half in lines.chunk(2, -1))
    products = ((left - left.mean()) * (right - right.mean())).flatten()
    error = products.std() / len(products) ** 0.5
    variance = float(products.mean())
    return variance**0.5 if variance > SURE * float(error) else 0.0
