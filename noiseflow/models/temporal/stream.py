"""Sampling of a sequence, one frame at a time: what the camera remembers, plus new noise."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from noiseflow.core.errors import DataError
from noiseflow.flows.conditions import Conditions, Resolved
from noiseflow.models.model import NoiseModel, checked_conditions
from noiseflow.models.temporal.frame_latent import variance_of, with_base
from noiseflow.models.temporal.part import InnovationPart
from noiseflow.models.temporal.remembered import Remembered, window_of
from noiseflow.models.temporal.telegraph import CLASSES, Telegraph, amplitudes
from noiseflow.ops.random import sampling
from noiseflow.ops.random.sampling import Keyed, Source, Stream

if TYPE_CHECKING:
    from noiseflow.models.temporal.temporal_noise import TemporalNoise

__all__ = ["NoiseStream", "at_frame"]

STRIP = 131_072
"""Number of values in a strip; its dozen arrays then fit into a core's cache."""


def at_frame(source: Source, number: int) -> Source:
    """Random source for the new noise of frame `number` of a sequence; for frame 0 it is `source` itself."""
    if not isinstance(source, Keyed) or number == 0:
        return source
    words = np.random.SeedSequence([source.seed, number]).generate_state(1, np.uint64)
    return replace(source, seed=int(words[0]))


class NoiseStream:
    """Sampler of a sequence; created by `TemporalNoise.stream`.

    With a keyed source, noise is a function of seed, frame and position, with the same bits for any window of a frame.

    Parameters
    ----------
    model : TemporalNoise
        The model.
    iso : float or Tensor, shape (B,)
        ISO of the sequence.
    camera : as in `Conditions`
        Camera of the sequence.
    source : torch.Generator or Keyed, optional
        Source of the random numbers.
    temperature : float
        Factor on the latents.
    """

    def __init__(
        self,
        model: "TemporalNoise",
        iso: Tensor | float,
        camera: Tensor | int | str | Sequence[str],
        source: Source,
        temperature: float = 1.0,
    ) -> None:
        self.model, self.iso, self.camera, self.source = model, iso, camera, source
        self.temperature = temperature
        self.number = -1
        self.memory: Memory | None = None

    def __call__(self, clean: Tensor) -> Tensor:
        """The next noisy frame, clean + noise, in the shape, (B, C, H, W) or (C, H, W), and dtype of `clean`."""
        batch = clean[None] if clean.ndim == 3 else clean
        noisy = batch + self.noise(batch).to(batch.dtype)
        return noisy[0] if clean.ndim == 3 else noisy

    def noise(self, clean: Tensor) -> Tensor:
        """Noise of the next frame, normalised, in the shape of its clean signal, (B, C, H, W).

        Raises
        ------
        DataError
            A frame whose shape differs from that of the frames before.
        """
        frame = self.next_frame(clean)
        return frame.sample(Conditions(clean, self.iso, self.camera), self.source, self.temperature)

    def next_frame(self, like: Tensor) -> NoiseModel:
        """The next frame as a model, whose samples are the noise of that frame, or with keys of any window of it.

        Parameters
        ----------
        like : Tensor, shape (B, C, H, W)
            Tensor with the shape of the whole frame.
        """
        if self.memory is not None and self.memory.shape != like.shape:
            raise DataError(
                f"frame: expected the shape of the frames before, {tuple(self.memory.shape)}; got {tuple(like.shape)}"
            )
        self.number += 1
        # An empty batch needs no random numbers, and a keyed source needs a frame number per element.
        source = at_frame(self.source, self.number) if len(like) else None
        with torch.no_grad():
            if self.memory is None:
                self.memory = Memory(self.model, like, self.iso, self.camera, source)
            else:
                self.memory.advance(source)
        return with_base(self.model.frame, _FrameBase(self.model, self.memory, self.iso, self.camera, self.number))


