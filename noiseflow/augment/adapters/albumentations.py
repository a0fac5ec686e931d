"""A camera's noise as a transform of albumentations."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from noiseflow.augment import AddCameraNoise, AddNoiseToPictures
from noiseflow.augment.adapters import check_target, missing, noisy_batch
from noiseflow.augment.augmentation import Augmentation
from noiseflow.core.errors import DataError
from noiseflow.models.io.run_folder import load

try:
    from albumentations import ImageOnlyTransform
except ImportError as error:
    raise missing("albumentations", error) from error

__all__ = ["CameraNoise"]


class CameraNoise(ImageOnlyTransform):  # type: ignore[misc]
    """Transform of ``albumentations`` for images (H, W, C) or (H, W): floats in 0…1, uint8 or uint16; dtypes are kept.

    Parameters
    ----------
    add_noise : AddCameraNoise, AddNoiseToPictures or str
        Augmentation to apply, or a run folder from which to build one with the model's ISO range.  Only a
        pipeline with a run folder can be saved as JSON or YAML.
    p : float
        Probability that an image gets noise.
    pictures : bool
        With a run folder: whether images are sRGB pictures instead of raw planes.
    clean_key : str, optional
        Key under which the result contains the clean image, which is the training target.
    """

    def __init__(
        self, add_noise: Augmentation | str, p: float = 0.5, pictures: bool = False, clean_key: str | None = None
    ) -> None:
        super().__init__(p=p)
        self.add_noise, self.pictures, self.clean_key = add_noise, pictures, clean_key
        made: Augmentation = AddCameraNoise(load(add_noise)) if isinstance(add_noise, str) else add_noise
        if isinstance(add_noise, str) and pictures:
            assert isinstance(made, AddCameraNoise)
            made = AddNoiseToPictures(made)
        check_target(made, "clean_key='clean'", has_place=clean_key is not None)
        self.augmentation = made

    def to_dict_private(self) -> dict[str, Any]:
        """State for JSON and YAML.

        Raises
        ------
        DataError
            The transform was built from an augmentation, which cannot be written as text.
        """
        if not isinstance(self.add_noise, str):
            raise DataError("CameraNoise: to save a pipeline as text, give it a run folder: CameraNoise('run/')")
        state: dict[str, Any] = super().to_dict_private()
        return state

    def get_transform_init_args_names(self) -> tuple[str, ...]:
        """Names of the constructor's arguments."""
        return ("add_noise", "pictures", "clean_key")

    def get_params(self) -> dict[str, Any]:
        """Draw a number for the sample with the pipeline's generator."""
        return {"number": self.py_random.getrandbits(32)}

    def apply_with_params(self, params: dict[str, Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Apply to the images of a sample, and add the clean image if `clean_key` is set."""
        result: dict[str, Any] = super().apply_with_params(params, *args, **kwargs)
        if self.clean_key is not None:
            result[self.clean_key] = self._both(kwargs["image"], params["number"])[1]
        return result

    def apply(self, img: NDArray[Any], number: int = 0, **_: Any) -> NDArray[Any]:
        """Add noise to one image."""
        return self._both(img, number)[0]

    def _both(self, img: NDArray[Any], number: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Noisy and clean image, in the shape and dtype of the given one."""
        whole = img.dtype.kind in "ui"
        most = float(np.iinfo(img.dtype).max) if whole else 1.0
        planes = np.ascontiguousarray(np.atleast_3d(img).transpose(2, 0, 1))
        exact = planes.astype(np.float32) / np.float32(most) if whole else planes
        batch = noisy_batch(self.augmentation, torch.from_numpy(exact), number)

        def as_given(values: torch.Tensor) -> NDArray[Any]:
            found = values.permute(1, 2, 0).numpy().reshape(img.shape)
            found = np.clip(np.rint(found * most), 0, most) if whole else found
            return np.ascontiguousarray(found, img.dtype)

        return as_given(batch.noisy), as_given(batch.clean)
