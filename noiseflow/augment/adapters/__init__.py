"""Adapters of `AddCameraNoise` and `AddNoiseToPictures` for other libraries; each is an extra.

The adapters draw one 32-bit number per sample with the library's own generator and use it as the sample's index.
So the library's seeds apply, and its replays repeat the noise.  The adapter for `deepinv` passes a generator instead.

An augmentation may change the exposure, and `AddNoiseToPictures` develops the clean picture again.  The clean target
then differs from the input.  Each adapter can return it in the way of its library.  If the user has not asked for it,
the adapter refuses such an augmentation, so that no wrong target is used for training.
"""

from torch import Tensor

from noiseflow.augment.augmentation import Augmentation
from noiseflow.augment.noisy_batch import NoisyBatch
from noiseflow.core.errors import DataError, ModelError
from noiseflow.core.extras import install

__all__ = ["LARGEST_INDEX", "check_target", "missing", "noisy_batch"]

LARGEST_INDEX = 2**32 - 1


def missing(extra: str, error: ImportError) -> ModelError:
    """Make the error for a library that is not installed."""
    return ModelError(f"the {extra} adapter needs a library that is not installed: {install(extra)} ({error})")


def noisy_batch(add_noise: Augmentation, clean: Tensor, number: int) -> NoisyBatch:
    """Add noise to (…, C, H, W) with element indices `number`, `number` + 1, …; the results have the same shape."""
    lead = clean.shape[:-3]
    batch = clean.reshape(-1, *clean.shape[-3:])
    index = [(number + element) % (LARGEST_INDEX + 1) for element in range(len(batch))]
    found: NoisyBatch = add_noise(batch, index)
    for name in ("noisy", "clean", "noise_level"):
        value = getattr(found, name)
        setattr(found, name, value.reshape(*lead, *value.shape[1:]))
    return found


def check_target(add_noise: Augmentation, place: str, *, has_place: bool) -> None:
    """Refuse an augmentation whose clean picture may differ from the input if the adapter does not return it.

    Parameters
    ----------
    add_noise : Augmentation
        The augmentation.
    place : str
        Argument that makes the adapter return the clean picture, for the error.
    has_place : bool
        Whether that argument was given.

    Raises
    ------
    DataError
        The clean picture may differ from the input and would be lost.
    """
    if not (has_place or add_noise.keeps_clean):
        raise DataError(
            "the clean picture may differ from the input (an exposure, or a new development), and training needs it "
            f"as the target: give {place}"
        )
