"""Noise models: a condition in, a distribution of noise out."""

from noiseflow.models import dark_frame, gaussian, glow, iaf, maf, nlf, noise_flow, physics_flow, realnvp
from noiseflow.models.denoiser import Denoiser, load_denoiser
from noiseflow.models.files import load, save
from noiseflow.models.model import MODELS, NoiseModel, build, register
from noiseflow.models.physics import from_profile, spec_from_profile
from noiseflow.models.published import import_published
from noiseflow.models.spec import ModelSpec
from noiseflow.models.statistics import NoiseStatistics

__all__ = [
    "MODELS",
    "Denoiser",
    "ModelSpec",
    "NoiseModel",
    "NoiseStatistics",
    "build",
    "dark_frame",
    "from_profile",
    "gaussian",
    "glow",
    "iaf",
    "import_published",
    "load",
    "load_denoiser",
    "maf",
    "nlf",
    "noise_flow",
    "physics_flow",
    "realnvp",
    "register",
    "save",
    "spec_from_profile",
]
