"""The density of a sequence, frame by frame: log p(n_t | n_1 … n_{t−1})."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from noiseflow.core.errors import DataError
from noiseflow.flows.conditions import Conditions, Resolved
from noiseflow.models.model import checked_conditions
from noiseflow.models.temporal.frame_latent import sigma_of
from noiseflow.models.temporal.innovations.law_state import LawState
from noiseflow.models.temporal.linear_filter import FrameState, PixelState, Prediction
from noiseflow.models.temporal.part import InnovationPart
from noiseflow.models.temporal.strengths import Strengths, strengths
from noiseflow.models.temporal.telegraph import TelegraphFilter

if TYPE_CHECKING:
    from noiseflow.models.temporal.temporal_noise import TemporalNoise

__all__ = ["LatentDensity", "SequenceDensity"]

LOG_2PI = math.log(2 * math.pi)


class LatentDensity:
    """The memory's contribution to the density of latents: log q(z_t | z_1 … z_{t−1}) − log N(z_t; 0, I).

    The memory used does not grow with the number of frames if the scene is static, or if the model lacks pixel parts
    or frame parts.  Otherwise each frame with a new signal, or with new masked pixels, adds columns to it.

    Parameters
    ----------
    model : TemporalNoise
        The model.
    first : Resolved
        Clean signal, ISO and camera of the first frame.
    """

    def __init__(self, model: "TemporalNoise", first: Resolved) -> None:
        self.model = model
        batch, device = len(first.clean), first.clean.device
        self.pixels = PixelState((batch, len(model.pixel_parts), first.clean[0].numel()), device)
        memory = [part.memory(first) for part in model.frame_parts]
        self.frames = FrameState(torch.stack(memory, 1)) if memory else None
        self.jumps = None if model.telegraph is None else TelegraphFilter(model.telegraph, first)
        self.joint = bool(model.pixel_parts and memory) and self.jumps is None
        self.signals: list[tuple[Tensor, Tensor | None]] = []
        self.laws = {
            name: LawState(part, first) for name, part in model.parts.items() if isinstance(part, InnovationPart)
        }
        self.scene: tuple[Resolved, Tensor, Strengths] | None = None
        """Conditions and σ of the last frame, with their strengths."""

    def step(self, z: Tensor, cond: Resolved, sigma: Tensor) -> Tensor:
        """Contribution of the next frame, nats, (B,); the frame is then added to the past.

        Parameters
        ----------
        z : Tensor of float64, shape (B, N)
            Latents of the frame, 0 where a pixel is masked.
        cond : Resolved
            Clean signal, ISO and camera of the frame.
        sigma : Tensor of float64, shape (B, C, H, W)
            σ of the frame's noise, normalised.
        """
        strong = self._strengths(cond, sigma)
        plain = 0.5 * z.square().sum(1)
        if self.jumps is not None:
            return plain + self._with_jumps(z, strong, cond)
        h = strong.own
        predicted = self.pixels.predict(h, strong.shared, strong.rest)
        if self.frames is None:
            self.pixels.update(h, predicted, z, 0, new=False)
            rest = (z - predicted.mean).square() / predicted.variance + predicted.variance.log()
            alone = plain - 0.5 * rest.sum(1)
            if not self.laws:
                return alone
            return alone + self._gain_of_laws((z - predicted.mean) / predicted.variance.sqrt(), cond)
        if self.laws:
            plain = plain + self._gain_of_laws(self.frames.alone(*_standardised(predicted, z)), cond)
        found = self.frames.take_in(predicted, z)
        if not self.joint:
            self.frames.skip_sums()
            return plain + found
        place, new = self._place(cond.clean, cond.observed)
        self.pixels.update(h, predicted, z, len(self.model.frame_parts), new)
        self.frames.advance(place, new)
        return plain + found

    def _strengths(self, cond: Resolved, sigma: Tensor) -> Strengths:
        """Strengths of the parts in a frame; those of the last frame if it had the very same conditions and σ."""
        if self.scene is None or self.scene[0] is not cond or self.scene[1] is not sigma:
            self.scene = cond, sigma, strengths(self.model, cond, sigma)
        return self.scene[2]

    def _place(self, clean: Tensor, observed: Tensor | None) -> tuple[int, bool]:
        """Index of a signal and mask among those seen so far, and whether the pair is new."""
        for number, (signal, mask) in enumerate(self.signals):
            same = mask is observed or (mask is not None and observed is not None and torch.equal(mask, observed))
            if same and torch.equal(signal, clean):
                return number, False
        self.signals.append((clean, observed))
        return len(self.signals) - 1, True

    def _gain_of_laws(self, w: Tensor, cond: Resolved) -> Tensor:
        """Gain in log-density of a frame's innovations w, (B, N), from past ones, nats, (B,)."""
        fine, of_blocks = self._without_laws(w, cond, of_pixels=False)
        left, of_pixels = self._without_laws(fine, cond, of_pixels=True)
        return 0.5 * (w.square() - left.square()).sum(1) + of_blocks.sum(1) + of_pixels.sum(1)

    def _without_laws(self, w: Tensor, cond: Resolved, *, of_pixels: bool) -> tuple[Tensor, Tensor]:
        """Remove the laws of pixels, or those of blocks, from a frame's innovations w, (B, N).

        Returns what they leave, (B, N), and the log-determinant of each coefficient, nats.
        """
        left, found = w.reshape(cond.clean.shape), w.new_zeros(len(w), 1)
        for law in self.laws.values():
            if law.part.of_pixels == of_pixels:
                left, log_det = law.remove(left, cond.observed)
                found = log_det.flatten(1)
        return left.flatten(1), found

    def _with_jumps(self, z: Tensor, strong: Strengths, cond: Resolved) -> Tensor:
        """Log q(z | past) + N/2·log 2π with telegraph pixels: the shared part is removed first, then pixel by pixel."""
        assert self.jumps is not None
        log_prob = z.new_zeros(len(z))
        h, g = strong.own, strong.shared
        if self.frames is not None:
            independent = PixelState((len(z), 0, z.shape[1]), z.device).predict(h[:, :0], g, torch.ones_like(z))
            v = self.frames.alone(independent, z)
            log_prob = self.frames.take_in(independent, z) + 0.5 * v.square().sum(1)
            self.frames.skip_sums()
            z = v
        predicted = self.pixels.predict(h, g[:, :0], strong.rest)
        self.pixels.update(h, predicted, z, 0, new=False)
        seen = None if cond.observed is None else cond.observed.flatten(1).double()
        sigma = predicted.variance.sqrt()
        # A telegraph pixel has no law of its own, but what a law predicts of its block is removed from it.
        w, of_blocks = self._without_laws((z - predicted.mean) / sigma, cond, of_pixels=False)
        left, of_pixels = self._without_laws(w, cond, of_pixels=True)
        log_prob, z = log_prob + of_blocks.sum(1), predicted.mean + sigma * w
        log_plain = of_pixels - 0.5 * (left.square() + LOG_2PI) - sigma.log()
        own = self.jumps.step(z, log_plain, strong.per_sigma, strong.jumping, seen)
        return log_prob + own.sum(1) + 0.5 * LOG_2PI * cond.counts()


