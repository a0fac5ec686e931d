"""Adapters of `AddCameraNoise` and `AddNoiseToPictures` for other libraries; each is an extra.

The adapters draw one 32-bit number per sample with the library's own generator and use it as the sample's index,
so that the library's seeds apply and its replays repeat the noise.  `deepinv` passes a generator instead.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from noiseflow.augment.camera_noise import NoisyBatch
from noiseflow.core.errors import ModelError
from noiseflow.core.extras import install

__all__ = ["LARGEST_INDEX", "AddNoise", "missing", "noisy_of"]

LARGEST_INDEX = 2**32 - 1


class AddNoise(Protocol):
    """Augmentation that adapters wrap: `AddCameraNoise` for raw data, `AddNoiseToPictures` for sRGB."""

    __call__: Callable[..., NoisyBatch]


def missing(extra: str, error: ImportError) -> ModelError:
    """Error for a library that is not installed."""
    return ModelError(f"the {extra} adapter needs a library that is not installed: {install(extra)} ({error})")


def noisy_of(add_noise: AddNoise, clean: Tensor, number: int) -> Tensor:
    """Add noise to one element (C, H, W), or to a batch whose elements are numbered from `number` on."""
    count = 1 if clean.ndim == 3 else len(clean)
    index = [(number + element) % (LARGEST_INDEX + 1) for element in range(count)]
    return add_noise(clean.as_subclass(torch.Tensor), index).noisy
