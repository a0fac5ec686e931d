"""Use of noise models: noisy whole frames and bursts, training batches, and synthesised data sets."""

import lazy_loader

# The augmentations load PyTorch's compiler, which a command that samples frames does without.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
