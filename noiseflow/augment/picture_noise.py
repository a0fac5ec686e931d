"""`AddNoiseToPictures`: add a camera's raw noise to sRGB pictures, by unprocessing them to raw data."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from noiseflow.augment.camera_noise import AddCameraNoise, NoisyBatch
from noiseflow.augment.unprocess import DRAWS, draw_development, process, unprocess
from noiseflow.core.errors import DataError, ModelError
from noiseflow.ops.random import sampling
from noiseflow.ops.random.sampling import Stream

__all__ = ["AddNoiseToPictures"]


class AddNoiseToPictures(nn.Module):
    """Unprocess sRGB pictures to raw planes, add a camera's noise there, and develop them again.

    The returned clean pictures are processed in the same way without noise, so that both differ only by the
    noise.  Random numbers are those of `AddCameraNoise`.

    Parameters
    ----------
    add_noise : AddCameraNoise
        Augmentation of packed Bayer planes.

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

    def __init__(self, add_noise: AddCameraNoise) -> None:
        super().__init__()
        if add_noise.layout != "bayer" or add_noise.cfa is not None:
            raise ModelError(
                "pictures: expected noise on Bayer planes (a model of layout 'bayer', and no cfa); got layout "
                f"{add_noise.layout!r}, cfa {add_noise.cfa}"
            )
        self.add_noise = add_noise

    @torch.no_grad()
    def forward(
        self,
        picture: Tensor,
        index: Sequence[int] | Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
        epoch: int = 0,
    ) -> NoisyBatch:
        """Add noise to pictures.

        Parameters
        ----------
        picture : Tensor, shape (B, 3, H, W) or (3, H, W)
            sRGB in 0…1, any floating dtype; H and W even.
        index, generator, epoch
            Source of the random numbers: see `AddCameraNoise.forward`.

        Returns
        -------
        NoisyBatch
            Pictures; `noise_level` is that of the raw planes, (B, 4, H/2, W/2).

        Raises
        ------
        DataError
            Another shape or dtype, or values outside 0…1.
        """
        single = picture.ndim == 3
        batch = picture[None] if single else picture
        if batch.ndim != 4 or batch.shape[1] != 3 or not batch.is_floating_point():
            raise DataError(
                f"picture: expected floating point of shape (B, 3, H, W); got {batch.dtype} {tuple(batch.shape)}"
            )
        if batch.numel() and not (float(batch.min()) >= 0 and float(batch.max()) <= 1):
            raise DataError(
                f"picture: expected sRGB values of 0 to 1; got {float(batch.min()):.4g} to {float(batch.max()):.4g}: "
                "divide integers by their largest"
            )
        source = self.add_noise.source(index, len(batch), generator, epoch)
        batch = batch.to(torch.float64 if batch.dtype == torch.float64 else torch.float32)
        u = sampling.uniform(batch.new_empty(len(batch), 1, 1, DRAWS), source, Stream.DEVELOPMENT)[:, 0, 0]
        how = draw_development(u.to(batch).clamp(1e-6, 1 - 1e-6))
        raw: NoisyBatch = self.add_noise(unprocess(batch, how), index, generator=generator, epoch=epoch)
        # Development undoes the raw exposure, so that the target is as bright as the picture.
        how = replace(how, exposure=how.exposure / raw.exposure)
        noisy, clean, level = (
            (values[0] if single else values).to(picture.dtype)
            for values in (process(raw.noisy, how), process(raw.clean, how), raw.noise_level)
        )
        return replace(raw, noisy=noisy, clean=clean, noise_level=level)
