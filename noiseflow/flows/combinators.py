"""Transforms made of other transforms: the inverse, on the reversed frame, on some planes, on squeezed pixels."""

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
    """What a transform around another one takes over from it."""

    def __init__(self, transform: Transform) -> None:
        super().__init__()
        self.transform = transform
        self.reach = transform.reach
        self.elementwise = transform.elementwise
        self.cell, self.period = transform.cell, transform.period
        self.sequential_forward = transform.sequential_forward
        self.sequential_inverse = transform.sequential_inverse


class Inverse(_Around):
    """A transform with its directions swapped: its inverse takes data to latent.

    z = f⁻¹(x),  log|det dz/dx| = −log|det df/dz| at z.  Around a `MaskedAutoregressive` it is
    inverse autoregressive flow (IAF): a sample and its density in one pass, the density of
    other data by the sequential inverse.

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
        """Data to latent."""
        z = self.transform.inverse(x, cond, noise)
        return z, -self.transform(z, cond, noise)[1]

    def inverse(self, z: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> Tensor:
        """Latent to data."""
        return self.inverse_and_log_det(z, cond, noise)[0]

    def inverse_and_log_det(
        self, z: Tensor, cond: Resolved, noise: NoiseParameters | None = None
    ) -> tuple[Tensor, Tensor]:
        """Latent to data with log|det dx/dz|, in one pass of the transform."""
        x, log_det = self.transform(z, cond, noise)
        return x, log_det


class Reversed(_Around):
    """Run a transform on values and clean signal with planes, rows and columns in reverse order.

    z = r(f(r(x)));  log|det dz/dx| is that of f.  Between two autoregressive transforms it lets
    the second see what comes after a value where the first sees what comes before.

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
        """Data to latent."""
        z, log_det = self.transform(_reverse(x), *_turned(cond, noise))
        return _reverse(z), log_det

    def inverse(self, z: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> Tensor:
        """Latent to data."""
        return _reverse(self.transform.inverse(_reverse(z), *_turned(cond, noise)))

    def inverse_and_log_det(
        self, z: Tensor, cond: Resolved, noise: NoiseParameters | None = None
    ) -> tuple[Tensor, Tensor]:
        """Latent to data, with log|det dx/dz|."""
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
    """Send the first planes // 2 planes to the latent as they are, the others through more transforms.

    z = (x_a, f(x_b));  log|det dz/dx| is that of f.  With a `Squeezed` inside it is one level
    of a multi-scale flow, whose latent keeps the data's shape.  The transforms see the clean
    signal of all planes.

    Parameters
    ----------
    transforms : iterable of Transform
        For planes − planes // 2 planes, in the order data → latent.

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
        """Data to latent."""
        first = x.shape[1] // 2
        z, log_det = self.inner(x[:, first:], cond, noise)
        return torch.cat([x[:, :first], z], 1), log_det

    def inverse(self, z: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> Tensor:
        """Latent to data."""
        first = z.shape[1] // 2
        return torch.cat([z[:, :first], self.inner.inverse(z[:, first:], cond, noise)], 1)


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
        self.cell, self.period = 2 * self.inner.cell, 2 * self.inner.period
        self.sequential_forward = self.inner.sequential_forward
        self.sequential_inverse = self.inner.sequential_inverse

    @property
    def sampling_reach(self) -> int:
        """Receptive radius of `inverse`, in pixels of a plane."""
        return 2 * self.inner.sampling_reach + 1

    def forward(self, x: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> tuple[Tensor, Tensor]:
        """Data to latent."""
        if min(x.shape[-2:]) < 2:
            return x, x.new_zeros(x.shape[0])
        z, log_det = self.inner(squeeze(even_part(x)), *_squeezed(cond, noise))
        return _with_rest_of(x, unsqueeze(z)), log_det

    def inverse(self, z: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> Tensor:
        """Latent to data."""
        if min(z.shape[-2:]) < 2:
            return z
        return _with_rest_of(z, unsqueeze(self.inner.inverse(squeeze(even_part(z)), *_squeezed(cond, noise))))


def even_part(x: Tensor) -> Tensor:
    """The tensor without the last row of an odd height and the last column of an odd width."""
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
