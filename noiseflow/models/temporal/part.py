"""What a part of the noise's memory is: a table of parameters, and how strong the part is at each pixel."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from noiseflow.flows.conditions import Resolved
from noiseflow.flows.iso_table import at_iso
from noiseflow.flows.nets.saved_state import SavedState, log_of
from noiseflow.models.model import ModelSpec
from noiseflow.ops.random.sampling import Stream

__all__ = ["FramePart", "InnovationPart", "NormalPart", "Part", "PixelPart"]


class Part(SavedState):
    """A part of the memory; each of its parameters is a table by camera and ISO, linear in log ISO between.

    Parameters
    ----------
    spec : ModelSpec
        Cameras and ISOs of the frame's model.
    """

    starts: ClassVar[Mapping[str, float]]
    """Parameters, unconstrained, and where a fit starts."""

    log_isos: Tensor

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        for name, start in self.starts.items():
            setattr(self, name, nn.Parameter(torch.full((len(spec.cameras), len(spec.isos)), start)))
        self._constant("log_isos", log_of(spec.isos))

    def at(self, name: str, cond: Resolved) -> Tensor:
        """A parameter for each element under resolved conditions, float64, (B,)."""
        table: Tensor = getattr(self, name).double()
        return at_iso(table[cond.camera], self.log_isos.double(), cond.iso.double())

    @abstractmethod
    def facts(self, cond: Resolved) -> dict[str, float]:
        """What it is in the field's words, for the first element of resolved conditions."""


class NormalPart(Part):
    """A part that is a normal variable times σ, or times σ of the signal.

    ``log_sigma`` is the log of σ, normalised or relative to the signal.
    """

    of_light: ClassVar[bool]
    """Whether it goes with the signal."""

    def sigma(self, cond: Resolved) -> Tensor:
        """σ of each element, float64, (B,)."""
        return self.at("log_sigma", cond).exp()

    def strength(self, cond: Resolved, sigma: Tensor) -> Tensor:
        """σ of the part over σ of the frame's noise, (B, C, H, W).

        Parameters
        ----------
        cond : Resolved
            Resolved.
        sigma : Tensor, shape (B, C, H, W)
            σ of the frame's noise, normalised.
        """
        own = self.sigma(cond).to(sigma)[:, None, None, None]
        return (own * cond.clean.to(sigma).clamp(min=0) if self.of_light else own) / sigma


class PixelPart(NormalPart):
    """A part of which each pixel has a value of its own that stays through the sequence, N(0, 1) before it is seen."""

    stream: Stream
    """Random numbers of the values, when they are sampled."""


class FramePart(NormalPart):
    """A part that all pixels of a frame share, x_t = φ·x_{t−1} + √(1 − φ²)·N(0, 1), stationary."""

    def memory(self, cond: Resolved) -> Tensor:
        """φ of each element, float64, (B,)."""
        return self.at("memory_of", cond).tanh()


class InnovationPart(Part):
    """A part that gives the innovation w of each pixel a law that depends on the innovations of the frames before.

    The innovation is what the other parts cannot predict of a frame, standardised: N(0, 1) without this part, and
    N(shift, exp(2·log scale)) with it.  The first frame has no past, and keeps N(0, 1).

    A masked pixel has no innovation that is known.  What its neighbours and later frames see of it is what the law
    expected there (`moments`), so that a mask neither lowers nor raises the variance that they expect.
    """

    @abstractmethod
    def law(self, past: Tensor, amount: Tensor) -> tuple[Tensor, Tensor]:
        """Shift and log scale of the next innovation, (B, C, H, W) each.

        Parameters
        ----------
        past : Tensor, shape (B, K, C, H, W)
            Result of `remember`, or any rows of it.
        amount : Tensor, shape (B,)
            Result of `amount`.
        """

    @abstractmethod
    def remember(self, past: Tensor | None, w: Tensor, square: Tensor) -> Tensor:
        """Summary of the innovations so far, (B, K, C, H, W), with those of a whole frame.

        Parameters
        ----------
        past : Tensor, shape (B, K, C, H, W), optional
            Result of the call before; None at the first frame.
        w, square : Tensor, shape (B, C, H, W)
            The frame's innovations and their squares, or what `moments` puts for them.
        """

    def moments(self, past: Tensor | None, w: Tensor, amount: Tensor, observed: Tensor | None) -> tuple[Tensor, Tensor]:
        """Innovations of a frame and their squares, (B, C, H, W) each; where masked, their means under the law.

        Parameters
        ----------
        past, w, amount : Tensor
            Those of `gain`.
        observed : Tensor of bool, shape (B, C, H, W), optional
            False where a pixel is masked; all are observed if None.
        """
        if observed is None:
            return w, w.square()
        shift = log_scale = torch.zeros_like(w)
        if past is not None:
            shift, log_scale = self.law(past, amount)
        square = shift.square() + (2 * log_scale).exp()
        return torch.where(observed, w, shift), torch.where(observed, w.square(), square)

    def amount(self, cond: Resolved) -> Tensor:
        """Factor on shift and log scale before their bounds, float64, (B,)."""
        return self.at("strength", cond)

    def gain(self, past: Tensor | None, w: Tensor, amount: Tensor) -> Tensor:
        """Log-density of innovations given their past, less that of N(0, 1), (B, C, H, W)."""
        if past is None:
            return torch.zeros_like(w)
        shift, log_scale = self.law(past, amount)
        return 0.5 * (w.square() - ((w - shift) * (-log_scale).exp()).square()) - log_scale
