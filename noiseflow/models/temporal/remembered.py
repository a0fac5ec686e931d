"""Adds what a camera remembers to the noise of a frame."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from noiseflow.flows.conditions import Resolved
from noiseflow.models.temporal.strengths import MOST, MOST_TRAPS
from noiseflow.ops.shot_read_noise import with_memory

if TYPE_CHECKING:
    from noiseflow.models.temporal.stream import Memory
    from noiseflow.models.temporal.temporal_noise import TemporalNoise

__all__ = ["Remembered", "window_of"]


class Remembered:
    """The contribution of the past to one frame: n = fresh·√(rest·s²) + Σ σ_i·u_i + Σ σ_j·x_j + level.

    This is σ of the frame's noise times the latent that `strengths` describes.  Each σ, normalised or relative to the
    signal, is one number per element, so that `with_memory` needs no array for the strength of each part.

    Parameters
    ----------
    model : TemporalNoise
        The model.
    memory : Memory
        State of the camera's memory.
    cond : Resolved
        Clean signal, ISO and camera of the requested pixels.
    shared : Tensor, shape (B, J)
        Values x of the shared processes in this frame.
    full : Tensor of bool, shape (K,), or None
        Which traps are full in this frame.
    """

    def __init__(
        self, model: "TemporalNoise", memory: "Memory", cond: Resolved, shared: Tensor, full: Tensor | None
    ) -> None:
        self.memory, self.cond = memory, cond
        clean = cond.clean
        taken = {False: clean.new_zeros(len(clean)), True: clean.new_zeros(len(clean))}
        of_frame = dict(taken)
        if not model.adds_pattern:
            for part in model.pixel_parts:
                taken[part.of_light] = taken[part.of_light] + part.sigma(cond).square().to(clean)
        for number, each in enumerate(model.frame_parts):
            of_frame[each.of_light] = of_frame[each.of_light] + each.sigma(cond).to(clean) * shared[:, number].to(clean)
        traps = clean.new_zeros(len(clean))
        if model.telegraph is not None and not model.adds_pattern:
            traps = model.telegraph.variance(cond).to(clean)
        self.terms = torch.stack([taken[False], taken[True], traps, of_frame[False], of_frame[True]], 1)
        self.traps = memory.traps
        self.level = None if full is None or memory.traps is None else memory.traps.level(full).to(clean.dtype)

    def added_to(self, fresh: Tensor, variance: Tensor, corner: tuple[int, int], *, latent: bool) -> Tensor:
        """Noise of a window of the frame, (B, C, h, w), normalised, or its latents.

        Parameters
        ----------
        fresh : Tensor, shape (B, C, h, w)
            Independent N(0, 1) numbers.
        variance : Tensor, shape (B, C, h, w)
            Variance of the frame model's noise.
        corner : tuple of int
            Row and column of the window's first pixel in the frame.
        latent : bool
            Whether to divide the noise by the frame model's σ.
        """
        clean, bounds = self.cond.clean, (1 - MOST, MOST_TRAPS, latent)
        maps = [
            None if each is None else window_of(each, fresh, corner)
            for each in (self.memory.offsets, self.memory.gains)
        ]
        noise: Tensor = with_memory(fresh, clean, variance, *maps, self.terms, *bounds)
        if self.level is None:
            return noise
        # Telegraph pixels have no fixed pattern; each is a frame of one pixel.
        place, own = self._traps(fresh, corner)
        terms = self.terms[place[0]].clone()
        terms[:, :2] = 0
        terms[:, 3] += self.level[own]
        pixels = [each[place][:, None, None, None] for each in (fresh, clean, variance.expand_as(fresh))]
        noise[place] = with_memory(*pixels, None, None, terms, *bounds)[:, 0, 0, 0]
        return noise

    def _traps(self, like: Tensor, corner: tuple[int, int]) -> tuple[tuple[Tensor, ...], Tensor]:
        """Positions of a window's telegraph pixels within the window, and their indices among all telegraph pixels."""
        assert self.traps is not None
        element, plane, row, column = self.traps.place
        row, column = row - corner[0], column - corner[1]
        own = ((row >= 0) & (row < like.shape[2]) & (column >= 0) & (column < like.shape[3])).nonzero()[:, 0]
        return (element[own], plane[own], row[own], column[own]), own


def window_of(whole: Tensor, like: Tensor, corner: tuple[int, int]) -> Tensor:
    """Crop `whole` to the window of `like` whose first pixel is at `corner`."""
    (top, left), (height, width) = corner, like.shape[2:]
    return whole[:, :, top : top + height, left : left + width].to(like)
