"""Noise models of cameras: from raw files to a fitted density, its samples and its scores.

>>> import torch
>>> import noiseflow
>>> model = noiseflow.build(noiseflow.ModelSpec("nlf"))
>>> cond = noiseflow.Conditions(clean=torch.full((2, 4, 8, 8), 0.2), iso=100.0, camera="camera")
>>> noise = model.sample(cond, generator=torch.Generator().manual_seed(0))
>>> model.log_prob(noise, cond).shape
torch.Size([2])
"""

from noiseflow._version import __version__
from noiseflow.errors import NoiseflowError
from noiseflow.flows.conditions import Conditions
from noiseflow.models import ModelSpec, NoiseModel, build, load
from noiseflow.raw import RawImage, read_raw

__all__ = [
    "Conditions",
    "ModelSpec",
    "NoiseModel",
    "NoiseflowError",
    "RawImage",
    "__version__",
    "build",
    "load",
    "read_raw",
]
