"""Where a converter's codes lie on the axis of the noise, and which of them are clipped."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.core.errors import DataError

__all__ = ["Cells", "Levels"]


@dataclass(frozen=True, eq=False)
class Cells:
    """The interval of noise that each code stands for, in the unit of the noise.

    Parameters
    ----------
    low, high : Tensor of float64, shape (B, C, H, W)
        Half a code below and above; finite at clipped codes too, where only the other is an end.
    at_black, at_white : Tensor of bool, shape (B, C, H, W)
        Code 0, which takes all that is below `high`, and the white level, all above `low`.
    """

    low: Tensor
    high: Tensor
    at_black: Tensor
    at_white: Tensor

    @property
    def clipped(self) -> Tensor:
        """Where the code is one of the two that take a tail."""
        return self.at_black | self.at_white


@dataclass(frozen=True, eq=False)
class Levels:
    """A converter's codes: whole numbers from 0 to the white level.

    Code 0 stands for all that is below ½ and the white level for all that is above it less
    ½: the sensor clipped it there.  Codes above a white level that is not the converter's
    last count as that level.

    Parameters
    ----------
    black : Tensor, shape (B, C)
        DN.
    white : Tensor, shape (B,)
        DN.
    spread : Tensor, shape (B,), optional
        Noise is (code − clean) / ((white − black)·spread); √(1 + v) where the clean signal is
        an estimate of variance v times the noise's, 1 without it.

    Examples
    --------
    >>> levels = Levels(torch.tensor([[64.0]]), torch.tensor([1023.0]))
    >>> cells = levels.cells(torch.tensor([[[[0.0, 65.0]]]]), torch.zeros(1, 1, 1, 2))
    >>> (cells.high * levels.span()).flatten().tolist(), cells.at_black.flatten().tolist()
    ([-63.5, 1.5], [True, False])
    """

    black: Tensor
    white: Tensor
    spread: Tensor | None = None

    def __post_init__(self) -> None:
        """Refuse levels that hold no code."""
        if self.black.ndim != 2 or self.white.shape != self.black.shape[:1]:
            raise DataError(
                f"levels: expected black of shape (B, C) and white of shape (B,); got {tuple(self.black.shape)} and "
                f"{tuple(self.white.shape)}"
            )
        if not (self.white[:, None] > self.black).all() or not (self.white >= 1).all():
            raise DataError("levels: expected the white level above black, and 1 DN or more")

    @classmethod
    def of(cls, table: NDArray[Any], device: torch.device | str = "cpu") -> "Levels":
        """Of patches, from their rows of a store's table."""
        spread = np.sqrt(1.0 + table["clean_variance"].astype(np.float64))
        columns = (table["black"].astype(np.float64), table["white"].astype(np.float64), spread)
        return cls(*(torch.from_numpy(column).to(device) for column in columns))

    def to(self, device: torch.device) -> "Levels":
        """On another device."""
        spread = None if self.spread is None else self.spread.to(device)
        return Levels(self.black.to(device), self.white.to(device), spread)

    def span(self) -> Tensor:
        """DN per unit of noise, float64, (B, C, 1, 1): white less black, times the spread."""
        span = self.white.double()[:, None] - self.black.double()
        return (span if self.spread is None else span * self.spread.double()[:, None])[:, :, None, None]

    def top(self) -> Tensor:
        """The last code, float64, (B, 1, 1, 1)."""
        return self.white.double().ceil()[:, None, None, None]

    def codes(self, noise: Tensor, clean: Tensor) -> Tensor:
        """The codes nearest to clean + noise, DN, float64, (B, C, H, W)."""
        return torch.minimum((self._origin(clean) + noise.double() * self.span()).round().clamp(min=0), self.top())

    def rounded(self, noise: Tensor, clean: Tensor) -> Tensor:
        """Noise as the codes nearest to clean + noise have it, in the dtype of the noise."""
        return ((self.codes(noise, clean) - self._origin(clean)) / self.span()).to(noise.dtype)

    def cells(self, codes: Tensor, clean: Tensor) -> Cells:
        """The interval of noise that each code stands for.

        Raises
        ------
        DataError
            If codes are not whole numbers of 0 or more, or do not have the shape of clean.
        """
        if codes.shape != clean.shape or codes.shape[:2] != self.black.shape:
            raise DataError(
                f"codes: expected the shape of clean, {tuple(clean.shape)}, and levels of its elements and planes; got "
                f"{tuple(codes.shape)} and {tuple(self.black.shape)}"
            )
        codes = codes.double()
        if not ((codes == codes.round()) & (codes >= 0)).all():
            raise DataError("codes: expected whole numbers of 0 or more, in DN as the converter wrote them")
        codes, top = torch.minimum(codes, self.top()), self.top()
        middle = codes - self._origin(clean)
        return Cells((middle - 0.5) / self.span(), (middle + 0.5) / self.span(), codes == 0, codes == top)

    def log_code(self) -> Tensor:
        """Log of a code's height in the unit of the noise, float64, (B, C): what turns nats per pixel into nats/dim."""
        return -self.span()[:, :, 0, 0].log()

    def _origin(self, clean: Tensor) -> Tensor:
        """The clean signal in DN."""
        black = self.black.double()[:, :, None, None]
        return black + clean.double() * (self.white.double()[:, None, None, None] - black)
