"""Heavy-tailed read noise, modelled as a cubic polynomial of a standard normal value."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from noiseflow.flows.conditions import Resolved
from noiseflow.flows.iso_table import at_iso
from noiseflow.flows.nets.saved_state import log_of
from noiseflow.flows.signal_model import NoiseParameters, required
from noiseflow.flows.transform import Transform
from noiseflow.ops.tails_and_skew import LEAST_REST, cubic_by_excess, tails, tails_inverse

__all__ = ["CubicTails"]

MOST_EXCESS = 12.0
"""Largest excess kurtosis; a Laplace distribution has 3, a logistic one 1.2."""

OUTLIER = 12.0
"""Largest |x| in σ that counts as noise; Tukey-lambda noise with λ = −0.09 exceeds it once in 10⁸ values."""

NORMAL, SURE = 0.02, 3.0
"""`leaves_tails`: largest |excess kurtosis| accepted as normal, and how many standard errors above it to require."""

MOST_FAR, READ = 3e-5, 0.5
"""`leaves_tails`: largest fraction of values beyond `OUTLIER` that is accepted as normal, and smallest read-noise share
of the values that are counted.  Masked pixels are not among them, so they are pixels that jump."""

PEAKED = 3.0
"""Excess kurtosis above which jumps are always tried: few of them suffice, and the cubic has their fourth moment."""

LEAST_EXCESS = 0.1
"""Excess kurtosis below which noise counts as not heavy-tailed."""


class CubicTails(Transform):
    """Map symmetric heavy-tailed values to normal ones of the same variance.

    x = (z + a z³)/c,  c² = 1 + 6a + 15a², so that z and x both have variance 1;
    z = 2/√(3a) · sinh(⅓ asinh(3√(3a)/2 · c x)),  log dz/dx = log c − log(1 + 3a z²).
    The excess kurtosis κ = (24a + 432a² + 3240a³ + 9720a⁴)/c⁴ comes from a table per camera, linear in
    log ISO.  With `by_read_share` the table is the κ of the read noise alone; a pixel's κ is then the table's times
    the squared share of read noise in the variance, because cumulants of independent noise add.
    For Tukey-lambda noise with −0.09 ≤ λ ≤ 0.14 and equal κ, the density is within 3·10⁻⁴ nats of the true one.
    Table values may be negative, down to −0.3: this transform treats those as 0, and `SinhArcsinh` applies them.

    Parameters
    ----------
    cameras : int
        Number of cameras.
    isos : sequence of float
        ISOs of the knots, in rising order.
    by_read_share : bool
        Whether the table is the kurtosis of the read noise alone; if False, it is that of the total noise.

    References
    ----------
    Fleishman: A method for simulating non-normal distributions, Psychometrika 1978, eq. 1.
    """

    elementwise = True
    log_isos: Tensor
    series: Tensor

    def __init__(self, cameras: int, isos: Sequence[float], *, by_read_share: bool = False) -> None:
        super().__init__()
        self.by_read_share = by_read_share
        self.kurtosis = nn.Parameter(torch.zeros(cameras, len(isos)))
        self._constant("log_isos", log_of(isos))
        self._constant("series", torch.from_numpy(cubic_by_excess()))

    def read_excess(self, cond: Resolved) -> Tensor:
        """Excess kurtosis κ of the table for each element, (B,)."""
        knots = self.log_isos.to(self.kurtosis.dtype)
        return at_iso(self.kurtosis[cond.camera], knots, cond.iso).clamp(LEAST_REST, MOST_EXCESS)

    def shared_features(self, cond: Resolved, noise: NoiseParameters | None) -> NoiseParameters | None:
        """The noise parameters, with the read noise's κ added if the table is `by_read_share`."""
        return replace(noise, read_excess=self.read_excess(cond)) if noise and self.by_read_share else noise

    def forward(self, x: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> tuple[Tensor, Tensor]:
        """Map data x to latent z; return z and log|det dz/dx| in nats, shape (B,)."""
        z, log_det = tails(x, *self._given(cond, noise))
        return z, log_det

    def inverse(self, z: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> Tensor:
        """Map latent z to data x."""
        x: Tensor = tails_inverse(z, *self._given(cond, noise))
        return x

    def _given(self, cond: Resolved, noise: NoiseParameters | None) -> tuple[Tensor | None, ...]:
        """Arguments of the operation after the values."""
        signal = required(noise, self).signal if self.by_read_share else (None, None, None)
        return *signal, self.read_excess(cond), self.series

    @torch.no_grad()
    def start_from(self, x: Tensor, cond: Resolved, noise: NoiseParameters) -> None:
        """Initialise the excess kurtosis of the read noise from fourth moments, per camera and ISO.

        E x⁴ = 3 + κ_shot + κ·w², with w the read noise's share of the variance: κ is fitted over all pixels with
        weight w².  Moments are used because on integer codes the likelihood favours a density with spikes at the
        codes.  Values beyond `OUTLIER` are left out.

        Parameters
        ----------
        x : Tensor, shape (B, C, H, W)
            Noise divided by its standard deviation, line noise removed.
        cond : Resolved
            Clean signal, ISO and camera of the noise.
        noise : NoiseParameters
            Its noise parameters.
        """
        over, under = _excess_and_weight(x, cond, noise, noise.shot_moments()[1], OUTLIER)
        knots = self.log_isos.to(self.kurtosis.dtype)
        index = (cond.iso.log()[:, None] - knots).abs().argmin(1)
        for camera in set(cond.camera.tolist()):
            own = cond.camera == camera
            seen = sorted(set(index[own].tolist()))
            sums = torch.stack([torch.stack([over, under])[:, own & (index == iso)].sum(1) for iso in seen], 1)
            self.kurtosis[camera] = at_iso((sums[0] / sums[1]).to(knots.dtype), knots[seen], knots.exp())

    @torch.no_grad()
    def leaves_tails(self, x: Tensor, cond: Resolved, noise: NoiseParameters) -> bool:
        """Whether the output of this transform is significantly non-normal: |excess kurtosis| > `NORMAL`.

        Also where more than `MOST_FAR` of the values are so far that `start_from` left them out, or where κ is above
        `PEAKED`.  Otherwise False where the fitted κ is below `LEAST_EXCESS` for every camera and ISO.

        Parameters
        ----------
        x : Tensor, shape (B, C, H, W)
            Values that enter this transform, skewness removed.
        cond : Resolved
            Clean signal, ISO and camera of the values.
        noise : NoiseParameters
            Their noise parameters.
        """
        seen = (noise.read_share() > READ).expand_as(x)
        if cond.observed is not None:
            seen = seen & cond.observed
        most = MOST_FAR * float(seen.sum())
        if float((seen & (x.abs() >= OUTLIER)).sum()) > most + SURE * math.sqrt(most):
            return True
        if float(self.kurtosis.max()) > PEAKED:
            return True
        if float(self.kurtosis.max()) < LEAST_EXCESS:
            return False
        over, under = _excess_and_weight(self(x, cond, noise)[0], cond, noise, 0.0, math.inf)
        excess, error = float(over.sum() / under.sum()), math.sqrt(24 / max(float(under.sum()), 1.0))
        return abs(excess) > NORMAL + SURE * error


def _excess_and_weight(
    x: Tensor, cond: Resolved, noise: NoiseParameters, of_shot: Tensor | float, farthest: float
) -> tuple[Tensor, Tensor]:
    """Sums of w²(x⁴ − 3 − `of_shot`) and of w⁴ over each element, each (B,), float64.

    w is the read-noise share; values with |x| ≥ `farthest` and masked pixels are left out.
    """
    weight = noise.read_share().clamp(max=1).square()
    kept = x.abs() < farthest
    if cond.observed is not None:
        kept &= cond.observed
    excess = (x.square().square() - 3 - of_shot) * weight * kept
    over, under = (each.double().sum((1, 2, 3)) for each in (excess, weight.square() * kept))
    return over, under
