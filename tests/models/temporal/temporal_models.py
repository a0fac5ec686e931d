"""Temporal models with random parameters, and what they say written out by hand."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.flows.conditions import Conditions
from noiseflow.models import ModelSpec, TemporalNoise, build, temporal_spec
from noiseflow.models.closed_form.nlf import NoiseLevelFunction

LINEAR = ("dark_pattern", "response_pattern", "black_drift", "light_flicker")
SIGMAS = {"dark_pattern": 6e-3, "response_pattern": 1.5e-2, "black_drift": 6e-3, "light_flicker": 2e-2}
"""σ of each part; nlf's own is 0.02 in the dark."""


def temporal_model(
    parts: tuple[str, ...], seed: int = 0, frame: str = "nlf", layout: str = "mono", pattern: str = "within"
) -> TemporalNoise:
    """In float64, every parameter moved."""
    spec = ModelSpec(frame, layout, ("A", "B"), (100.0, 400.0))
    model = build(temporal_spec(spec, parts, pattern)).double().eval()
    assert isinstance(model, TemporalNoise)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=draw, dtype=parameter.dtype)
        for name, part in model.parts.items():
            if name in SIGMAS:
                part.log_sigma.copy_(np.log(SIGMAS[name]) + 0.1 * part.log_sigma / part.log_sigma.abs().max())
        if isinstance(model.frame, NoiseLevelFunction):
            model.frame.log_beta2 += np.log(4e-4) - np.log(1e-6)
        if model.telegraph is not None:
            model.telegraph.logit_fraction += 4.0
            model.telegraph.log_amplitude += np.log(0.04) - np.log(1e-3)
    return model.requires_grad_(False)


def covariance_of(model: TemporalNoise, clean: Tensor, cond: Conditions) -> NDArray[np.float64]:
    """Covariance of one element's noise in time order, (T·N, T·N), from the physics: a sum of offsets and gains.

    Clean signal (T, N); conditions resolved, of that element.
    """

    def variance(name: str) -> float:
        return float(model.parts[name].at("log_sigma", cond)[0].exp()) ** 2 if name in model.parts else 0.0

    def phi(name: str) -> float:
        return float(model.parts[name].memory(cond)[0]) if name in model.parts else 0.0

    assert isinstance(model.frame, NoiseLevelFunction)
    beta1, beta2 = (float(beta) for beta in model.frame.betas(cond))
    frames, pixels = clean.shape
    signal = clean.numpy()
    found = np.zeros((frames, pixels, frames, pixels))
    for t in range(frames):
        for s in range(frames):
            own = variance("dark_pattern") + variance("response_pattern") * signal[t] * signal[s]
            if s == t and not model.adds_pattern:
                own = beta1 * signal[t] + beta2
            elif s == t:
                own = own + beta1 * signal[t] + beta2
            lag = abs(t - s)
            shared = variance("black_drift") * phi("black_drift") ** lag
            light = variance("light_flicker") * phi("light_flicker") ** lag * np.outer(signal[t], signal[s])
            found[t, :, s] = np.diag(own) + shared + light
    return found.reshape(frames * pixels, frames * pixels)
