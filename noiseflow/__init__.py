"""Noise models of cameras: from raw files to a fitted density, its samples and its scores.

>>> import torch
>>> import noiseflow
>>> model = noiseflow.build(noiseflow.ModelSpec("nlf"))
>>> cond = noiseflow.Conditions(clean=torch.full((2, 4, 8, 8), 0.2), iso=100.0, camera="camera")
>>> noise = model.sample(cond, generator=torch.Generator().manual_seed(0))
>>> model.log_prob(noise, cond).shape
torch.Size([2])
"""

import lazy_loader

from noiseflow.core.version import __version__ as __version__

# Torch is loaded with the first name that needs it, so that `noiseflow --help` is quick.
# The names stand in __init__.pyi, once.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
