"""The cached sampler of a masked autoregressive net: one step per wavefront of pixels instead of one pass per value."""

from dataclasses import dataclass

import torch
from torch import Tensor

from noiseflow.flows.conditions import Resolved
from noiseflow.flows.nets.conditional_net import signal_features
from noiseflow.flows.nets.masked_net import MaskedNet
from noiseflow.ops.masked_affine import soft_clamp

__all__ = ["longest_chain", "solve"]


@dataclass(frozen=True)
class Fronts:
    """Wavefronts: groups of pixels that do not depend on one another, in the order in which they can be solved.

    A pixel depends on its own row to the left, and on `above` rows above, up to `beside` columns to its right.
    So all pixels (i, j) with the same t = j + slope·i, slope = beside + 1, can be solved together once all pixels
    with a smaller t are.  Values are stored skewed, at cell (t + lead)·pitch + i + above.  The window of every
    pixel then has the same cell offsets.  Cells outside the frame stay 0, like the padding of a convolution.
    """

    height: int
    width: int
    above: int
    beside: int

    @property
    def slope(self) -> int:
        return self.beside + 1 if self.above else 0

    @property
    def lead(self) -> int:
        return self.beside + self.slope * self.above

    @property
    def pitch(self) -> int:
        return self.height + self.above

    @property
    def count(self) -> int:
        return self.width + self.slope * (self.height - 1)

    def rows(self, front: int) -> tuple[int, int]:
        """First row of a front, and its last row plus one."""
        if not self.slope:
            return 0, self.height
        return max(0, -((self.width - 1 - front) // self.slope)), min(self.height - 1, front // self.slope) + 1

    def cells(self, device: torch.device) -> Tensor:
        """Cell index of each pixel, shape (H·W,)."""
        row, column = (torch.arange(size, device=device) for size in (self.height, self.width))
        return ((column + self.slope * row[:, None] + self.lead) * self.pitch + row[:, None] + self.above).flatten()

    def window(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Cell indices of each row's window relative to its front, (H, taps), and a mask of the causal taps."""
        down, across = torch.meshgrid(
            torch.arange(-self.above, 1, device=device),
            torch.arange(-self.beside, self.beside + 1, device=device),
            indexing="ij",
        )
        earlier = ((down < 0) | (across < 0)).flatten()
        step = ((across + self.slope * down) * self.pitch + down).flatten()[earlier]
        return torch.arange(self.height, device=device)[:, None] + self.lead * self.pitch + self.above + step, earlier


def longest_chain(net: MaskedNet, planes: int, height: int, width: int) -> int:
    """Longest chain of dependent values in a frame; that many fixed-point passes solve it from any start."""
    return planes * Fronts(height, width, net.above, net.beside).count


def solve(net: MaskedNet, bound: float, z: Tensor, cond: Resolved) -> Tensor:
    """Solve x·exp(s) + t = z for x, where (t, r) = net(x, cond) and s = bound·tanh(r/bound).

    Each value is computed once, from its receptive field alone; the pixels of a front are
    computed together.  The result equals that of H·W·C passes of the net, up to rounding.

    Parameters
    ----------
    net : MaskedNet
        Predicts shift and log scale.
    bound : float
        Largest |log scale|.
    z : Tensor, shape (B, C, H, W)
        Latent values.
    cond : Resolved
        Clean signal, ISO and camera of each element.

    Returns
    -------
    Tensor, shape (B, C, H, W)
        Data x.
    """
    batch, planes, height, width = z.shape
    fronts = Fronts(height, width, net.above, net.beside)
    window, taps = fronts.window(z.device)
    cells = fronts.cells(z.device)
    size = (fronts.count + fronts.lead) * fronts.pitch
    layers = _Layers(net, cond, taps)
    latent, signal = (each.flatten(2).transpose(1, 2).contiguous() for each in (z, layers.signal))
    # Pixel (i, front − slope·i) of a frame has the flat index i·(width − slope) + front.
    numbers = torch.arange(height, device=z.device) * (width - fronts.slope)
    values = z.new_zeros(batch, size, planes)
    for front in range(fronts.count):
        first, end = fronts.rows(front)
        if first >= end:  # a frame narrower than the slope has fronts without a pixel
            continue
        own = (front + fronts.lead) * fronts.pitch + first + fronts.above
        own_end = own + end - first
        behind = values[:, front * fronts.pitch + first : own_end]
        context = behind.index_select(1, window[: end - first].flatten()).reshape(batch, end - first, -1)
        pixels = numbers[first:end] + front
        values[:, own:own_end] = layers.pixels(
            latent.index_select(1, pixels), context, signal.index_select(1, pixels), bound
        )
    return values.index_select(1, cells).transpose(1, 2).reshape(z.shape)


class _Layers:
    """The net's layers as one matrix per element, with FiLM folded in, split into one group per plane."""

    def __init__(self, net: MaskedNet, cond: Resolved, taps: Tensor) -> None:
        window, hidden, output = net.weights()
        features = net.features(cond)
        gain1, shift1 = (each[:, None] for each in net.film1.gain_and_shift(features))
        gain2, shift2 = (each[:, None] for each in net.film2.gain_and_shift(features))
        self.signal = net.signal(signal_features(cond.clean)) * gain1[:, 0, :, None, None]
        self.signal += shift1[:, 0, :, None, None]
        flat = window.flatten(2).permute(2, 1, 0)
        self.context = flat[taps].flatten(0, 1) * gain1
        assert net.hidden.bias is not None
        assert net.output.bias is not None
        own = window[:, :, net.above, net.beside].T * gain1
        inner, inner_bias = hidden[:, :, 0, 0].T * gain2, net.hidden.bias * gain2 + shift2
        last, batch, planes = output[:, :, 0, 0].T, len(features), net.planes
        size = net.width // planes
        self.groups = [slice(plane * size, (plane + 1) * size) for plane in range(planes)]
        self.own = [own[:, :plane, group] for plane, group in enumerate(self.groups)]
        self.inner = [(inner[:, : group.stop, group], inner_bias[:, :, group]) for group in self.groups]
        self.last = [
            (
                last[: group.stop, plane::planes].expand(batch, -1, -1),
                net.output.bias[plane::planes].expand(batch, 1, -1),
            )
            for plane, group in enumerate(self.groups)
        ]

    def pixels(self, z: Tensor, context: Tensor, signal: Tensor, bound: float) -> Tensor:
        """Solve n pixels plane by plane.

        z: latents, (B, n, C); context: earlier values, (B, n, taps·C); signal: signal features, (B, n, width).
        """
        before = torch.baddbmm(signal, context, self.context)
        x = torch.empty_like(z)
        first, second = torch.empty_like(before), torch.empty_like(before)
        for plane, group in enumerate(self.groups):
            mine = before[:, :, group]
            if plane:
                mine = torch.baddbmm(mine, x[:, :, :plane], self.own[plane])
            first[:, :, group] = mine.tanh()
            weight, bias = self.inner[plane]
            second[:, :, group] = torch.baddbmm(bias, first[:, :, : group.stop], weight).tanh()
            weight, bias = self.last[plane]
            out = torch.baddbmm(bias, second[:, :, : group.stop], weight)
            log_scale = soft_clamp(out[:, :, 1], bound)
            x[:, :, plane] = (z[:, :, plane] - out[:, :, 0]) * (-log_scale).exp()
        return x
