"""Use of noise models: noisy whole frames and bursts, training batches, and synthesised data sets."""

import lazy_loader

# Imported on first use: the augmentations load PyTorch's compiler, which sampling frames does not need.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