class Memory:
    """State of a camera in sampling: pattern maps, shared values of the frame, traps, and innovations.

    Parameters
    ----------
    model : TemporalNoise
        The model.
    like : Tensor, shape (B, C, H, W)
        Tensor with the shape of a frame.
    iso, camera, source
        As in `NoiseStream`.
    """

    def __init__(
        self,
        model: "TemporalNoise",
        like: Tensor,
        iso: Tensor | float,
        camera: Tensor | int | str | Sequence[str],
        source: Source,
    ) -> None:
        # Only the shape matters, so store contiguous zeros.
        self.like = torch.zeros_like(like, memory_format=torch.contiguous_format)
        self.shape = like.shape
        cond = checked_conditions(model, Conditions(like, iso, camera))
        self.offsets, self.gains = (self._pattern(model, cond, source, of_light) for of_light in (False, True))
        memory = [part.memory(cond) for part in model.frame_parts]
        self.phi = torch.stack(memory, 1).to(like) if memory else like.new_zeros(len(like), 0)
        self.shared = self._drawn(source)
        self.traps = None if model.telegraph is None else Traps(model.telegraph, cond, self.like, source)
        laws = model.innovation_parts
        self.innovations = Innovations(laws, cond, self.like, self.traps) if laws else None
        if self.innovations is not None:
            self.innovations.advance(source)

    def _pattern(self, model: "TemporalNoise", cond: Resolved, source: Source, of_light: bool) -> Tensor | None:
        """Fixed offset of each pixel, normalised, or its gain, (B, C, H, W); None without a part for it."""
        found: Tensor | None = None
        for part in model.pixel_parts:
            if part.of_light == of_light:
                sigma = part.sigma(cond).to(self.like)[:, None, None, None]
                drawn = sampling.normal(self.like, source, part.stream) * sigma
                found = drawn if found is None else found + drawn
        return found

    def advance(self, source: Source) -> None:
        """Advance to the next frame, drawing new numbers from a source."""
        self.shared = self.phi * self.shared + (1 - self.phi.square()).sqrt() * self._drawn(source)
        if self.traps is not None:
            self.traps.advance(source)
        if self.innovations is not None:
            self.innovations.advance(source)

    def _drawn(self, source: Source) -> Tensor:
        count = self.phi.shape[1]
        if not count:
            return self.phi
        return sampling.normal(self.like.new_zeros(len(self.like), count, 1, 1), source, Stream.FRAME)[:, :, 0, 0]


class Traps:
    """Telegraph pixels of a sensor: their positions, their amplitudes, and which traps are full.

    Parameters
    ----------
    part : Telegraph
        Parameters of the telegraph noise.
    cond : Resolved
        Clean signal, ISO and camera of the first frame.
    like : Tensor, shape (B, C, H, W)
        Tensor with the shape of a frame.
    source : torch.Generator or Keyed, optional
        Source of the random numbers.
    """

    def __init__(self, part: Telegraph, cond: Resolved, like: Tensor, source: Source) -> None:
        u = sampling.uniform(like, source, Stream.TELEGRAPH).double()
        fraction = part.fraction(cond)[:, None, None, None]
        # Given that a pixel is a telegraph pixel, u / fraction is uniform on (0, 1); it selects the amplitude.
        self.place = (u < fraction).nonzero(as_tuple=True)
        element = self.place[0]
        chosen = (u / fraction)[self.place].mul(CLASSES).long().clamp(max=CLASSES - 1)
        steps = torch.tensor(amplitudes(), dtype=torch.float64, device=like.device)
        self.amplitude = part.mean_amplitude(cond)[element] * steps[chosen]
        self.up, self.down = (rate[element] for rate in part.rates(cond))
        self.mean = self.up / (self.up + self.down)
        self.like = like
        self.full = self._uniform(source) < self.mean

    def advance(self, source: Source) -> None:
        """Advance to the next frame, drawing new numbers from a source."""
        u = self._uniform(source)
        self.full = torch.where(self.full, u >= self.down, u < self.up)

    def level(self, full: Tensor) -> Tensor:
        """Level of each telegraph pixel, normalised, float64, (K,), given which traps are `full`."""
        return (full.double() - self.mean) * self.amplitude

    def _uniform(self, source: Source) -> Tensor:
        """One uniform number per telegraph pixel, in order of position; elements do not affect one another."""
        counts = torch.bincount(self.place[0], minlength=len(self.like)).tolist()
        drawn = [
            sampling.uniform(self.like.new_empty(1, 1, 1, count), _of_element(source, element), Stream.TRAP).flatten()
            for element, count in enumerate(counts)
            if count
        ]
        return torch.cat(drawn) if drawn else self.amplitude


