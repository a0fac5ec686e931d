"""`AddNoiseToPictures`: add a camera's raw noise to sRGB pictures, by unprocessing them to raw data."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from noiseflow.augment.augmentation import Augmentation, Outputs, Request
from noiseflow.augment.camera_noise import AddCameraNoise
from noiseflow.augment.pictures.unprocess import DRAWS, draw_development, process, unprocess
from noiseflow.core.errors import DataError, ModelError
from noiseflow.ops.random import sampling
from noiseflow.ops.random.sampling import Stream
from noiseflow.ops.readable import extremes

__all__ = ["AddNoiseToPictures"]


class AddNoiseToPictures(Augmentation):
    """Unprocess sRGB pictures to raw planes, add a camera's noise there, and develop them again.

    Pictures are sRGB in 0…1, (B, 3, H, W) or (3, H, W) with H and W even, of any floating dtype, or uint8; for uint8
    the results are float32 in 0…1.  The returned clean pictures are processed in the same way without noise,
    so that both differ only by the noise.  The noise level refers to the raw planes, (B, 4, H/2, W/2).  Random
    numbers are drawn as in `AddCameraNoise`.

    Parameters
    ----------
    add_noise : AddCameraNoise
        Augmentation for packed Bayer planes.

    Raises
    ------
    ModelError
        The augmentation is not one of Bayer planes, or takes mosaics.

    References
    ----------
    Brooks, Mildenhall, Xue, Chen, Sharlet, Barron: Unprocessing images for learned raw
    denoising, CVPR 2019, section 3.

    Examples
    --------
    >>> import noiseflow
    >>> add_noise = AddNoiseToPictures(AddCameraNoise(noiseflow.build(noiseflow.ModelSpec("nlf"))))
    >>> add_noise(torch.full((2, 3, 8, 8), 0.5), index=[0, 1]).noisy.shape
    torch.Size([2, 3, 8, 8])
    """

    shape = "(B, 3, H, W)"

    def __init__(self, add_noise: AddCameraNoise) -> None:
        if add_noise.layout != "bayer" or add_noise.cfa is not None:
            raise ModelError(
                "pictures: expected noise on Bayer planes (a model with the layout 'bayer', and no cfa); got layout "
                f"{add_noise.layout!r}, cfa {add_noise.cfa}"
            )
        super().__init__(add_noise.seed, add_noise.camera_names)
        self.add_noise = add_noise

    def level_shape(self, clean: Sequence[int]) -> tuple[int, ...]:
        """Shape of the raw planes."""
        return *clean[:-3], 4, clean[-2] // 2, clean[-1] // 2

    def augment(self, batch: Tensor, request: Request) -> Outputs:
        """Add noise to pictures (B, 3, H, W)."""
        if batch.ndim != 4 or batch.shape[1] != 3 or not (batch.is_floating_point() or batch.dtype == torch.uint8):
            raise DataError(
                f"picture: expected floating point, or uint8, of shape (B, 3, H, W); got {batch.dtype} "
                f"{tuple(batch.shape)}"
            )
        dtype = batch.dtype if batch.is_floating_point() else torch.float32
        whole = not batch.is_floating_point()
        batch = batch.to(torch.promote_types(dtype, torch.float32))
        batch = batch / 255 if whole else batch
        found = extremes(batch)
        if found is not None and not (found[0] >= 0 and found[1] <= 1):
            raise DataError(
                f"picture: expected sRGB values of 0 to 1; got {found[0]:.4g} to {found[1]:.4g}: "
                "divide integers by their largest value"
            )
        grad = torch.is_grad_enabled() and batch.requires_grad
        with torch.set_grad_enabled(grad):
            u = sampling.uniform(batch.new_empty(len(batch), 1, 1, DRAWS), request.source, Stream.DEVELOPMENT)[:, 0, 0]
            how = draw_development(u.to(batch).clamp(1e-6, 1 - 1e-6))
            noisy, clean, level, iso, exposure, camera = self.add_noise.augment(unprocess(batch, how), request)
            # The development undoes the raw exposure, so that the target is as bright as the picture.
            how = replace(how, exposure=how.exposure / exposure)
            pictures = [each.to(dtype) for each in (process(noisy, how), process(clean, how), level)]
        return pictures[0], pictures[1], pictures[2], iso, exposure, camera
