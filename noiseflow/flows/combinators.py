"""Transforms made of other transforms: inverted, on the reversed frame, on some planes, on squeezed pixels."""

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn

from noiseflow.core.errors import DataError
from noiseflow.flows.conditions import Resolved
from noiseflow.flows.flow import Flow
from noiseflow.flows.signal_model import NoiseParameters
from noiseflow.flows.transform import Transform

__all__ = ["Inverse", "Reversed", "Split", "Squeezed", "squeeze", "unsqueeze"]


class _Around(Transform):
    """Base of transforms that wrap another one: copies its reach, cell, period and other properties."""

    def __init__(self, transform: Transform) -> None:
        super().__init__()
        self.transform = transform
        self.reach = transform.reach
        self.elementwise = transform.elementwise
        self.cell, self.period = transform.cell, transform.period
        self.sequential_forward = transform.sequential_forward
        self.sequential_inverse = transform.sequential_inverse


class Inverse(_Around):
    """Swap the directions of a transform f: data to latent is f⁻¹.

    z = f⁻¹(x),  log|det dz/dx| = −log|det df/dz| at z.  Around a `MaskedAutoregressive` this is
    inverse autoregressive flow (IAF): a sample and its density take one pass, the density of
    given data takes the sequential inverse.

    Parameters
    ----------
    transform : Transform
        Transform to invert.

    References
    ----------
    Kingma et al.: Improving variational inference with inverse autoregressive flow, NeurIPS
    2016, section 3.
    """

    def __init__(self, transform: Transform) -> None:
        super().__init__(transform)
        self.sequential_forward = transform.sequential_inverse
        self.sequential_inverse = transform.sequential_forward

    @property
    def forward_reach(self) -> int:
        """Receptive radius of `forward`, in pixels of a plane."""
        return self.transform.sampling_reach

    @property
    def sampling_reach(self) -> int:
        """Receptive radius of `inverse`, in pixels of a plane."""
        return self.transform.forward_reach

    def forward(self, x: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> tuple[Tensor, Tensor]:
        """Map data x to latent z; return z and log|det dz/dx| in nats, shape (B,)."""
        z = self.transform.inverse(x, cond, noise)
        return z, -self.transform(z, cond, noise)[1]

    def inverse(self, z: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> Tensor:
        """Map latent z to data x."""
        return self.inverse_and_log_det(z, cond, noise)[0]

    def inverse_and_log_det(
        self, z: Tensor, cond: Resolved, noise: NoiseParameters | None = None
    ) -> tuple[Tensor, Tensor]:
        """Map latent to data; return x and log|det dx/dz| in nats, (B,), in one pass of the transform."""
        x, log_det = self.transform(z, cond, noise)
        return x, log_det


class Reversed(_Around):
    """Run a transform on values and clean signal with planes, rows and columns in reverse order.

    z = r(f(r(x))), where r reverses the order;  log|det dz/dx| is that of f.  An autoregressive transform inside
    conditions each value on the values after it instead of the values before it.

    Parameters
    ----------
    transform : Transform
        Transform that runs in reverse order.

    References
    ----------
    Papamakarios, Pavlakou, Murray: Masked autoregressive flow, NeurIPS 2017, section 3.1
    (the order is reversed from layer to layer).
    """

    @property
    def forward_reach(self) -> int:
        """Receptive radius of `forward`, in pixels of a plane."""
        return self.transform.forward_reach

    @property
    def sampling_reach(self) -> int:
        """Receptive radius of `inverse`, in pixels of a plane."""
        return self.transform.sampling_reach

    def forward(self, x: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> tuple[Tensor, Tensor]:
        """Map data x to latent z; return z and log|det dz/dx| in nats, shape (B,)."""
        z, log_det = self.transform(_reverse(x), *_turned(cond, noise))
        return _reverse(z), log_det

    def inverse(self, z: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> Tensor:
        """Map latent z to data x."""
        return _reverse(self.transform.inverse(_reverse(z), *_turned(cond, noise)))

    def inverse_and_log_det(
        self, z: Tensor, cond: Resolved, noise: NoiseParameters | None = None
    ) -> tuple[Tensor, Tensor]:
        """Map latent to data; return x and log|det dx/dz| in nats, (B,)."""
        x, log_det = self.transform.inverse_and_log_det(_reverse(z), *_turned(cond, noise))
        return _reverse(x), log_det


def _reverse(x: Tensor) -> Tensor:
    return x.flip((1, 2, 3))


def _turned(cond: Resolved, noise: NoiseParameters | None) -> tuple[Resolved, NoiseParameters | None]:
    turned = replace(cond, clean=_reverse(cond.clean))
    if noise is None:
        return turned, None
    return turned, replace(noise, clean=turned.clean, beta1=noise.beta1.flip(1), beta2=noise.beta2.flip(1))


class Split(Transform):
    """Copy the first planes // 2 planes to the latent and pass the others through a chain of transforms.

    z = (x_a, f(x_b));  log|det dz/dx| is that of f.  With a `Squeezed` inside this is one level
    of a multi-scale flow whose latent keeps the data's shape.  The inner transforms see the clean
    signal of all planes.

    Parameters
    ----------
    transforms : iterable of Transform
        The chain f, made for planes − planes // 2 planes, in the order data → latent.

    References
    ----------
    Dinh, Sohl-Dickstein, Bengio: Density estimation using Real NVP, ICLR 2017, section 3.6.
    Kingma, Dhariwal: Glow, NeurIPS 2018, figure 2b.
    """

    def __init__(self, transforms: Iterable[Transform]) -> None:
        super().__init__()
        self.inner = Flow(transforms)
        self.reach = self.inner.reach
        self.cell, self.period = self.inner.cell, self.inner.period
        self.sequential_forward = self.inner.sequential_forward
        self.sequential_inverse = self.inner.sequential_inverse

    @property
    def sampling_reach(self) -> int:
        """Receptive radius of `inverse`, in pixels of a plane."""
        return self.inner.sampling_reach

    def forward(self, x: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> tuple[Tensor, Tensor]:
        """Map data x to latent z; return z and log|det dz/dx| in nats, shape (B,)."""
        first = x.shape[1] // 2
        z, log_det = self.inner(x[:, first:], cond, noise)
        return torch.cat([x[:, :first], z], 1), log_det

    def inverse(self, z: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> Tensor:
        """Map latent z to data x."""
        first = z.shape[1] // 2
        return torch.cat([z[:, :first], self.inner.inverse(z[:, first:], cond, noise)], 1)


class Squeezed(Transform):
    """Run a chain of transforms on the squeezed tensor, in which each 2×2 cell is one pixel.

    z = unsqueeze(f(squeeze(x))), in the data's shape;  log|det dz/dx| is that of f.  The inner transforms see the
    clean signal squeezed as well.  The last row of an odd height and the last column of an odd width pass
    unchanged, and so does a frame of a single row or column.

    Parameters
    ----------
    transforms : iterable of Transform
        The chain f, made for four times the planes, in the order data → latent.
    """

    def __init__(self, transforms: Iterable[Transform]) -> None:
        super().__init__()
        self.inner = Flow(transforms)
        # An output at one corner of a cell may depend on the far corner of a cell `inner.reach` away.
        self.reach = 2 * self.inner.reach + 1
        self.cell, self.period = 2 * self.inner.cell, 2 * self.inner.period
        self.sequential_forward = self.inner.sequential_forward
        self.sequential_inverse = self.inner.sequential_inverse

    @property
    def sampling_reach(self) -> int:
        """Receptive radius of `inverse`, in pixels of a plane."""
        return 2 * self.inner.sampling_reach + 1

    def forward(self, x: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> tuple[Tensor, Tensor]:
        """Map data x to latent z; return z and log|det dz/dx| in nats, shape (B,)."""
        if min(x.shape[-2:]) < 2:
            return x, x.new_zeros(x.shape[0])
        z, log_det = self.inner(squeeze(even_part(x)), *_squeezed(cond, noise))
        return _with_rest_of(x, unsqueeze(z)), log_det

    def inverse(self, z: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> Tensor:
        """Map latent z to data x."""
        if min(z.shape[-2:]) < 2:
            return z
        return _with_rest_of(z, unsqueeze(self.inner.inverse(squeeze(even_part(z)), *_squeezed(cond, noise))))


def even_part(x: Tensor) -> Tensor:
    """Drop the last row of an odd height and the last column of an odd width."""
    height, width = x.shape[-2:]
    return x[..., : height - height % 2, : width - width % 2]


def _squeezed(cond: Resolved, noise: NoiseParameters | None) -> tuple[Resolved, NoiseParameters | None]:
    squeezed = replace(cond, clean=squeeze(even_part(cond.clean)))
    if noise is None:
        return squeezed, None
    beta1, beta2 = (beta.repeat_interleave(4, 1) for beta in (noise.beta1, noise.beta2))
    return squeezed, replace(noise, clean=squeezed.clean, beta1=beta1, beta2=beta2)


def _with_rest_of(x: Tensor, even: Tensor) -> Tensor:
    height, width = even.shape[-2:]
    if x.shape[-1] != width:
        even = torch.cat([even, x[..., :height, width:]], -1)
    return even if x.shape[-2] == height else torch.cat([even, x[..., height:, :]], -2)


def squeeze(x: Tensor) -> Tensor:
    """Move each 2×2 cell to planes, (B, C, H, W) to (B, 4C, H/2, W/2); plane c becomes 4c … 4c + 3, row by row.

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
    """Move planes to 2×2 cells, (B, 4C, H, W) to (B, C, 2H, 2W): the inverse of `squeeze`.

    Raises
    ------
    DataError
        If the number of planes is not a multiple of 4.
    """
    if z.shape[-3] % 4:
        raise DataError(f"unsqueeze: expected a multiple of 4 planes; got {z.shape[-3]}")
    return nn.functional.pixel_shuffle(z, 2)