class Innovations:
    """Innovations of a sequence whose distribution depends on the innovations of earlier frames.

    Parameters
    ----------
    laws : sequence of InnovationPart
        Distributions of the innovations, coarse before fine.
    cond : Resolved
        Clean signal, ISO and camera of the first frame.
    like : Tensor, shape (B, C, H, W)
        Tensor with the shape of a frame.
    traps : Traps, optional
        Telegraph pixels, which have no law of their own, only that of their block.
    """

    def __init__(self, laws: Sequence[InnovationPart], cond: Resolved, like: Tensor, traps: Traps | None) -> None:
        self.laws, self.like, self.traps = laws, like, traps
        self.amounts = [part.amount(cond).to(like) for part in laws]
        self.pasts: list[Tensor | None] = [None] * len(laws)
        self.now = like

    def advance(self, source: Source) -> None:
        """Advance to the next frame, drawing new numbers from a source."""
        w = sampling.normal(self.like, source)
        # The fine law acts first, as it is removed last by the density.
        for number in reversed(range(len(self.laws))):
            w = self._with_law(w, number)
        self.now = w

    def _with_law(self, fresh: Tensor, number: int) -> Tensor:
        """Apply a law to a frame, which is then added to its past; elements do not affect one another."""
        part, past = self.laws[number], self.pasts[number]
        plain = part.coefficients(fresh, None)
        w = plain
        if past is not None and len(w):
            w = torch.cat([self._of_element(plain, past, number, element) for element in range(len(w))])
            if self.traps is not None and part.of_pixels:
                w[self.traps.place] = plain[self.traps.place]
        self.pasts[number] = part.remember(past, w, w.square())
        return w if part.of_pixels else part.put_back(fresh, w - plain, None)

    def _of_element(self, plain: Tensor, past: Tensor, number: int, element: int) -> Tensor:
        """Transform independent N(0, 1) coefficients of one element by a law, strip by strip."""
        own, rows = slice(element, element + 1), max(1, STRIP // max(1, plain[0, :, :1].numel()))
        found = []
        for start in range(0, plain.shape[2], rows):
            shift, log_scale = self.laws[number].law(past[own, :, :, start : start + rows], self.amounts[number][own])
            found.append(shift + log_scale.exp() * plain[own, :, start : start + rows])
        return torch.cat(found, 2) if found else plain[own]


def _of_element(source: Source, element: int) -> Source:
    """Random source of one element, independent of its window's position."""
    return Keyed(source.seed, (source.frames[element],)) if isinstance(source, Keyed) else source


class _FrameBase:
    """Base distribution of one frame of a sequence: latents, or Gaussian noise, of the whole frame or of a window."""

    def __init__(
        self,
        model: "TemporalNoise",
        memory: Memory,
        iso: Tensor | float,
        camera: Tensor | int | str | Sequence[str],
        number: int,
    ) -> None:
        self.model, self.memory, self.iso, self.camera, self.number = model, memory, iso, camera, number
        self.shared = memory.shared
        self.full = None if memory.traps is None else memory.traps.full
        self.innovation = None if memory.innovations is None else memory.innovations.now

    def sample(self, like: Tensor, generator: Source = None) -> Tensor:
        """Latents of the pixels with the clean signal `like`, (B, C, H, W)."""
        if not self.model.parts:
            return self._fresh(like, generator)
        cond = checked_conditions(self.model, Conditions(like, self.iso, self.camera))
        return self._with_past(cond, variance_of(self.model.frame, cond), generator, latent=True)

    def noise(self, cond: Resolved, variance: Tensor, generator: Source = None) -> Tensor:
        """Noise of pixels whose noise in a single frame is Gaussian with a variance, (B, C, H, W), normalised."""
        return self._with_past(cond, variance, generator, latent=False)

    def _with_past(self, cond: Resolved, variance: Tensor, generator: Source, *, latent: bool) -> Tensor:
        past = Remembered(self.model, self.memory, cond, self.shared, self.full)
        fresh = self._fresh(cond.clean, generator)
        return past.added_to(fresh, variance, _corner(generator), latent=latent)

    def _fresh(self, like: Tensor, generator: Source) -> Tensor:
        """What is new in the frame, N(0, 1) in the shape of `like`."""
        if self.innovation is None:
            return sampling.normal(like, at_frame(generator, self.number))
        return window_of(self.innovation, like, _corner(generator))


def _corner(source: Source) -> tuple[int, int]:
    """Row and column of the first pixel of a source's window."""
    return (source.top, source.left) if isinstance(source, Keyed) else (0, 0)
