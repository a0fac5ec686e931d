"""Noise models: a condition in, a distribution of noise out."""

from noiseflow.models.closed_form import gaussian, nlf
from noiseflow.models.denoiser import Denoiser, load_denoiser
from noiseflow.models.flow import glow, iaf, layered_flow, maf, noise_flow, physics_flow, realnvp
from noiseflow.models.io.named import list_cameras, load
from noiseflow.models.io.published_weights import import_published
from noiseflow.models.io.run_folder import save
from noiseflow.models.model import MODELS, ModelSpec, NoiseModel, build, register
from noiseflow.models.noise_statistics import NoiseStatistics
from noiseflow.models.physics import dark_frame, spectral
from noiseflow.models.physics.profile_models import from_profile, spec_from_profile
from noiseflow.models.temporal import temporal_noise
from noiseflow.models.temporal.temporal_noise import TemporalNoise, temporal_spec

__all__ = [
    "MODELS",
    "Denoiser",
    "ModelSpec",
    "NoiseModel",
    "NoiseStatistics",
    "TemporalNoise",
    "build",
    "dark_frame",
    "from_profile",
    "gaussian",
    "glow",
    "iaf",
    "import_published",
    "layered_flow",
    "list_cameras",
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
    "spectral",
    "temporal_noise",
    "temporal_spec",
]
