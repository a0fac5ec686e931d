"""A camera's noise as a dictionary transform of MONAI."""

from collections.abc import Hashable, Mapping
from typing import Any

import torch

from noiseflow.augment.adapters import check_target, missing, noisy_batch
from noiseflow.augment.augmentation import Augmentation

try:
    from monai.transforms import MapTransform, RandomizableTransform
    from monai.utils import convert_to_dst_type
except ImportError as error:
    raise missing("monai", error) from error

__all__ = ["RandCameraNoised"]


class RandCameraNoised(RandomizableTransform, MapTransform):  # type: ignore[misc]
    """Dictionary transform for ``monai``: adds noise to entries (C, H, W) of a sample, all with the same draw.

    Parameters
    ----------
    keys : str or sequence of str
        Keys of the entries that get noise.
    add_noise : AddCameraNoise or AddNoiseToPictures
        Augmentation to apply.
    prob : float
        Probability that a sample gets noise.
    allow_missing_keys : bool
        Whether a sample may lack some of the keys.
    clean_suffix : str, optional
        Suffix of the keys under which the result contains the clean targets.
    """

    def __init__(
        self,
        keys: Any,
        add_noise: Augmentation,
        prob: float = 1.0,
        allow_missing_keys: bool = False,
        clean_suffix: str | None = None,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        check_target(add_noise, "clean_suffix='_clean'", has_place=clean_suffix is not None)
        self.add_noise, self.clean_suffix = add_noise, clean_suffix
        self.number = 0

    def randomize(self, data: Any = None) -> None:
        """Draw a number for the sample with the transform's random state."""
        super().randomize(None)
        self.number = int(self.R.randint(0, 2**32, dtype="uint32"))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add noise to the entries named by `keys`."""
        sample = dict(data)
        self.randomize()
        for key in self.key_iterator(sample):
            given = clean = sample[key]
            if self._do_transform:
                batch = noisy_batch(self.add_noise, torch.as_tensor(given), self.number)
                sample[key], clean = (convert_to_dst_type(each, given)[0] for each in (batch.noisy, batch.clean))
            if self.clean_suffix is not None:
                sample[f"{key}{self.clean_suffix}"] = clean
        return sample
