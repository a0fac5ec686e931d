"""Noise models: a condition in, a distribution of noise out."""

from noiseflow.models import gaussian, nlf, noise_flow, physics_flow
from noiseflow.models.model import MODELS, NoiseModel, build, register
from noiseflow.models.spec import ModelSpec
from noiseflow.models.statistics import NoiseStatistics

__all__ = [
    "MODELS",
    "ModelSpec",
    "NoiseModel",
    "NoiseStatistics",
    "build",
    "gaussian",
    "nlf",
    "noise_flow",
    "physics_flow",
    "register",
]
