"""Networks that see the conditions: clean signal, ISO and camera, by inputs and FiLM."""

import math

import torch
from torch import Tensor, nn

from noiseflow.flows.conditions import Resolved
from noiseflow.flows.signal_model import NoiseParameters, required
from noiseflow.ops.conditional_net import hidden_layers
from noiseflow.ops.random import sampling

__all__ = ["ConditionalNet", "SampleFeatures", "SpatialFilm", "signal_features"]

DARK = 1e-3
"""Normalised signal below which the logarithmic feature turns linear: a few DN of 12 bits."""

ISO_SPAN = math.log(64.0)
"""Log ISO is counted in units of six stops from ISO 800, and saturates softly beyond ±2 units."""


def signal_features(clean: Tensor) -> Tensor:
    """Clean signal as nets see it: two planes for each, (B, C, H, W) to (B, 2C, H, W).

    √y is what stabilises the variance of shot noise; log(1 + y/10⁻³) resolves the shadows,
    where read noise takes over.  Both are about 0 to 1; signals below black count as black.
    """
    signal = clean.clamp(min=0)
    return torch.cat([signal.sqrt(), (signal / DARK).log1p() / math.log1p(1 / DARK)], 1)


class SampleFeatures(nn.Module):
    """Log ISO and a learned embedding of the camera, (B, `count`).

    Index `cameras` of the embedding is an unknown camera; in training it replaces a camera
    with probability `dropout`, drawn from torch's generator as any dropout is.

    Parameters
    ----------
    cameras : int
        Number of cameras.
    embedding : int
        Length of the camera's vector.
    dropout : float
        Probability that a camera counts as unknown, in training.
    generator : torch.Generator, optional
        Draws the starting vectors.
    """

    def __init__(
        self, cameras: int, embedding: int = 3, dropout: float = 0.0, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.count = 1 + embedding
        self.dropout = dropout
        self.cameras = nn.Parameter(0.5 * torch.randn(cameras + 1, embedding, generator=generator))

    def forward(self, cond: Resolved) -> Tensor:
        """Features of each element."""
        unknown = self.cameras.shape[0] - 1
        index = cond.camera
        if self.training and self.dropout:
            index = index.masked_fill(sampling.uniform(index, None) < self.dropout, unknown)
        stops = (cond.iso.log() - math.log(800.0)) / ISO_SPAN
        soft = 2.0 * (stops / 2.0).tanh()
        return torch.cat([soft.to(self.cameras.dtype)[:, None], self.cameras[index]], 1)


class SpatialFilm(nn.Module):
    """Scale and shift of hidden planes by the features of the element: h·(1 + γ) + β.

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
        """(B, width, …) and (B, features) to (B, width, …)."""
        gain, shift = (each.reshape(*each.shape, *[1] * (hidden.ndim - 2)) for each in self.gain_and_shift(features))
        return hidden * gain + shift

    def gain_and_shift(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """1 + γ and β of each element, (B, width) each."""
        gain, shift = self.linear(features).chunk(2, 1)
        return 1 + gain, shift


class ConditionalNet(nn.Module):
    """The conditioner of all new layers: conv → FiLM → tanh → conv 1×1 → FiLM → tanh → conv.

    Its hidden values are bounded, so that an outlier in its input cannot grow without
    limit; its last convolution starts at zero, so that a layer starts as the identity.

    Parameters
    ----------
    inputs : int
        Planes of the values that condition; 0 if it sees the conditions alone.
    outputs : int
        Planes of the output.
    planes, cameras : int
        Planes and cameras of the conditions.
    width : int
        Hidden planes.
    kernel : int
        Size of the first and the last convolution, odd.
    dropout : float
        Chance in training that the camera counts as unknown.
    generator : torch.Generator, optional
        Draws the starting weights.
    from_noise : bool
        Whether it sees the noise parameters (`NoiseParameters.net_inputs`) instead of the signal (`signal_features`).
    own_signal : bool
        Sees the signal at its own pixel only, and its last convolution has kernel 1.  Of a
        burst the clean signal is a mean of other frames: from a neighbourhood of it a net could
        tell those frames' noise, and with it a part of the noise that it is to model.
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
        """What the last convolution sees, (B, width, H, W)."""
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
        """(B, inputs, H, W), or nothing, and conditions to (B, outputs, H, W) in the dtype of the signal."""
        out: Tensor = self.conv3(self.hidden(values, cond, noise))
        return out.to(cond.clean.dtype)
