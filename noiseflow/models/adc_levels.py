"""Integer codes of an analogue-to-digital converter: the noise interval of each code, clipping, and probabilities."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.core.errors import DataError

__all__ = ["Cells", "Levels", "log_cells", "log_normal_interval"]


@dataclass(frozen=True, eq=False)
class Cells:
    """Interval of noise values that round to each code, in the unit of the noise.

    Parameters
    ----------
    low, high : Tensor of float64, shape (B, C, H, W)
        Noise half a code below and above.  Both are finite even for clipped codes, whose interval has one end only.
    at_black, at_white : Tensor of bool, shape (B, C, H, W)
        Where the code is 0, so that its interval is everything below `high`; and where it is the white level, so
        that its interval is everything above `low`.
    """

    low: Tensor
    high: Tensor
    at_black: Tensor
    at_white: Tensor

    @property
    def clipped(self) -> Tensor:
        """Where the code is clipped (0 or the white level), so that its interval is a whole tail."""
        return self.at_black | self.at_white


@dataclass(frozen=True, eq=False)
class Levels:
    """Black and white levels of a converter, whose codes are whole numbers from 0 to the white level.

    The converter clips: code 0 represents all values below ½ DN, and the white level all values above
    white − ½ DN.  If the white level is below the converter's last code, higher codes count as the white level.

    Parameters
    ----------
    black : Tensor, shape (B, C)
        Black level of each plane, DN.
    white : Tensor, shape (B,)
        White level, DN.
    spread : Tensor, shape (B,), optional
        Noise is (code − clean) / ((white − black)·spread).  The spread is √(1 + v) if the clean signal is an
        estimate with v times the variance of the noise; 1 if None.
    origin : Tensor, shape (B, C, H, W), optional
        Clean signal from which the noise is measured, normalised, if it is not the one that the methods are given.

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
    origin: Tensor | None = None

    def __post_init__(self) -> None:
        """Check the shapes, and that white is above black."""
        if self.black.ndim != 2 or self.white.shape != self.black.shape[:1]:
            raise DataError(
                f"levels: expected black of shape (B, C) and white of shape (B,); got {tuple(self.black.shape)} and "
                f"{tuple(self.white.shape)}"
            )
        if not (self.white[:, None] > self.black).all() or not (self.white >= 1).all():
            raise DataError("levels: expected the white level above black, and 1 DN or more")

    @classmethod
    def of(cls, table: NDArray[Any], device: torch.device | str = "cpu") -> "Levels":
        """Levels of patches, from their rows in the table of a patch store."""
        spread = np.sqrt(1.0 + table["clean_variance"].astype(np.float64))
        columns = (table["black"].astype(np.float64), table["white"].astype(np.float64), spread)
        return cls(*(torch.from_numpy(column).to(device) for column in columns))

    def to(self, device: torch.device) -> "Levels":
        """Copy of the levels on a device."""
        spread, origin = (None if each is None else each.to(device) for each in (self.spread, self.origin))
        return Levels(self.black.to(device), self.white.to(device), spread, origin)

    def first(self, count: int) -> "Levels":
        """Levels of the first elements."""
        spread, origin = (None if each is None else each[:count] for each in (self.spread, self.origin))
        return Levels(self.black[:count], self.white[:count], spread, origin)

    def span(self) -> Tensor:
        """DN per unit of noise, float64, (B, C, 1, 1): (white − black)·spread."""
        span = self.white.double()[:, None] - self.black.double()
        return (span if self.spread is None else span * self.spread.double()[:, None])[:, :, None, None]

    def top(self) -> Tensor:
        """Largest code, float64, (B, 1, 1, 1)."""
        return self.white.double().ceil()[:, None, None, None]

    def codes(self, noise: Tensor, clean: Tensor) -> Tensor:
        """Codes nearest to clean + noise, DN, float64, (B, C, H, W)."""
        return torch.minimum((self._origin(clean) + noise.double() * self.span()).round().clamp(min=0), self.top())

    def rounded(self, noise: Tensor, clean: Tensor) -> Tensor:
        """Noise after clean + noise is rounded and clipped to codes, in the dtype of the noise."""
        return ((self.codes(noise, clean) - self._origin(clean)) / self.span()).to(noise.dtype)

    def cells(self, codes: Tensor, clean: Tensor) -> Cells:
        """Interval of noise of each code.

        Parameters
        ----------
        codes : Tensor, shape (B, C, H, W)
            Whole numbers in DN.
        clean : Tensor, shape (B, C, H, W)
            Clean signal, normalised.

        Raises
        ------
        DataError
            Codes that are not whole numbers of 0 or more, or not of the shape of `clean`.
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
        """Log width of a code in units of the noise, float64, (B, C); converts log-probability to log-density."""
        return -self.span()[:, :, 0, 0].log()

    def _origin(self, clean: Tensor) -> Tensor:
        """Clean signal in DN, from which the noise is measured."""
        clean = clean if self.origin is None else self.origin
        black = self.black.double()[:, :, None, None]
        return black + clean.double() * (self.white.double()[:, None, None, None] - black)


def log_normal_interval(low: Tensor, high: Tensor) -> Tensor:
    """Log-probability of an interval under N(0, 1), log[Φ(high) − Φ(low)], without cancellation.

    On the left half this is log Φ(b) + log(1 − Φ(a)/Φ(b)), both terms of which keep their relative precision; an
    interval on the right half is mirrored.

    Parameters
    ----------
    low, high : Tensor of float64
        Ends of the interval, finite, low < high.

    Examples
    --------
    >>> one = torch.ones((), dtype=torch.float64)
    >>> round(float(log_normal_interval(-one, one).exp()), 4), round(float(log_normal_interval(40 * one, 41 * one)), 2)
    (0.6827, -804.61)
    """
    right = low + high > 0
    a, b = torch.where(right, -high, low), torch.where(right, -low, high)
    log_a, log_b = torch.special.log_ndtr(a), torch.special.log_ndtr(b)
    result: Tensor = log_b + (-torch.expm1(log_a - log_b)).log()
    return result


def log_cells(z_low: Tensor, z_high: Tensor, cells: Cells) -> Tensor:
    """Log-probability of each code from the latents of its interval's ends; a clipped code has a whole tail.

    Parameters
    ----------
    z_low, z_high : Tensor, shape (B, C, H, W)
        Standard normal latents of `Cells.low` and `Cells.high`.
    cells : Cells
        Intervals of the codes.

    References
    ----------
    Tobin: Estimation of relationships for limited dependent variables, Econometrica 1958
    (the tails); Foi: Clipped noisy images: heteroskedastic modeling and practical denoising,
    Signal Processing 2009 (the same for sensors).
    """
    z_low, z_high = z_low.double(), z_high.double()
    inside = log_normal_interval(z_low, z_high)
    if not cells.clipped.any():
        return inside
    tail: Tensor = torch.special.log_ndtr(torch.where(cells.at_black, z_high, -z_low))
    return torch.where(cells.clipped, tail, inside)
