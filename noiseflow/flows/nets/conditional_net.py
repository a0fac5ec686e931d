"""Networks conditioned on clean signal, ISO and camera, through input planes and FiLM."""

import math

import torch
from torch import Tensor, nn

from noiseflow.flows.conditions import Resolved
from noiseflow.flows.signal_model import NoiseParameters, required
from noiseflow.ops.conditional_net import hidden_layers
from noiseflow.ops.random import sampling

__all__ = ["ConditionalNet", "SampleFeatures", "SpatialFilm", "signal_features"]

DARK = 1e-3
"""Normalised signal below which the logarithmic feature becomes linear: about 4 DN at 12 bits."""

ISO_SPAN = math.log(64.0)
"""Unit of the log-ISO feature: six stops, counted from ISO 800; the feature saturates softly at ±2 units."""


def signal_features(clean: Tensor) -> Tensor:
    """Signal features for nets: two planes for each plane of the clean signal, (B, C, H, W) to (B, 2C, H, W).

    √y stabilises the variance of shot noise; log(1 + y/10⁻³) resolves the shadows, where read noise dominates.
    Both range from 0 to about 1; signals below black count as black.
    """
    signal = clean.clamp(min=0)
    return torch.cat([signal.sqrt(), (signal / DARK).log1p() / math.log1p(1 / DARK)], 1)


class SampleFeatures(nn.Module):
    """Features of each element: log ISO and a learned embedding of the camera, (B, `count`).

    Index `cameras` of the embedding stands for an unknown camera.  In training it replaces the camera
    with probability `dropout`, drawn from torch's global generator like any dropout.

    Parameters
    ----------
    cameras : int
        Number of cameras.
    embedding : int
        Length of a camera's embedding vector.
    dropout : float
        Probability in training that a camera counts as unknown.
    generator : torch.Generator, optional
        Draws the initial vectors.
    """

    def __init__(
        self, cameras: int, embedding: int = 3, dropout: float = 0.0, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.count = 1 + embedding
        self.dropout = dropout
        self.cameras = nn.Parameter(0.5 * torch.randn(cameras + 1, embedding, generator=generator))

    def forward(self, cond: Resolved) -> Tensor:
        """Features of each element, (B, `count`)."""
        unknown = self.cameras.shape[0] - 1
        index = cond.camera
        if self.training and self.dropout:
            index = index.masked_fill(sampling.uniform(index, None) < self.dropout, unknown)
        stops = (cond.iso.log() - math.log(800.0)) / ISO_SPAN
        soft = 2.0 * (stops / 2.0).tanh()
        return torch.cat([soft.to(self.cameras.dtype)[:, None], self.cameras[index]], 1)


class SpatialFilm(nn.Module):
    """Scale and shift hidden planes by the features of the element: h·(1 + γ) + β, with γ and β linear in them.

    Parameters
    ----------
    features : int
        Number of features.
    width : int
        Hidden planes.

    References
    ----------
    Perez et al.: FiLM: visual reasoning with a general conditioning layer, AAAI 2018, eq. 1–2.
    """

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, 2 * width)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, hidden: Tensor, features: Tensor) -> Tensor:
        """Modulate hidden planes, (B, width, …), by features, (B, features)."""
        gain, shift = (each.reshape(*each.shape, *[1] * (hidden.ndim - 2)) for each in self.gain_and_shift(features))
        return hidden * gain + shift

    def gain_and_shift(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """1 + γ and β of each element, (B, width) each."""
        gain, shift = self.linear(features).chunk(2, 1)
        return 1 + gain, shift


class ConditionalNet(nn.Module):
    """Conditioner net: conv → FiLM → tanh → conv 1×1 → FiLM → tanh → conv.

    Hidden values are bounded by tanh, so outliers in the input have a bounded effect.  The last convolution
    starts at zero, so that layers start as the identity.

    Parameters
    ----------
    inputs : int
        Planes of the conditioning values; 0 if the net sees only the conditions.
    outputs : int
        Planes of the output.
    planes, cameras : int
        Planes of the clean signal, and number of cameras.
    width : int
        Hidden planes.
    kernel : int
        Size of the first and the last convolution, odd.
    dropout : float
        Probability in training that the camera counts as unknown.
    generator : torch.Generator, optional
        Draws the initial weights.
    from_noise : bool
        Whether the net sees the noise parameters (`NoiseParameters.net_inputs`) instead of `signal_features`.
    own_signal : bool
        Whether the net sees the signal at its own pixel only; the last convolution then has kernel 1.  In a burst
        the clean signal is the mean of other frames.  From a neighbourhood of it, a net could infer the noise of
        those frames, and so part of the noise it should model.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        planes: int,
        cameras: int,
        width: int = 16,
        kernel: int = 3,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
        *,
        from_noise: bool = False,
        own_signal: bool = False,
    ) -> None:
        super().__init__()
        self.from_noise = from_noise
        last = 1 if own_signal else kernel
        self.reach = kernel // 2 + last // 2
        self.features = SampleFeatures(cameras, dropout=dropout, generator=generator)
        self.signal = nn.Conv2d(2 * planes, width, 1, bias=False) if own_signal else None
        self.conv1 = nn.Conv2d(inputs + (0 if own_signal else 2 * planes), width, kernel, padding="same")
        self.film1 = SpatialFilm(self.features.count, width)
        self.conv2 = nn.Conv2d(width, width, 1)
        self.film2 = SpatialFilm(self.features.count, width)
        self.conv3 = nn.Conv2d(width, outputs, last, padding="same")
        for conv in (self.conv1, self.conv2):
            nn.init.normal_(conv.weight, std=conv.weight[0].numel() ** -0.5, generator=generator)
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        if self.signal is not None:
            nn.init.normal_(self.signal.weight, std=(2 * planes) ** -0.5, generator=generator)
        nn.init.zeros_(self.conv3.weight)
        nn.init.zeros_(self.conv3.bias)  # type: ignore[arg-type]

    def hidden(self, values: Tensor | None, cond: Resolved, noise: NoiseParameters | None = None) -> Tensor:
        """Hidden planes that enter the last convolution, (B, width, H, W)."""
        signal = required(noise, self).net_inputs if self.from_noise else signal_features(cond.clean)
        features = self.features(cond)
        out: Tensor = hidden_layers(
            values,
            signal,
            self.conv1.weight,
            None if self.signal is None else self.signal.weight,
            self.conv1.bias,
            *self.film1.gain_and_shift(features),
            self.conv2.weight,
            self.conv2.bias,
            *self.film2.gain_and_shift(features),
        )
        return out

    def forward(self, values: Tensor | None, cond: Resolved, noise: NoiseParameters | None = None) -> Tensor:
        """Map values, (B, inputs, H, W) or None, and conditions to (B, outputs, H, W), in the signal's dtype."""
        out: Tensor = self.conv3(self.hidden(values, cond, noise))
        return out.to(cond.clean.dtype)
