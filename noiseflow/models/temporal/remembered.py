"""Adds what a camera remembers to the latents of a frame."""

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from noiseflow.flows.conditions import Resolved
from noiseflow.models.temporal.frame_latent import sigma_of
from noiseflow.models.temporal.part import NormalPart
from noiseflow.models.temporal.strengths import MOST, share_of_jumping

if TYPE_CHECKING:
    from noiseflow.models.temporal.stream import Memory
    from noiseflow.models.temporal.temporal_noise import TemporalNoise

__all__ = ["Remembered", "window_of"]


class Remembered:
    """The contribution of the past to the latents of one frame: z = fresh·√rest + (Σ σ_i·u_i + Σ σ_j·x_j + level)/σ.

    This is the sum over `strengths`, computed without an array for each of them, because each σ (normalised or
    relative to the signal) is one number per element.

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
        self.model, self.cond = model, cond
        dtype = cond.clean.dtype

        def scale(part: NormalPart) -> Tensor:
            return part.sigma(cond).to(dtype)[:, None, None, None]

        self.own = [
            (part.of_light, scale(part), whole) for part, whole in zip(model.pixel_parts, memory.maps, strict=True)
        ]
        # Offsets and gains common to all pixels of the frame.
        nothing = cond.clean.new_zeros(len(cond.clean), 1, 1, 1)
        self.offset = self.gain = nothing
        for number, part in enumerate(model.frame_parts):
            amount = scale(part) * shared[:, number, None, None, None].to(cond.clean)
            if part.of_light:
                self.gain = self.gain + amount
            else:
                self.offset = self.offset + amount
        self.lit = any(part.of_light for part in (*model.pixel_parts, *model.frame_parts))
        self.traps = memory.traps
        self.level = None if full is None or memory.traps is None else memory.traps.level(full).to(dtype)

    def add_to(self, z: Tensor, clean: Tensor, corner: tuple[int, int]) -> None:
        """Add the past to the fresh latents z of a window of the frame, in place.

        Parameters
        ----------
        z : Tensor, shape (B, C, h, w)
            Independent N(0, 1) numbers; replaced by the latents of the sequence.
        clean : Tensor, shape (B, C, h, w)
            Clean signal of the window, normalised.
        corner : tuple of int
            Row and column of the window's first pixel in the frame.
        """
        sigma = sigma_of(self.model.frame, replace(self.cond, clean=clean)).to(z.dtype)
        light = clean.clamp(min=0) if self.lit else clean
        past, taken = torch.zeros_like(z), torch.zeros_like(z)
        for of_light, scale, whole in self.own:
            strength = scale * light if of_light else scale
            past.addcmul_(strength.expand_as(z), window_of(whole, z, corner))
            taken += strength.square()
        jumping = share_of_jumping(self.model, self.cond, sigma)
        if self.model.adds_pattern:
            rest = jumping.expand_as(z).clone()
        else:
            rest, past = self._within(taken.div_(sigma.square()), jumping, past)
        if self.level is not None:
            place, own = self._traps(z, corner)
            past[place], rest[place] = self.level[own], jumping.expand_as(z)[place]
        past += self.offset
        if self.lit:
            past.addcmul_(self.gain.expand_as(z), light)
        z.mul_(rest.sqrt_()).add_(past.div_(sigma))

    def _within(self, taken: Tensor, jumping: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Limit the pattern's share of the variance to its bound; return the remaining variance and the pattern."""
        least = jumping - (1 - MOST)
        over = taken > least
        if bool(over.any()):
            past = torch.where(over, past * (least / taken).sqrt(), past)
            taken = torch.minimum(taken, least)
        return jumping - taken, past

    def _traps(self, z: Tensor, corner: tuple[int, int]) -> tuple[tuple[Tensor, ...], Tensor]:
        """Positions of a window's telegraph pixels within the window, and their indices among all telegraph pixels."""
        assert self.traps is not None
        element, plane, row, column = self.traps.place
        row, column = row - corner[0], column - corner[1]
        own = ((row >= 0) & (row < z.shape[2]) & (column >= 0) & (column < z.shape[3])).nonzero()[:, 0]
        return (element[own], plane[own], row[own], column[own]), own


def window_of(whole: Tensor, like: Tensor, corner: tuple[int, int]) -> Tensor:
    """Crop `whole` to the window of `like` whose first pixel is at `corner`."""
    (top, left), (height, width) = corner, like.shape[2:]
    return whole[:, :, top : top + height, left : left + width].to(like)
