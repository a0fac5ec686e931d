"""A camera's noise as a dictionary transform of MONAI."""

from collections.abc import Hashable, Mapping
from typing import Any

import torch

from noiseflow.augment.adapters import AddNoise, missing, noisy_of

try:
    from monai.transforms import MapTransform, RandomizableTransform
    from monai.utils import convert_to_dst_type
except ImportError as error:
    raise missing("monai", error) from error

__all__ = ["RandCameraNoised"]


class RandCameraNoised(RandomizableTransform, MapTransform):  # type: ignore[misc]
    """Noise of ``monai.transforms`` on entries of a sample, (C, H, W), all with the same draw.

    Parameters
    ----------
    keys : str or sequence of str
        Entries of a sample that get noise.
    add_noise : AddCameraNoise or AddNoiseToPictures
        Augmentation to apply.
    prob : float
        Probability that a sample gets noise.
    allow_missing_keys : bool
        Whether a sample may lack some of the keys.
    """

    def __init__(self, keys: Any, add_noise: AddNoise, prob: float = 1.0, allow_missing_keys: bool = False) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.add_noise = add_noise
        self.number = 0

    def randomize(self, data: Any = None) -> None:
        """Draw a number for the sample with the transform's random state."""
        super().randomize(None)
        self.number = int(self.R.randint(0, 2**32, dtype="uint32"))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add noise to the entries named by `keys`."""
        sample = dict(data)
        self.randomize()
        if self._do_transform:
            for key in self.key_iterator(sample):
                clean = torch.as_tensor(sample[key])
                sample[key] = convert_to_dst_type(noisy_of(self.add_noise, clean, self.number), sample[key])[0]
        return sample
