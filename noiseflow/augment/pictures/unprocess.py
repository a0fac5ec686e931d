"""Conversion of sRGB pictures to raw planes and back, for training data without raw files.

The steps follow Brooks et al.: inverse tone curve, inverse gamma, inverse colour correction, inverse white balance,
mosaic.  The colour matrices come from the cameras' DNG files.
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
"""Colour matrices of cameras under D65, from their DNG files."""

SRGB_TO_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
"""Matrix from linear sRGB to XYZ under D65, IEC 61966-2-1."""

DRAWS = 6
"""Number of uniform numbers that `draw_development` needs."""

BRIGHT = 0.9
"""Grey level above which the inverse white balance gradually leaves highlights unchanged."""


@dataclass(frozen=True, eq=False)
class Development:
    """Parameters of a raw development, one set for each element of a batch.

    Parameters
    ----------
    matrix : Tensor, shape (B, 3, 3)
        Matrix from linear sRGB to the sensor's colours; its rows sum to 1.
    red, blue : Tensor, shape (B,)
        White-balance gains.
    exposure : Tensor, shape (B,)
        Common gain of all colours.
    """

    matrix: Tensor
    red: Tensor
    blue: Tensor
    exposure: Tensor

    def gains(self) -> Tensor:
        """Gains of R, G and B, (B, 3, 1, 1)."""
        colour = torch.stack([self.red, torch.ones_like(self.red), self.blue], 1)
        return (colour * self.exposure[:, None])[:, :, None, None]


def draw_development(u: Tensor) -> Development:
    """Draw a development as in Brooks et al., from uniform numbers.

    The matrix is a random weighted mean of the cameras' matrices; 1/exposure ~ N(0.8, 0.1²), at most 1;
    red ~ U(1.9, 2.4); blue ~ U(1.5, 1.9).

    Parameters
    ----------
    u : Tensor, shape (B, `DRAWS`)
        Uniform numbers in (0, 1).

    References
    ----------
    Brooks, Mildenhall, Xue, Chen, Sharlet, Barron: Unprocessing images for learned raw
    denoising, CVPR 2019, section 3.
    """
    weights = u[:, :3] / u[:, :3].sum(1, keepdim=True)
    matrix = torch.einsum("bk,kij,jl->bil", weights, u.new_tensor(XYZ_TO_CAMERA), u.new_tensor(SRGB_TO_XYZ))
    matrix = matrix / matrix.sum(2, keepdim=True)
    # Clamping at five σ keeps the denominator away from 0.
    exposure = 1 / (0.8 + 0.1 * torch.special.ndtri(u[:, 3]).clamp(-5, 5)).clamp(max=1)
    return Development(matrix, 1.9 + 0.5 * u[:, 4], 1.5 + 0.4 * u[:, 5], exposure)


def unprocess(picture: Tensor, how: Development) -> Tensor:
    """Convert an sRGB picture (B, 3, H, W) in 0…1 to raw planes R, G1, G2, B, (B, 4, H/2, W/2).

    Inverse tone curve of y = 3x² − 2x³: x = ½ − sin(asin(1 − 2y)/3).  Inverse gamma: x^2.2.  Colour matrix.
    Inverse white balance: multiply by max(1/g, α + (1 − α)/g) for a gain g, where α = ((grey − 0.9)/0.1)²
    above a grey of 0.9, so that clipped white stays white.

    References
    ----------
    Brooks et al.: Unprocessing images for learned raw denoising, CVPR 2019, sections 3.1 to 3.5.
    """
    if picture.ndim != 4 or picture.shape[1] != 3 or picture.shape[2] % 2 or picture.shape[3] % 2:
        raise DataError(f"picture: expected shape (B, 3, H, W) of even height and width; got {tuple(picture.shape)}")
    # The slope at black and white is infinite; clamping slightly inside keeps gradients finite.
    edge = 1e-6 if picture.requires_grad else 0.0
    tone = 0.5 - ((1 - 2 * picture.clamp(edge, 1 - edge)).asin() / 3).sin()
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
    """Convert raw planes (B, 4, H/2, W/2) to an sRGB picture (B, 3, H, W) in 0…1.

    White balance, bilinear demosaicing, inverse colour matrix, clipping to 0…1, gamma 1/2.2, and the tone curve
    3x² − 2x³.

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
