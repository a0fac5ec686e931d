"""The latent of single values of a flow with line noise, for the exact probability of each code."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from noiseflow.flows.camera.line_noise import LineNoise
from noiseflow.flows.camera.row_noise import RowNoise
from noiseflow.flows.conditions import Resolved
from noiseflow.flows.flow import Flow
from noiseflow.flows.iso_table import at_iso

__all__ = ["FAINT", "SingleValues", "knows_single_values", "latent_of_single_values"]

FAINT = 0.02
"""Largest ratio of line to read-noise variance at which training uses the exact probability of each single code.

Lines are Gaussian, so a single code has excess kurtosis κ/(1 + ratio)²; κ, which is used, is at most 4 % larger."""


def knows_single_values(flow: Flow) -> bool:
    """Whether each value of a flow has a latent by itself: not with lines beyond `FAINT`, or where pixels are mixed."""
    others = flow.transforms[1:]
    lines = [each for each in others if isinstance(each, LineNoise)]
    offsets = torch.stack([each.offset_variance() for each in lines]).sum(0)
    elementwise = all(each.elementwise for each in others if not isinstance(each, LineNoise))
    return elementwise and not bool((offsets > FAINT).any())


def latent_of_single_values(flow: Flow, noise: Tensor, cond: Resolved) -> Tensor | None:
    """Latent of each value alone, with the variance of lines added to that of the read noise.

    None if the flow does not know it; see `knows_single_values`.

    Parameters
    ----------
    flow : Flow
        A head, line noise, and transforms of single pixels.
    noise : Tensor, shape (B, C, H, W)
        Noise, DN.
    cond : Resolved
        Clean signal, ISO and camera.
    """
    if not knows_single_values(flow):
        return None
    head, *others = flow.transforms
    lines = [each for each in others if isinstance(each, LineNoise)]
    rest: list[Any] = [each for each in others if not isinstance(each, LineNoise)]
    offsets = torch.stack([each.offset_variance() for each in lines]).sum(0)
    found = flow.shared_features(cond)
    if found is None:
        raise TypeError(f"{type(head).__name__} gives no noise parameters")
    lights = [each.light_variance() for each in lines if isinstance(each, RowNoise)]
    tables = (offsets, sum(lights, torch.zeros_like(offsets)))
    knots = lines[0].log_isos.to(offsets)
    share, light = (at_iso(each[cond.camera], knots, cond.iso)[:, None, None, None] for each in tables)
    wide = replace(found, beta2=found.beta2 * (1 + share))
    z = noise * (wide.variance() + light * found.clean.square()).rsqrt()
    for each in rest:
        z, _ = each(z, cond, wide)
    return z


class SingleValues:
    """A model of a flow that knows the distribution of each value by itself, where lines are faint."""

    flow: Flow

    @property
    def knows_marginals(self) -> bool:
        """Whether lines are faint and no coupling mixes pixels."""
        return knows_single_values(self.flow)

    @property
    def trains_dependence(self) -> bool:
        """Whether parameters of the lines are trained, of which one pixel does not show the strength."""
        lines = (each for each in self.flow.transforms if isinstance(each, LineNoise))
        return any(parameter.requires_grad for each in lines for parameter in each.parameters())

    def marginal_latent(self, noise: Tensor, cond: Resolved) -> Tensor | None:
        """Latent of each value alone, line noise in its variance; None for strong lines and couplings."""
        return latent_of_single_values(self.flow, noise, cond)
