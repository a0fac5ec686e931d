"""What operations expect of the layers that call them."""

from typing import Protocol, TypeGuard

from torch import Tensor, nn

__all__ = ["BorderAware", "NoiseLevel", "is_border_aware"]


class NoiseLevel(Protocol):
    """Clean signal (B, C, H, W), and β₁ and β₂ of each plane, (B, C, 1, 1)."""

    @property
    def clean(self) -> Tensor:
        """Clean signal."""

    @property
    def beta1(self) -> Tensor:
        """Of shot noise."""

    @property
    def beta2(self) -> Tensor:
        """Of read noise."""


class BorderAware(Protocol):
    """Layers of the published conditioner; see `noiseflow.flows.nets.border_aware_net.BorderAwareNet`."""

    conv1: nn.Conv2d
    norm1: nn.BatchNorm2d
    conv2: nn.Conv2d
    norm2: nn.BatchNorm2d
    conv3: nn.Conv2d
    logs: nn.Parameter
    training: bool


def is_border_aware(net: object) -> TypeGuard[BorderAware]:
    """Whether a net declares itself to be of that form."""
    return getattr(net, "border_aware", False)
