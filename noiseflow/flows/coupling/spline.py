"""Rational-quadratic splines per value: by the other half of the values, or by the conditions alone."""

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
    """Outputs that a net needs for splines of `bins` bins on `planes` planes; of an odd spline half of them count."""
    return planes * (3 * (bins // 2) if odd else 3 * bins - 1)


class SplineCoupling(Transform):
    """Bend the values outside a mask by splines that depend on those inside and the conditions.

    z = x where m,  z = spline(x; net(m·x, cond)) elsewhere;  log|det dz/dx| = Σ log spline′.
    Exact both ways, one pass each.  The identity outside ±box, and as a start.

    Parameters
    ----------
    net : ConditionalNet
        (B, C, H, W) to (B, `spline_outputs(C, bins)`, H, W).
    mask : Mask
        Which values condition the others.
    bins : int
        Number of bins of the spline.
    box : float
        Half the width of the interval on which the spline acts.

    References
    ----------
    Durkan, Bekasov, Murray, Papamakarios: Neural spline flows, NeurIPS 2019, section 3.
    """

    period = 2  # or the mask would move

    def __init__(self, net: ConditionalNet, mask: Mask, bins: int = 8, box: float = 5.0) -> None:
        super().__init__()
        self.net, self.mask = net, mask
        self.bins, self.box = bins, box
        self.reach = net.reach

    def knots(self, x: Tensor, mask: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> Knots:
        """Knots for every value, each (B, C, H, W, bins + 1)."""
        return knots_from(by_value(self.net(x * mask, cond, noise), x), self.bins, self.box)

    def forward(self, x: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> tuple[Tensor, Tensor]:
        """Data to latent."""
        mask = self.mask(x)
        z, log_slope = rational_quadratic(x, self.knots(x, mask, cond, noise))
        return x.where(mask, z), sum_per_sample(log_slope * ~mask)

    def inverse(self, z: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> Tensor:
        """Latent to data."""
        mask = self.mask(z)
        return z.where(mask, rational_quadratic_inverse(z, self.knots(z, mask, cond, noise)))


class PixelSpline(Transform):
    """Bend every value by a spline that depends on signal, ISO and camera at its place alone.

    z = spline(x; net(cond));  log|det dz/dx| = Σ log spline′.  It gives the marginal
    distribution any shape within ±box: skew, tails, the steps of few electrons.  An odd one,
    f(−x) = −f(x), keeps what is symmetric so, and a mean of 0 with it.

    Parameters
    ----------
    net : ConditionalNet
        Without inputs, of kernel 1, to (B, `spline_outputs(C, bins, odd=odd)`, H, W).
    bins : int
        Of [−box, box]; even if the spline is odd.
    box : float
        Half the width of the interval on which the spline acts.
    odd : bool
        Whether f(−x) = −f(x).
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
        """Data to latent."""
        hidden, last = self.net.hidden(None, cond, noise), self.net.conv3
        z, log_det = spline(x, hidden, last.weight, last.bias, self.bins, self.box, self.odd)
        return z, log_det

    def inverse(self, z: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> Tensor:
        """Latent to data."""
        hidden, last = self.net.hidden(None, cond, noise), self.net.conv3
        x: Tensor = spline_inverse(z, hidden, last.weight, last.bias, self.bins, self.box, self.odd)
        return x
