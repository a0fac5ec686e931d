"""Adapters of `AddCameraNoise` and `AddNoiseToPictures` for other libraries; each is an extra.

The adapters draw one 32-bit number per sample with the library's own generator and use it as the sample's index,
so that the library's seeds apply and its replays repeat the noise.  `deepinv` passes a generator instead.

An augmentation may change the exposure, and `AddNoiseToPictures` develops the clean picture anew: the clean target
is then another than the input.  Each adapter returns it where its library has a place for it; where no place was
named, the adapter refuses such an augmentation instead of leaving a target that does not fit.
"""

from torch import Tensor

from noiseflow.augment.augmentation import Augmentation
from noiseflow.augment.noisy_batch import NoisyBatch
from noiseflow.core.errors import DataError, ModelError
from noiseflow.core.extras import install

__all__ = ["LARGEST_INDEX", "check_target", "missing", "noisy_batch"]

LARGEST_INDEX = 2**32 - 1


def missing(extra: str, error: ImportError) -> ModelError:
    """Error for a library that is not installed."""
    return ModelError(f"the {extra} adapter needs a library that is not installed: {install(extra)} ({error})")


def noisy_batch(add_noise: Augmentation, clean: Tensor, number: int) -> NoisyBatch:
    """Add noise to (…, C, H, W), whose elements are numbered from `number` on; the results have its shape."""
    lead = clean.shape[:-3]
    batch = clean.reshape(-1, *clean.shape[-3:])
    index = [(number + element) % (LARGEST_INDEX + 1) for element in range(len(batch))]
    found: NoisyBatch = add_noise(batch, index)
    for name in ("noisy", "clean", "noise_level"):
        value = getattr(found, name)
        setattr(found, name, value.reshape(*lead, *value.shape[1:]))
    return found


def check_target(add_noise: Augmentation, place: str, *, has_place: bool) -> None:
    """Refuse an augmentation whose clean picture may be another than the input, where it would be lost.

    Parameters
    ----------
    add_noise : Augmentation
        The augmentation.
    place : str
        What gives the clean picture a place, for the error.
    has_place : bool
        Whether it has one.

    Raises
    ------
    DataError
        It has none.
    """
    if not (has_place or add_noise.keeps_clean):
        raise DataError(
            f"the clean picture of the noisy one is not the input (an exposure, or a new development): give {place}, "
            "so that the target is not lost"
        )
