"""From an sRGB picture back to raw planes, and forth again: for those who have only pictures.

Steps and their order are those of Brooks et al.: inverse tone curve, inverse gamma, inverse colour
correction, inverse white balance, mosaic.  The numbers of cameras are facts of their DNG colour
matrices.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from noiseflow.augment.frames.mosaic import demosaic, to_mosaic
from noiseflow.core.errors import DataError

__all__ = ["DRAWS", "Development", "draw_development", "process", "unprocess"]

XYZ_TO_CAMERA = (
    ((0.4913, -0.0541, -0.0202), (-0.6130, 1.3513, 0.2906), (-0.1564, 0.2151, 0.7183)),  # Sony ILCE-7R
    ((0.6596, -0.2079, -0.0562), (-0.4782, 1.3016, 0.1933), (-0.0970, 0.1581, 0.5181)),  # Sony DSC-RX100M4
    ((0.8380, -0.2630, -0.0639), (-0.2887, 1.0725, 0.2496), (-0.0627, 0.1427, 0.5438)),  # Olympus E-P5
)
"""Colour matrices of cameras under D65, as in their DNG files."""

SRGB_TO_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
"""IEC 61966-2-1, D65."""

DRAWS = 6
"""Uniform numbers that a `Development` is drawn from."""

BRIGHT = 0.9
"""Grey level from which highlights are kept as they are when the white balance is undone."""


@dataclass(frozen=True, eq=False)
class Development:
    """How raw data was, or is to be, developed; each element of a batch has its own.

    Parameters
    ----------
    matrix : Tensor, shape (B, 3, 3)
        From linear sRGB to the sensor's colours; its rows sum to 1.
    red, blue : Tensor, shape (B,)
        Gains of the white balance.
    exposure : Tensor, shape (B,)
        Gain of all colours.
    """

    matrix: Tensor
    red: Tensor
    blue: Tensor
    exposure: Tensor

    def gains(self) -> Tensor:
        """Gains of R, G, B, (B, 3, 1, 1)."""
        colour = torch.stack([self.red, torch.ones_like(self.red), self.blue], 1)
        return (colour * self.exposure[:, None])[:, :, None, None]


def draw_development(u: Tensor) -> Development:
    """A development as Brooks et al. draw it, from uniform numbers.

    Matrix: a random mean of cameras'; 1/exposure ~ N(0.8, 0.1²); red ~ U(1.9, 2.4), blue ~ U(1.5, 1.9).

    Parameters
    ----------
    u : Tensor, shape (B, `DRAWS`)
        In (0, 1).

    References
    ----------
    Brooks, Mildenhall, Xue, Chen, Sharlet, Barron: Unprocessing images for learned raw
    denoising, CVPR 2019, section 3.
    """
    weights = u[:, :3] / u[:, :3].sum(1, keepdim=True)
    matrix = torch.einsum("bk,kij,jl->bil", weights, u.new_tensor(XYZ_TO_CAMERA), u.new_tensor(SRGB_TO_XYZ))
    matrix = matrix / matrix.sum(2, keepdim=True)
    # Five σ are far from 0, and an exposure below 1 is no inverse of what a camera's own software does.
    exposure = 1 / (0.8 + 0.1 * torch.special.ndtri(u[:, 3]).clamp(-5, 5)).clamp(max=1)
    return Development(matrix, 1.9 + 0.5 * u[:, 4], 1.5 + 0.4 * u[:, 5], exposure)


def unprocess(picture: Tensor, how: Development) -> Tensor:
    """An sRGB picture (B, 3, H, W) in 0…1 to raw planes R, G1, G2, B, (B, 4, H/2, W/2).

    Tone curve y = 3x² − 2x³: x = ½ − sin(asin(1 − 2y)/3).  Gamma: x^2.2.  Matrix.  White balance:
    divide by the gains, but highlights above 0.9 stay with the weight α = ((grey − 0.9)/0.1)²: by
    max(1/g, α + (1 − α)/g), so that clipped white stays white.

    References
    ----------
    Brooks et al.: Unprocessing images for learned raw denoising, CVPR 2019, sections 3.1 to 3.5.
    """
    if picture.ndim != 4 or picture.shape[1] != 3 or picture.shape[2] % 2 or picture.shape[3] % 2:
        raise DataError(f"picture: expected shape (B, 3, H, W) of even height and width; got {tuple(picture.shape)}")
    tone = 0.5 - ((1 - 2 * picture.clamp(0, 1)).asin() / 3).sin()
    linear = tone.clamp(min=1e-8) ** 2.2
    sensor = torch.einsum("bij,bjhw->bihw", how.matrix, linear)
    bright = ((sensor.mean(1, keepdim=True) - BRIGHT).clamp(min=0) / (1 - BRIGHT)) ** 2
    inverse = 1 / how.gains()
    sensor = (sensor * torch.maximum(bright + (1 - bright) * inverse, inverse)).clamp(0, 1)
    red, green_1, green_2, blue = (
        sensor[:, colour, row::2, column::2] for colour, row, column in ((0, 0, 0), (1, 0, 1), (1, 1, 0), (2, 1, 1))
    )
    return torch.stack([red, green_1, green_2, blue], 1)


def process(planes: Tensor, how: Development) -> Tensor:
    """Raw planes (B, 4, H/2, W/2) to an sRGB picture (B, 3, H, W) in 0…1: the same steps forwards.

    White balance, bilinear demosaicing, the matrix's inverse, gamma 1/2.2, tone curve 3x² − 2x³;
    clipped to 0…1 before gamma.

    References
    ----------
    Brooks et al.: Unprocessing images for learned raw denoising, CVPR 2019, section 3.6.
    """
    gains = how.gains()
    balanced = (planes * torch.cat([gains[:, :2], gains[:, 1:]], 1)).clamp(0, 1)
    sensor = demosaic(to_mosaic(balanced, "RGGB"), "RGGB")
    linear = torch.linalg.solve(how.matrix, sensor.flatten(2)).reshape(sensor.shape)
    encoded: Tensor = linear.clamp(1e-8, 1) ** (1 / 2.2)
    return 3 * encoded**2 - 2 * encoded**3
