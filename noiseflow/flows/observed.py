"""Likelihoods of the observed pixels only: masked pixels are left out."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from noiseflow.flows.conditions import Resolved
from noiseflow.flows.signal_model import NoiseParameters
from noiseflow.flows.transform import Transform
from noiseflow.ops.native import compiled
from noiseflow.ops.random.keyed_draws import keyed_normals
from noiseflow.ops.random.sampling import Stream

__all__ = ["MaskedPixels", "imputed"]

WINDOW = 9
"""Side of the window, in pixels of a plane, in which σ at a masked pixel is estimated."""


class MaskedPixels:
    """The masked pixels of a batch, each stored as a batch element of 1×1 pixels with all its planes.

    Parameters
    ----------
    cond : Resolved
        Conditions with `observed` set.
    """

    def __init__(self, cond: Resolved) -> None:
        observed = cond.observed
        assert observed is not None
        self.observed = observed
        batch, y, x = torch.nonzero(~observed.all(1), as_tuple=True)
        self._batch = batch
        self._masked = ~observed[batch, :, y, x]
        clean = cond.clean[batch, :, y, x][:, :, None, None]
        self.cond = Resolved(clean, cond.iso[batch], cond.camera[batch])

    @property
    def counts(self) -> Tensor:
        """Number of masked values of each element, (B,)."""
        return (~self.observed).sum((1, 2, 3))

    def without(self, x: Tensor) -> Tensor:
        """Copy of x, (B, C, H, W), with masked values set to 0."""
        return x.masked_fill(~self.observed, 0.0)

    def log_slopes(self, transform: Transform, noise: NoiseParameters | None) -> Tensor:
        """Log slope of an elementwise transform at 0, summed over the masked values of each element, nats, (B,)."""
        clean, trains = self.cond.clean, torch.is_grad_enabled()
        total = clean.new_zeros(len(self.observed), dtype=torch.promote_types(clean.dtype, torch.float32))
        if not len(clean):
            return total
        # Training needs second derivatives, which the compiled kernels lack.
        with torch.enable_grad(), compiled(False):
            x = torch.zeros_like(clean, requires_grad=True)
            z, _ = transform(x, self.cond, noise)
            (slope,) = torch.autograd.grad(z.sum(), x, create_graph=trains)
        terms = slope.log().masked_fill(~self._masked[:, :, None, None], 0.0).sum((1, 2, 3))
        return total.index_add(0, self._batch, terms.to(total.dtype))


def imputed(noise: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
    """Fill masked pixels of the noise with plausible values; return the noise and −log of the density of these values.

    For models whose density at a pixel depends on its neighbours.  For any density q of the masked pixels,

        log p(observed) ≥ E_q [log p(observed, masked) − log q(masked)],

    with equality if q is the conditional density.  Here q is N(0, σ²) for each pixel, with σ² the mean square of the
    observed noise of the same plane around it; a relative error e of σ costs about e² nats per masked pixel.  One draw
    stands for the expectation: the nearer q is to the conditional density, the less the difference depends on it.
    Values that a network can foresee, such as ±σ, give no bound: a flow trained with them learns to expect them.

    The draw is keyed by the observed noise, so that equal patches get equal values, whatever batch they are in.

    Parameters
    ----------
    noise : Tensor, shape (B, C, H, W)
        Noise, normalised; its values at masked pixels are ignored.
    observed : Tensor of bool, shape (B, C, H, W)
        False where a pixel is masked.

    Returns
    -------
    filled : Tensor, shape (B, C, H, W)
        The noise, with draws at masked pixels.
    surprise : Tensor, shape (B,)
        −log q, Σ ½ (log(2πσ²) + (value/σ)²) over the masked pixels, nats.
    """
    known = observed.to(noise.dtype)
    square = noise.masked_fill(~observed, 0.0).square()
    whole = square.sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True).clamp(min=1)
    # A plane without any observed pixel takes the mean of all planes.
    of_all = square.sum((1, 2, 3), keepdim=True) / known.sum((1, 2, 3), keepdim=True).clamp(min=1)
    whole = torch.where(known.sum((2, 3), keepdim=True) > 0, whole, of_all)
    around, weight = (functional.avg_pool2d(each, WINDOW, 1, WINDOW // 2) for each in (square, known))
    # The plane's mean counts as one more value, because a window may contain no observed pixel.
    share = 1.0 / WINDOW**2
    variance = ((around + share * whole) / (weight + share)).clamp(min=torch.finfo(noise.dtype).tiny)
    with torch.no_grad():
        # A sum of 32-bit words modulo 2³² differs between patches that differ anywhere.
        words = noise.detach().masked_fill(~observed, 0.0).float().view(torch.int32)
        frames = (words.sum((1, 2, 3), dtype=torch.int64) & 0xFFFFFFFF).double()
        drawn = keyed_normals(noise.detach(), frames, 0, 0, int(Stream.MASKED), 0, 0)
    filled = torch.where(observed, noise, drawn * variance.sqrt())
    surprise = 0.5 * (variance.log() + drawn.square() + math.log(2 * math.pi))
    return filled, surprise.masked_fill(observed, 0.0).sum((1, 2, 3))
