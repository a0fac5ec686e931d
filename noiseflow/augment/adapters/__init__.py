"""`AddCameraNoise` and `AddNoiseToPictures` as parts of other libraries' pipelines; each is an extra of its own.

All but `deepinv`, which brings a generator, draw one 32-bit number by the library's own means
and take it for the sample's index, so that the library's seeds decide and its replays repeat the noise.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from noiseflow.augment.camera_noise import NoisyBatch
from noiseflow.core.errors import ModelError

__all__ = ["LARGEST_INDEX", "AddNoise", "missing", "noisy_of"]

LARGEST_INDEX = 2**32 - 1


class AddNoise(Protocol):
    """What adapters wrap: `AddCameraNoise` for raw planes or mosaics, `AddNoiseToPictures` for sRGB."""

    __call__: Callable[..., NoisyBatch]


def missing(extra: str, error: ImportError) -> ModelError:
    """The error where a library is not installed."""
    return ModelError(
        f"the {extra} adapter needs the extra [{extra}]: pip install 'camera-noiseflow[{extra}]' ({error})"
    )


def noisy_of(add_noise: AddNoise, clean: Tensor, number: int) -> Tensor:
    """Noisy values of one element (C, H, W) or of a batch, whose elements are numbered from `number` on."""
    count = 1 if clean.ndim == 3 else len(clean)
    index = [(number + element) % (LARGEST_INDEX + 1) for element in range(count)]
    return add_noise(clean.as_subclass(torch.Tensor), index).noisy
