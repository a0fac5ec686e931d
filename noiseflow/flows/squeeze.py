"""Squeeze: 2×2 pixels of a plane become four planes (RealNVP, Glow)."""

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn

from noiseflow.core.errors import DataError
from noiseflow.flows.conditions import Conditions
from noiseflow.flows.flow import Flow
from noiseflow.flows.transform import Transform

__all__ = ["Squeezed", "squeeze", "unsqueeze"]


def squeeze(x: Tensor) -> Tensor:
    """Space to planes, (B, C, H, W) to (B, 4C, H/2, W/2); plane c goes to planes 4c … 4c + 3, row by row.

    Raises
    ------
    DataError
        If the height or the width is odd.

    References
    ----------
    Dinh, Sohl-Dickstein, Bengio: Density estimation using Real NVP, ICLR 2017, section 3.6.
    """
    if x.shape[-2] % 2 or x.shape[-1] % 2:
        raise DataError(f"squeeze: expected an even height and width; got {x.shape[-2]}×{x.shape[-1]}: crop or pad it")
    return nn.functional.pixel_unshuffle(x, 2)


def unsqueeze(z: Tensor) -> Tensor:
    """Planes to space, (B, 4C, H, W) to (B, C, 2H, 2W): the inverse of `squeeze`.

    Raises
    ------
    DataError
        If the number of planes is no multiple of 4.
    """
    if z.shape[-3] % 4:
        raise DataError(f"unsqueeze: expected a multiple of 4 planes; got {z.shape[-3]}")
    return nn.functional.pixel_shuffle(z, 2)


class Squeezed(Transform):
    """Run transforms on the squeezed tensor, whose pixels are 2×2 cells; the latent has the data's shape.

    z = unsqueeze(f(squeeze(x)));  log|det dz/dx| is that of f.  The transforms see the clean
    signal squeezed too.  Of an odd height or width the last row or column stays as it is,
    and so does a single row or column.

    Parameters
    ----------
    transforms : iterable of Transform
        For four times the planes, in the order data → latent.
    """

    def __init__(self, transforms: Iterable[Transform]) -> None:
        super().__init__()
        self.inner = Flow(transforms)
        # An output at one corner of a cell may depend on the far corner of a cell `inner.reach` away.
        self.reach = 2 * self.inner.reach + 1

    @property
    def sampling_reach(self) -> int:
        """Receptive radius of `inverse`, in pixels of a plane."""
        return 2 * self.inner.sampling_reach + 1

    def forward(self, x: Tensor, cond: Conditions) -> tuple[Tensor, Tensor]:
        """Data to latent."""
        if min(x.shape[-2:]) < 2:
            return x, x.new_zeros(x.shape[0])
        z, log_det = self.inner(squeeze(even_part(x)), _squeezed(cond))
        return _with_rest_of(x, unsqueeze(z)), log_det

    def inverse(self, z: Tensor, cond: Conditions) -> Tensor:
        """Latent to data."""
        if min(z.shape[-2:]) < 2:
            return z
        return _with_rest_of(z, unsqueeze(self.inner.inverse(squeeze(even_part(z)), _squeezed(cond))))


def even_part(x: Tensor) -> Tensor:
    """The tensor without the last row of an odd height and the last column of an odd width."""
    height, width = x.shape[-2:]
    return x[..., : height - height % 2, : width - width % 2]


def _squeezed(cond: Conditions) -> Conditions:
    return replace(cond, clean=squeeze(even_part(cond.clean)))


def _with_rest_of(x: Tensor, even: Tensor) -> Tensor:
    height, width = even.shape[-2:]
    if x.shape[-1] != width:
        even = torch.cat([even, x[..., :height, width:]], -1)
    return even if x.shape[-2] == height else torch.cat([even, x[..., height:, :]], -2)
