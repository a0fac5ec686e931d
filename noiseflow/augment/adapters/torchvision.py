"""A camera's noise as a transform of torchvision (v2)."""

from typing import Any

import torch
from torch import Tensor

from noiseflow.augment.adapters import LARGEST_INDEX, AddNoise, missing, noisy_of

try:
    from torchvision import tv_tensors
    from torchvision.transforms import v2
except ImportError as error:
    raise missing("torchvision", error) from error

__all__ = ["CameraNoise"]


def _is_image(value: Any) -> bool:
    """Whether a value is an image or a plain tensor, not a mask or boxes."""
    return isinstance(value, Tensor) and (
        isinstance(value, tv_tensors.Image) or not isinstance(value, tv_tensors.TVTensor)
    )


class CameraNoise(v2.Transform):  # type: ignore[misc]
    """Noise of ``torchvision.transforms.v2`` on images; masks and boxes pass unchanged.

    Images must be floating point: put ``v2.ToDtype(torch.float32, scale=True)`` before it.

    Parameters
    ----------
    add_noise : AddCameraNoise or AddNoiseToPictures
        Augmentation to apply.
    """

    _transformed_types = (_is_image,)

    def __init__(self, add_noise: AddNoise) -> None:
        super().__init__()
        self.add_noise = add_noise

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw a number for the sample with torch's generator."""
        return {"number": int(torch.randint(0, LARGEST_INDEX + 1, ()))}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Add noise to (C, H, W) or a batch of them."""
        noisy = noisy_of(self.add_noise, inpt, params["number"])
        return tv_tensors.wrap(noisy, like=inpt) if isinstance(inpt, tv_tensors.TVTensor) else noisy
