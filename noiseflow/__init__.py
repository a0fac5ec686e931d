"""Noise models of cameras: from raw files to a fitted density, its samples and its scores.

>>> import torch
>>> import noiseflow
>>> model = noiseflow.build(noiseflow.ModelSpec("nlf"))
>>> cond = noiseflow.Conditions(clean=torch.full((2, 4, 8, 8), 0.2), iso=100.0, camera="camera")
>>> noise = model.sample(cond, generator=torch.Generator().manual_seed(0))
>>> model.log_prob(noise, cond).shape
torch.Size([2])
"""

from typing import TYPE_CHECKING

from noiseflow._version import __version__
from noiseflow.errors import NoiseflowError
from noiseflow.lazy import on_demand

if TYPE_CHECKING:
    from noiseflow.augment import sample_frame
    from noiseflow.evaluate import write_report
    from noiseflow.flows import Conditions
    from noiseflow.models import ModelSpec, NoiseModel, build, load, load_denoiser
    from noiseflow.patches import PatchStore
    from noiseflow.raw import RawImage, read_raw

__all__ = [
    "Conditions",
    "ModelSpec",
    "NoiseModel",
    "NoiseflowError",
    "PatchStore",
    "RawImage",
    "__version__",
    "build",
    "load",
    "load_denoiser",
    "read_raw",
    "sample_frame",
    "write_report",
]

_HOME = {
    "Conditions": "flows",
    "ModelSpec": "models",
    "NoiseModel": "models",
    "PatchStore": "patches",
    "RawImage": "raw",
    "build": "models",
    "load": "models",
    "load_denoiser": "models",
    "read_raw": "raw",
    "sample_frame": "augment",
    "write_report": "evaluate",
}

# Torch is loaded with the first name that needs it, so that `noiseflow --help` is quick.
__getattr__ = on_demand(__name__, _HOME)
