"""The conditioner of autoregressive transforms: a net whose outputs depend only on earlier values in raster order."""

import torch
from torch import Tensor, nn

from noiseflow.core.errors import ModelError
from noiseflow.flows.conditions import Resolved
from noiseflow.flows.nets.conditional_net import SampleFeatures, SpatialFilm, signal_features
from noiseflow.flows.nets.saved_state import SavedState

__all__ = ["MaskedNet"]


class MaskedNet(SavedState):
    """Causal net: masked conv → FiLM → tanh → masked 1×1 → FiLM → tanh → masked 1×1, with the conditions.

    The order is raster: row by row, pixel by pixel, plane by plane.  The outputs for a value depend only on earlier
    values: pixels in a window of `above` rows above and `beside` columns to either side, pixels of its own row to
    the left, and earlier planes of its own pixel.  They also depend on the clean signal at the pixel, the ISO and
    the camera.  Each plane, that is each CFA position, has its own weights: hidden planes form one group per plane,
    and group g sees all earlier pixels and the planes below g of its own pixel.

    Hidden values are bounded by tanh, and the last layer starts at zero, as in `ConditionalNet`.

    Parameters
    ----------
    planes, cameras : int
        Number of planes and of cameras.
    width : int
        Hidden planes, a multiple of `planes`.
    above, beside : int
        Size of the window, in pixels of a plane.
    dropout : float
        Probability in training that the camera counts as unknown.
    generator : torch.Generator, optional
        Draws the initial weights.

    Raises
    ------
    ModelError
        A width that is not a multiple of `planes`, or a negative window.

    References
    ----------
    van den Oord, Kalchbrenner, Kavukcuoglu: Pixel recurrent neural networks, ICML 2016, section 3.
    Germain, Gregor, Murray, Larochelle: MADE, ICML 2015, eq. 12-14.
    """

    window_mask: Tensor
    hidden_mask: Tensor
    output_mask: Tensor

    def __init__(
        self,
        planes: int,
        cameras: int,
        width: int = 16,
        above: int = 2,
        beside: int = 2,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if width < planes or width % planes or above < 0 or beside < 0:
            raise ModelError(
                f"masked net: expected a width that is a multiple of {planes}, the number of planes, and a window ≥ 0; "
                f"got width {width}, window {above} above, {beside} beside"
            )
        self.planes, self.width, self.above, self.beside = planes, width, above, beside
        self.features = SampleFeatures(cameras, dropout=dropout, generator=generator)
        self.window = nn.Conv2d(planes, width, (above + 1, 2 * beside + 1), bias=False)
        self.signal = nn.Conv2d(2 * planes, width, 1)
        self.film1 = SpatialFilm(self.features.count, width)
        self.hidden = nn.Conv2d(width, width, 1)
        self.film2 = SpatialFilm(self.features.count, width)
        self.output = nn.Conv2d(width, 2 * planes, 1)
        cpu = torch.device("cpu")
        group = torch.arange(width, device=cpu) // (width // planes)
        window = torch.ones(self.window.weight.shape, device=cpu)
        window[:, :, above, beside + 1 :] = 0
        window[:, :, above, beside] = (torch.arange(planes, device=cpu) < group[:, None]).float()
        plane = torch.arange(2 * planes, device=cpu) % planes
        for name, mask in (
            ("window_mask", window),
            ("hidden_mask", (group <= group[:, None]).float()[:, :, None, None]),
            ("output_mask", (group <= plane[:, None]).float()[:, :, None, None]),
        ):
            self._constant(name, mask)
        for conv in (self.window, self.signal, self.hidden):
            nn.init.normal_(conv.weight, std=conv.weight[0].numel() ** -0.5, generator=generator)
        for bias in (self.signal.bias, self.hidden.bias, self.output.bias, self.output.weight):
            nn.init.zeros_(bias)  # type: ignore[arg-type]

    def weights(self) -> tuple[Tensor, Tensor, Tensor]:
        """Weights of the window, hidden and output layers, with zeros where raster order forbids a dependence."""
        return (
            self.window.weight * self.window_mask,
            self.hidden.weight * self.hidden_mask,
            self.output.weight * self.output_mask,
        )

    def forward(self, values: Tensor, cond: Resolved) -> tuple[Tensor, Tensor]:
        """Map values, (B, C, H, W), and conditions to shift and raw log scale, both in the values' shape and dtype."""
        window, hidden_weight, output_weight = self.weights()
        padded = nn.functional.pad(values, (self.beside, self.beside, self.above, 0))
        features = self.features(cond)
        hidden = nn.functional.conv2d(padded, window) + self.signal(signal_features(cond.clean))
        hidden = self.film1(hidden, features).tanh()
        hidden = nn.functional.conv2d(hidden, hidden_weight, self.hidden.bias)
        hidden = self.film2(hidden, features).tanh()
        shift, raw = nn.functional.conv2d(hidden, output_weight, self.output.bias).to(values.dtype).chunk(2, 1)
        return shift, raw
