"""A camera's noise as a transform of torchvision (v2)."""

from typing import Any

import torch
from torch import Tensor

from noiseflow.augment.adapters import LARGEST_INDEX, check_target, missing, noisy_batch
from noiseflow.augment.augmentation import Augmentation
from noiseflow.core.errors import DataError

try:
    import PIL.Image
    from torchvision import tv_tensors
    from torchvision.transforms import v2
except ImportError as error:
    raise missing("torchvision", error) from error

__all__ = ["CameraNoise"]


def _is_image(value: Any) -> bool:
    """Whether a value is an image, a video or a plain tensor, in contrast to masks and boxes."""
    picture = tv_tensors.Image, tv_tensors.Video, PIL.Image.Image
    return isinstance(value, picture) or (isinstance(value, Tensor) and not isinstance(value, tv_tensors.TVTensor))


class CameraNoise(v2.Transform):  # type: ignore[misc]
    """Transform for ``torchvision.transforms.v2``: adds noise to images and videos, leaves masks and boxes unchanged.

    Images must be floating point: put ``v2.ToImage()`` and ``v2.ToDtype(torch.float32, scale=True)`` before it.

    Parameters
    ----------
    add_noise : AddCameraNoise or AddNoiseToPictures
        Augmentation to apply.
    pair : bool
        Whether to return each image as the pair (noisy, clean); the clean image is the training target.
    """

    _transformed_types = (_is_image,)

    def __init__(self, add_noise: Augmentation, *, pair: bool = False) -> None:
        super().__init__()
        check_target(add_noise, "pair=True", has_place=pair)
        self.add_noise, self.pair = add_noise, pair

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw a number for the sample with torch's global generator."""
        return {"number": int(torch.randint(0, LARGEST_INDEX + 1, ()))}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Add noise to (…, C, H, W)."""
        if isinstance(inpt, PIL.Image.Image):
            raise DataError(
                "CameraNoise: expected a tensor; got a PIL picture: put v2.ToImage() and "
                "v2.ToDtype(torch.float32, scale=True) before it"
            )
        if not inpt.is_floating_point():
            raise DataError(
                f"CameraNoise: expected floating point; got {inpt.dtype}: put v2.ToDtype(torch.float32, scale=True) "
                "before it"
            )
        batch = noisy_batch(self.add_noise, inpt.as_subclass(torch.Tensor), params["number"])
        wrap = isinstance(inpt, tv_tensors.TVTensor)
        noisy, clean = (tv_tensors.wrap(each, like=inpt) if wrap else each for each in (batch.noisy, batch.clean))
        return (noisy, clean) if self.pair else noisy
