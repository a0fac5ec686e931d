"""Rational-quadratic splines per value, conditioned on the other half of the values or on the conditions alone."""

from torch import Tensor

from noiseflow.core.errors import ModelError
from noiseflow.flows.conditions import Resolved
from noiseflow.flows.coupling.masks import Mask
from noiseflow.flows.nets.conditional_net import ConditionalNet
from noiseflow.flows.signal_model import NoiseParameters
from noiseflow.flows.transform import Transform, sum_per_sample
from noiseflow.ops.rational_quadratic import Knots, knots_from, rational_quadratic, rational_quadratic_inverse
from noiseflow.ops.spline import by_value, spline, spline_inverse

__all__ = ["PixelSpline", "SplineCoupling", "spline_outputs"]


def spline_outputs(planes: int, bins: int, *, odd: bool = False) -> int:
    """Number of net outputs that splines of `bins` bins on `planes` planes need; odd splines need half the bins."""
    return planes * (3 * (bins // 2) if odd else 3 * bins - 1)


class SplineCoupling(Transform):
    """Transform the values outside a mask by splines that depend on the values inside and the conditions.

    z = x where m,  z = spline(x; net(m·x, cond)) elsewhere;  log|det dz/dx| = Σ log spline′.
    Exact both ways, one pass each.  The spline is the identity outside ±box, and everywhere before training.

    Parameters
    ----------
    net : ConditionalNet
        Maps the masked values, (B, C, H, W), to spline parameters, (B, `spline_outputs(C, bins)`, H, W).
    mask : Mask
        The mask m: which values condition the others.
    bins : int
        Number of bins of the spline.
    box : float
        Half the width of the interval on which the spline acts.

    References
    ----------
    Durkan, Bekasov, Murray, Papamakarios: Neural spline flows, NeurIPS 2019, section 3.
    """

    period = 2  # tiles start at even pixels, so that the mask stays in place

    def __init__(self, net: ConditionalNet, mask: Mask, bins: int = 8, box: float = 5.0) -> None:
        super().__init__()
        self.net, self.mask = net, mask
        self.bins, self.box = bins, box
        self.reach = net.reach

    def knots(self, x: Tensor, mask: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> Knots:
        """Spline knots of every value; each tensor has the shape (B, C, H, W, bins + 1)."""
        return knots_from(by_value(self.net(x * mask, cond, noise), x), self.bins, self.box)

    def forward(self, x: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> tuple[Tensor, Tensor]:
        """Map data x to latent z; return z and log|det dz/dx| in nats, shape (B,)."""
        mask = self.mask(x)
        z, log_slope = rational_quadratic(x, self.knots(x, mask, cond, noise))
        return x.where(mask, z), sum_per_sample(log_slope * ~mask)

    def inverse(self, z: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> Tensor:
        """Map latent z to data x."""
        mask = self.mask(z)
        return z.where(mask, rational_quadratic_inverse(z, self.knots(z, mask, cond, noise)))


class PixelSpline(Transform):
    """Transform every value by a spline that depends only on the signal at that pixel, the ISO and the camera.

    z = spline(x; net(cond));  log|det dz/dx| = Σ log spline′.  The spline can give the marginal
    distribution any shape within ±box: skew, tails, the steps of single electrons.  An odd spline,
    f(−x) = −f(x), keeps symmetric distributions symmetric, with mean 0.

    Parameters
    ----------
    net : ConditionalNet
        Without value inputs and with kernel 1; returns (B, `spline_outputs(C, bins, odd=odd)`, H, W).
    bins : int
        Number of bins of [−box, box]; even if the spline is odd.
    box : float
        Half the width of the interval on which the spline acts.
    odd : bool
        Whether the spline is odd, f(−x) = −f(x).

    Raises
    ------
    ModelError
        An odd spline with an odd number of bins.
    """

    elementwise = True

    def __init__(self, net: ConditionalNet, bins: int = 8, box: float = 5.0, *, odd: bool = False) -> None:
        super().__init__()
        if odd and bins % 2:
            raise ModelError(f"bins: expected an even number for an odd spline, half of them below 0; got {bins}")
        self.net = net
        self.bins, self.box, self.odd = bins, box, odd
        self.reach = net.reach

    def forward(self, x: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> tuple[Tensor, Tensor]:
        """Map data x to latent z; return z and log|det dz/dx| in nats, shape (B,)."""
        hidden, last = self.net.hidden(None, cond, noise), self.net.conv3
        z, log_det = spline(x, hidden, last.weight, last.bias, self.bins, self.box, self.odd)
        return z, log_det

    def inverse(self, z: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> Tensor:
        """Map latent z to data x."""
        hidden, last = self.net.hidden(None, cond, noise), self.net.conv3
        x: Tensor = spline_inverse(z, hidden, last.weight, last.bias, self.bins, self.box, self.odd)
        return x
