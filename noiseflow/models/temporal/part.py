"""Base classes of the parts of a camera's memory: a table of parameters, and the strength at each pixel."""

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
    """A part of a camera's memory; each of its parameters is a table by camera and ISO, linear in log ISO.

    Parameters
    ----------
    spec : ModelSpec
        Cameras and ISOs of the frame model.
    """

    starts: ClassVar[Mapping[str, float]]
    """Name of each unconstrained parameter → its initial value."""

    log_isos: Tensor

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        for name, start in self.starts.items():
            setattr(self, name, nn.Parameter(torch.full((len(spec.cameras), len(spec.isos)), start)))
        self._constant("log_isos", log_of(spec.isos))

    def at(self, name: str, cond: Resolved) -> Tensor:
        """Value of a parameter for each element under resolved conditions, float64, (B,)."""
        table: Tensor = getattr(self, name).double()
        return at_iso(table[cond.camera], self.log_isos.double(), cond.iso.double())

    @abstractmethod
    def facts(self, cond: Resolved) -> dict[str, float]:
        """The part's physical quantities, name → value, for the first element of resolved conditions."""


class NormalPart(Part):
    """A part that is a standard normal variable times σ, or times σ·signal.

    ``log_sigma`` is the log of σ, normalised or relative to the signal.
    """

    of_light: ClassVar[bool]
    """Whether the part is proportional to the signal."""

    def sigma(self, cond: Resolved) -> Tensor:
        """σ of each element, float64, (B,)."""
        return self.at("log_sigma", cond).exp()

    def strength(self, cond: Resolved, sigma: Tensor) -> Tensor:
        """σ of the part divided by σ of the frame's noise, (B, C, H, W).

        Parameters
        ----------
        cond : Resolved
            Clean signal, ISO and camera of the frame.
        sigma : Tensor, shape (B, C, H, W)
            σ of the frame's noise, normalised.
        """
        own = self.sigma(cond).to(sigma)[:, None, None, None]
        return (own * cond.clean.to(sigma).clamp(min=0) if self.of_light else own) / sigma


class PixelPart(NormalPart):
    """A part with one value per pixel, a priori N(0, 1), that is constant through the sequence."""

    stream: Stream
    """Random stream of the values in sampling."""


class FramePart(NormalPart):
    """A part common to all pixels of a frame: x_t = φ·x_{t−1} + √(1 − φ²)·N(0, 1), stationary."""

    def memory(self, cond: Resolved) -> Tensor:
        """Autoregression coefficient φ of each element, float64, (B,)."""
        return self.at("memory_of", cond).tanh()


class InnovationPart(Part):
    """A part that makes the distribution of each pixel's innovation w depend on earlier innovations.

    The innovation is the part of a frame that the other parts cannot predict, standardised: N(0, 1) without this
    part, and N(shift, exp(2·log scale)) with it.  In the first frame, which has no past, it is N(0, 1).  A part may
    act on orthonormal `coefficients` of the innovations instead of on the pixels.

    The innovation of a masked pixel is unknown.  Neighbours and later frames use its expected moments (`moments`)
    instead, so that masks do not bias the variance that is predicted for them.
    """

    of_pixels: ClassVar[bool] = True
    """Whether the coefficients are the pixels themselves."""

    def coefficients(self, w: Tensor, observed: Tensor | None) -> Tensor:
        """What the law is of, (B, C, h, w): the innovations w, (B, C, H, W), or orthonormal combinations of them."""
        return w

    def put_back(self, w: Tensor, change: Tensor, observed: Tensor | None) -> Tensor:
        """Innovations, (B, C, H, W), whose coefficients differ by `change` from those of w."""
        return w + change

    def known(self, w: Tensor, observed: Tensor | None) -> Tensor | None:
        """Which coefficients are known, (B, C, h, w), if `observed` says which pixels are; None if all."""
        return observed

    @abstractmethod
    def law(self, past: Tensor, amount: Tensor) -> tuple[Tensor, Tensor]:
        """Shift and log scale of the next innovation, (B, C, H, W) each.

        Parameters
        ----------
        past : Tensor, shape (B, K, C, H, W)
            Result of `remember`, or some of its rows.
        amount : Tensor, shape (B,)
            Result of `amount`.
        """

    @abstractmethod
    def remember(self, past: Tensor | None, w: Tensor, square: Tensor) -> Tensor:
        """Update the summary of past innovations with those of a whole frame; returns (B, K, C, H, W).

        Parameters
        ----------
        past : Tensor, shape (B, K, C, H, W), optional
            Result of the previous call; None for the first frame.
        w, square : Tensor, shape (B, C, H, W)
            The frame's innovations and their squares, as returned by `moments`.
        """

    def moments(self, past: Tensor | None, w: Tensor, amount: Tensor, observed: Tensor | None) -> tuple[Tensor, Tensor]:
        """Innovations of a frame and their squares, (B, C, H, W) each; expected values where pixels are masked.

        Parameters
        ----------
        past, w, amount : Tensor
            As in `gain`.
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
        """Factor on shift and log scale before their bounds are applied, float64, (B,)."""
        return self.at("strength", cond)

    def gain(self, past: Tensor | None, w: Tensor, amount: Tensor) -> Tensor:
        """Log-density of innovations given their past minus that of N(0, 1), nats, (B, C, H, W)."""
        if past is None:
            return torch.zeros_like(w)
        shift, log_scale = self.law(past, amount)
        return 0.5 * (w.square() - ((w - shift) * (-log_scale).exp()).square()) - log_scale
