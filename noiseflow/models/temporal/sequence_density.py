"""The density of a sequence, frame by frame: log p(n_t | n_1 … n_{t−1})."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from noiseflow.core.errors import DataError
from noiseflow.flows.conditions import Conditions
from noiseflow.models.model import checked_conditions
from noiseflow.models.temporal.linear_filter import FrameState, PixelState
from noiseflow.models.temporal.strengths import strengths
from noiseflow.models.temporal.telegraph import TelegraphFilter

if TYPE_CHECKING:
    from noiseflow.models.temporal.temporal_noise import TemporalNoise

__all__ = ["SequenceDensity"]

LOG_2PI = math.log(2 * math.pi)


class SequenceDensity:
    """What a `TemporalNoise` knows of a sequence so far; made by `TemporalNoise.follow`.

    Its memory does not grow with the frames of a scene that stands still, nor without a part of pixels or one of
    frames; else each frame of another signal, or of other masked pixels, adds columns to it.

    Parameters
    ----------
    model : TemporalNoise
        The model.
    iso : float or Tensor, shape (B,)
        ISO of the sequence.
    camera : as in `Conditions`
        Its camera.
    """

    def __init__(self, model: "TemporalNoise", iso: Tensor | float, camera: Tensor | int | str | Sequence[str]) -> None:
        self.model, self.iso, self.camera = model, iso, camera
        self.shape: torch.Size | None = None

    def __call__(self, noise: Tensor, clean: Tensor, observed: Tensor | None = None) -> Tensor:
        """Log-density of the next frame given those of the calls before, nats, float64, (B,).

        Parameters
        ----------
        noise, clean : Tensor, shape (B, C, H, W)
            Noise and clean signal of the frame, normalised.
        observed : Tensor of bool, shape (B, C, H, W), optional
            False where a pixel is masked.

        Raises
        ------
        DataError
            A frame of another shape than the one before it.
        """
        cond = checked_conditions(self.model, Conditions(clean, self.iso, self.camera, observed))
        if self.shape is None:
            self._begin(cond)
        if noise.shape != self.shape or cond.clean.shape != self.shape:
            raise DataError(
                f"frame: expected {tuple(self.shape or ())}, as the frames before; got {tuple(noise.shape)} and a "
                f"clean signal {tuple(clean.shape)}"
            )
        noise = noise.to(self.model._working_dtype(noise.dtype))
        if observed is not None:
            noise = noise.masked_fill(~observed, 0.0)
        alone = self.model.frame.log_prob(noise, cond).double()
        z = self.model.frame.latent(noise, replace(cond, observed=None)).double()
        if observed is not None:
            z = z * observed
        return alone + self._gain(z.flatten(1), cond, clean)

    def _begin(self, cond: Conditions) -> None:
        self.shape = cond.clean.shape
        model, batch = self.model, len(cond.clean)
        self.pixels = PixelState((batch, len(model.pixel_parts), cond.clean[0].numel()), cond.clean.device)
        memory = [part.memory(cond) for part in model.frame_parts]
        self.frames = FrameState(torch.stack(memory, 1)) if memory else None
        self.jumps = None if model.telegraph is None else TelegraphFilter(model.telegraph, cond)
        self.joint = bool(model.pixel_parts and memory) and self.jumps is None
        self.signals: list[tuple[Tensor, Tensor | None]] = []

    def _gain(self, z: Tensor, cond: Conditions, clean: Tensor) -> Tensor:
        """Log q(z | past) − log N(z; 0, I), nats, (B,); the frame becomes past."""
        h, g, per_sigma = strengths(self.model, cond)
        plain = 0.5 * (z.square().sum(1))
        if self.jumps is not None:
            return plain + self._with_jumps(z, h, g, per_sigma, cond)
        predicted = self.pixels.predict(h, g)
        if self.frames is None:
            self.pixels.update(h, predicted, z, 0, new=False)
            rest = (z - predicted.mean).square() / predicted.variance + predicted.variance.log()
            return plain - 0.5 * rest.sum(1)
        found = self.frames.take_in(predicted, z)
        if not self.joint:
            self.frames.skip_sums()
            return plain + found
        place, new = self._place(clean, cond.observed)
        self.pixels.update(h, predicted, z, len(self.model.frame_parts), new)
        self.frames.advance(place, new)
        return plain + found

    def _place(self, clean: Tensor, observed: Tensor | None) -> tuple[int, bool]:
        """Number of a signal among those seen, and whether it is new; other masks make another signal."""
        for number, (signal, mask) in enumerate(self.signals):
            same = mask is observed or (mask is not None and observed is not None and torch.equal(mask, observed))
            if same and torch.equal(signal, clean):
                return number, False
        self.signals.append((clean, observed))
        return len(self.signals) - 1, True

    def _with_jumps(self, z: Tensor, h: Tensor, g: Tensor, per_sigma: Tensor, cond: Conditions) -> Tensor:
        """Log q(z | past) + N/2·log 2π: what is shared is taken out first, the rest is each pixel's own."""
        assert self.jumps is not None
        log_prob = z.new_zeros(len(z))
        if self.frames is not None:
            independent = PixelState((len(z), 0, z.shape[1]), z.device).predict(h[:, :0], g)
            v = self.frames.alone(independent, z)
            log_prob = self.frames.take_in(independent, z) + 0.5 * v.square().sum(1)
            self.frames.skip_sums()
            z = v
        predicted = self.pixels.predict(h, g[:, :0])
        self.pixels.update(h, predicted, z, 0, new=False)
        rest = (z - predicted.mean).square() / predicted.variance + predicted.variance.log()
        seen = None if cond.observed is None else cond.observed.flatten(1).double()
        own = self.jumps.step(z, -0.5 * (rest + LOG_2PI), per_sigma, seen)
        count = cond.counts()
        return log_prob + own.sum(1) + 0.5 * LOG_2PI * count
