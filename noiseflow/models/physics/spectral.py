"""Poisson shot noise plus read noise with the spectrum and histogram of one dark frame."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from noiseflow.flows.conditions import Resolved
from noiseflow.models.model import ModelSpec, register
from noiseflow.models.physics.dark_frame import DarkFrame, size_of
from noiseflow.models.physics.profile_models import PROFILE_OPTION
from noiseflow.ops.random import sampling
from noiseflow.ops.random.sampling import Keyed, Source, Stream
from noiseflow.ops.random.spread import Spread
from noiseflow.raw.bayer import rows_of_cell

__all__ = ["Spectral"]


@register("spectral", ("dark_frames", *PROFILE_OPTION))
class Spectral(DarkFrame):
    """Poisson shot noise plus random read noise with the spectrum and histogram of a dark frame; samples only.

    White Gaussian noise w on the mosaic is filtered to the power spectrum P of the frame,

    n = F⁻¹(√P · F(w)),  u = Φ(n),  noise in DN = quantile of the frame's plane at u,

    which reproduces rows, columns, banding, the correlation of neighbours and planes, and the tails.  For a signal
    smaller than the frame, P is the mean over the frame's tiles of that size.  There are two limits: matching the
    histogram after the filter weakens the correlations of heavy-tailed noise, and patterns that stay in place, such
    as hot pixels and dark shading, are lost.  If there are several frames at an ISO, the first one is used.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self._amplitudes: dict[tuple[float, int, int], Tensor] = {}

    def _dark(self, cond: Resolved, generator: Source) -> Tensor:
        if isinstance(generator, Spread):
            return self._any_pixels(cond, generator)
        height, width = size_of(cond, generator)
        side = rows_of_cell(cond.clean.shape[1])
        whole = cond.clean.new_empty(len(cond.clean), 1, height * side, width * side)
        source = replace(generator, top=0, left=0, size=None) if isinstance(generator, Keyed) else generator
        white = torch.fft.rfft2(sampling.normal(whole, source, Stream.DARK))
        amplitude = torch.stack([self._amplitude(iso, (height, width)) for iso in cond.iso.tolist()])
        field = torch.fft.irfft2(white * amplitude.to(whole), s=(whole.shape[2], whole.shape[3]))
        planes = pixel_unshuffle(field, side)
        if isinstance(generator, Keyed):
            rows = slice(generator.top, generator.top + cond.clean.shape[2])
            planes = planes[:, :, rows, generator.left : generator.left + cond.clean.shape[3]]
        share = torch.special.ndtr(planes)
        found = [self._quantile(share[row], iso) for row, iso in enumerate(cond.iso.tolist())]
        return torch.stack(found).to(cond.clean) - self.parameter_at(cond, "black")

    def _amplitude(self, iso: float, size: tuple[int, int]) -> Tensor:
        """√P on the half plane of `rfft2`, (1, H, W//2 + 1), scaled to variance 1; cached per ISO and size."""
        if (iso, *size) not in self._amplitudes:
            frame = self.large_enough(iso, size)[0].double()
            frame = frame - frame.mean((1, 2), keepdim=True)
            frame = frame / frame.std((1, 2), keepdim=True).clamp(min=1e-12)
            tiles = frame.unfold(1, size[0], size[0]).unfold(2, size[1], size[1]).permute(1, 2, 0, 3, 4).flatten(0, 1)
            mosaic = pixel_shuffle(tiles, rows_of_cell(len(frame)))
            power = torch.fft.fft2(mosaic, norm="ortho").abs().square().mean(0)
            power = power / power.mean()
            self._amplitudes[iso, size[0], size[1]] = power[..., : mosaic.shape[-1] // 2 + 1].sqrt()
        return self._amplitudes[iso, size[0], size[1]]

    def _quantile(self, share: Tensor, iso: float) -> Tensor:
        """Quantiles of the frame's planes at the probabilities `share`, (C, h, w), DN."""
        values = self.frames_at(iso)[0].flatten(1).sort(1).values
        count = values.shape[1]
        place = (share.flatten(1) * count).long().clamp(0, count - 1)
        return values.gather(1, place).reshape(share.shape)