def _standardised(predicted: Prediction, z: Tensor) -> tuple[Prediction, Tensor]:
    """The same prediction and latents in units of each pixel's predicted σ."""
    sigma = predicted.variance.sqrt()
    one = torch.ones_like(sigma)
    return Prediction(predicted.mean / sigma, one, predicted.slopes / sigma[:, None]), z / sigma


class SequenceDensity:
    """The density of a sequence, frame by frame; created by `TemporalNoise.follow`.

    Parameters
    ----------
    model : TemporalNoise
        The model.
    iso : float or Tensor, shape (B,)
        ISO of the sequence.
    camera : as in `Conditions`
        Camera of the sequence.
    """

    def __init__(self, model: "TemporalNoise", iso: Tensor | float, camera: Tensor | int | str | Sequence[str]) -> None:
        self.model, self.iso, self.camera = model, iso, camera
        self.memory: LatentDensity | None = None
        self.shape: torch.Size | None = None

    def __call__(self, noise: Tensor, clean: Tensor, observed: Tensor | None = None) -> Tensor:
        """Log-density of the next frame given the frames of earlier calls, nats, float64, (B,).

        Parameters
        ----------
        noise, clean : Tensor, shape (B, C, H, W)
            Noise and clean signal of the frame, normalised.
        observed : Tensor of bool, shape (B, C, H, W), optional
            False where a pixel is masked.

        Raises
        ------
        DataError
            A frame whose shape differs from that of the frames before.
        """
        cond = checked_conditions(self.model, Conditions(clean, self.iso, self.camera, observed))
        if self.memory is None:
            self.memory, self.shape = LatentDensity(self.model, cond), cond.clean.shape
        if noise.shape != self.shape or cond.clean.shape != self.shape:
            raise DataError(
                f"frame: expected the shape of the frames before, {tuple(self.shape or ())}; got "
                f"{tuple(noise.shape)} and a clean signal {tuple(clean.shape)}"
            )
        noise = noise.to(self.model._working_dtype(noise.dtype))
        if observed is not None:
            noise = noise.masked_fill(~observed, 0.0)
        alone = self.model.frame.log_prob(noise, cond).double()
        z = self.model.frame.latent(noise, replace(cond, observed=None)).double()
        if observed is not None:
            z = z * observed
        return alone + self.memory.step(z.flatten(1), cond, sigma_of(self.model.frame, cond).double())
