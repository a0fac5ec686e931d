"""What a law of innovations remembers while the density of a sequence is computed."""

import torch
from torch import Tensor

from noiseflow.flows.conditions import Resolved
from noiseflow.models.temporal.part import InnovationPart

__all__ = ["LawState"]


class LawState:
    """A law of innovations and its summary of the frames so far.

    Parameters
    ----------
    part : InnovationPart
        The law.
    first : Resolved
        Clean signal, ISO and camera of the first frame.
    """

    def __init__(self, part: InnovationPart, first: Resolved) -> None:
        self.part, self.amount = part, part.amount(first)
        self.past: Tensor | None = None
        self.given: Tensor | None = None
        """Coefficients of the last frame, before the law is removed from them."""

    def remove(self, w: Tensor, observed: Tensor | None) -> tuple[Tensor, Tensor]:
        """Remove from a frame what the law predicts; the frame is then added to the past.

        Parameters
        ----------
        w : Tensor, shape (B, C, H, W)
            Innovations of the frame; 0 where masked.
        observed : Tensor of bool, shape (B, C, H, W), optional
            False where a pixel is masked.

        Returns
        -------
        left : Tensor, shape (B, C, H, W)
            Independent N(0, 1) under the law.
        log_det : Tensor, shape (B, C, h, w)
            Log-determinant of the map from `w` to `left`, of each coefficient.
        """
        part = self.part
        given, known = part.coefficients(w, observed), part.known(w, observed)
        self.given = given
        left, log_det = w, torch.zeros_like(given)
        if self.past is not None:
            shift, log_scale = part.law(self.past, self.amount)
            change = (given - shift) * (-log_scale).exp() - given
            log_det = -log_scale
            if known is not None:
                change, log_det = change * known, log_det * known
            left = part.put_back(w, change, observed)
        self.past = part.remember(self.past, *part.moments(self.past, given, self.amount, known))
        return left, log_det
