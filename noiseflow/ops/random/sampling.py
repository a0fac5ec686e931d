"""Random numbers for samples: from a torch.Generator, keyed by seed, frame and position, or evenly spread."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from enum import IntEnum

import torch
from torch import Tensor

from noiseflow.core.errors import DataError
from noiseflow.ops.random.keyed_draws import keyed_counts, keyed_normals, keyed_uniforms
from noiseflow.ops.random.spread import Spread

__all__ = [
    "Keyed",
    "Source",
    "Stream",
    "integers",
    "normal",
    "of_elements",
    "part_of",
    "poisson",
    "row_normal",
    "uniform",
]


class Stream(IntEnum):
    """Purpose of a random number; numbers of different streams are independent, even at the same position."""

    BASE = 0
    SHOT = 1
    READ = 2
    ROW = 3
    CROP = 4
    PARAMETERS = 5
    DEVELOPMENT = 6
    PRNU = 8
    DARK = 9
    LINES = 10
    SHADING = 11
    HOT = 12
    OWN_OFFSET = 13
    OWN_RESPONSE = 14
    FRAME = 15
    TELEGRAPH = 16
    TRAP = 17
    MASKED = 18


@dataclass(frozen=True)
class Keyed:
    """Random numbers that depend only on seed, frame, plane, row and column.

    A tile of a frame therefore gets the same numbers as the whole frame at that place, and an element of a batch
    gets the same numbers as it would alone.  Each call of a model draws the same numbers.

    Parameters
    ----------
    seed : int
        Seed, 0 … 2⁶⁴ − 1.
    frames : tuple of int
        Frame number of each element of the batch, 0 … 2³² − 1; different numbers give independent noise.
    top, left : int
        Row and column, in pixels of a plane, of the batch's first pixel within its frame.
    size : tuple of int, optional
        (H, W) of the whole frame in pixels of a plane; if None, that of the batch.

    Examples
    --------
    >>> whole = normal(torch.empty(1, 4, 8, 8), Keyed(seed=1, frames=(7,)))
    >>> tile = normal(torch.empty(1, 4, 2, 3), Keyed(seed=1, frames=(7,), top=5, left=2))
    >>> bool((tile == whole[:, :, 5:7, 2:5]).all())
    True
    """

    seed: int
    frames: tuple[int, ...] = (0,)
    top: int = 0
    left: int = 0
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Check that all numbers fit into the counter's words."""
        if not 0 <= self.seed < 2**64:
            raise DataError(f"seed: expected 0 … 2⁶⁴ − 1; got {self.seed}")
        if not self.frames or not all(0 <= frame < 2**32 for frame in self.frames):
            raise DataError(f"frames: expected at least one number 0 … 2³² − 1; got {self.frames}")
        if self.top < 0 or self.left < 0:
            raise DataError(f"position: expected row and column 0 or more; got {self.top}, {self.left}")


Source = torch.Generator | Keyed | Spread | None
"""Source of a model's random numbers; None is torch's global generator."""


def of_elements(source: Source, rows: Sequence[int]) -> Source:
    """The random source for the elements `rows` of a batch."""
    if not isinstance(source, Keyed):
        return source
    return replace(source, frames=tuple(source.frames[row] for row in rows))


_part: ContextVar[tuple[slice, int] | None] = ContextVar("part of a batch", default=None)


@contextmanager
def part_of(rows: slice, total: int) -> Iterator[None]:
    """Context in which a generator draws for elements `rows` the numbers they have in a batch of `total` elements.

    Examples
    --------
    >>> whole = normal(torch.empty(5, 1, 2, 2), torch.Generator().manual_seed(1))
    >>> with part_of(slice(2, 4), 5):
    ...     part = normal(torch.empty(2, 1, 2, 2), torch.Generator().manual_seed(1))
    >>> bool((part == whole[2:4]).all())
    True
    """
    token = _part.set((rows, total))
    try:
        yield
    finally:
        _part.reset(token)


def _drawn(draw: Callable[[tuple[int, ...]], Tensor], shape: Sequence[int]) -> Tensor:
    # Graphs cannot be traced through a context variable; a graph always processes a whole batch.
    part = None if torch.compiler.is_compiling() else _part.get()
    if part is None or shape[0] != part[0].stop - part[0].start:
        return draw(tuple(shape))
    rows, total = part
    return draw((total, *shape[1:]))[rows]


def normal(like: Tensor, source: Source, stream: Stream = Stream.BASE) -> Tensor:
    """Draw standard normal numbers with the shape (B, C, H, W), dtype and device of `like`.

    A keyed source uses Box and Muller on 32-bit words, so |z| < 6.8.

    References
    ----------
    Box, Muller: A note on the generation of random normal deviates, Ann. Math. Stat. 1958, eq. 1.
    """
    if isinstance(source, Spread):
        return source.normal(like, stream)
    if not isinstance(source, Keyed):
        dtype, device = like.dtype, like.device
        return _drawn(lambda shape: torch.randn(shape, generator=source, dtype=dtype, device=device), like.shape)
    # Draws do not depend on parameters, so they need no gradient.
    with torch.no_grad():
        drawn: Tensor = keyed_normals(like.detach(), *_drawn_by(like, source, stream))
    return drawn


def row_normal(like: Tensor, lines: int, source: Source, stream: Stream = Stream.ROW) -> Tensor:
    """Draw one standard normal number per row, (B, lines, H, 1); from a keyed source, the same for every tile."""
    if isinstance(source, Keyed):
        source = replace(source, left=0)
    return normal(like[:, :lines, :, :1], source, stream)


def uniform(like: Tensor, source: Source, stream: Stream = Stream.BASE) -> Tensor:
    """Draw uniform numbers in the shape of `like`, float64: in [0, 1) from a generator, in (0, 1) if keyed."""
    if isinstance(source, Spread):
        return source.uniform(like, stream)
    if not isinstance(source, Keyed):
        device = like.device
        return _drawn(lambda shape: torch.rand(shape, generator=source, dtype=torch.float64, device=device), like.shape)
    with torch.no_grad():
        drawn: Tensor = keyed_uniforms(like.detach(), *_drawn_by(like, source, stream))
    return drawn


def integers(limits: tuple[int, ...], row: int, source: Source, stream: Stream = Stream.CROP) -> list[int]:
    """Draw an integer 0 … limit − 1 for each limit, for element `row` of a batch; a keyed source uses its frame."""
    if isinstance(source, Spread):
        source = torch.Generator().manual_seed(source.seed + row)
    if not isinstance(source, Keyed):
        return [int(torch.randint(limit, (1,), generator=source)) for limit in limits]
    own = Keyed(source.seed, source.frames[row : row + 1])
    draws = uniform(torch.empty(1, 1, 1, len(limits)), own, stream).flatten().tolist()
    return [int(draw * limit) for draw, limit in zip(draws, limits, strict=True)]


def poisson(rate: Tensor, source: Source, stream: Stream = Stream.SHOT) -> Tensor:
    """Draw Poisson counts of given rates, (B, C, H, W), in the dtype of the rates.

    Counts from a keyed source are exact too; see `noiseflow.ops.random.keyed_draws`.
    """
    if isinstance(source, Spread):
        return source.poisson(rate, stream)
    if not isinstance(source, Keyed):
        return torch.poisson(rate, generator=source)
    with torch.no_grad():
        counts: Tensor = keyed_counts(rate.detach(), *_drawn_by(rate, source, stream))
    return counts.to(rate.dtype)


def _drawn_by(like: Tensor, source: Keyed, stream: Stream) -> tuple[Tensor, int, int, int, int, int]:
    """Frames, key, stream and position of a draw: the arguments of the operations."""
    batch, given = like.shape[0], len(source.frames)
    if given != batch:
        raise DataError(f"frames: expected {batch}, one for each element of the batch; got {given}")
    frames = torch.tensor(source.frames, dtype=torch.float64, device=like.device)
    return frames, source.seed & 0xFFFF_FFFF, source.seed >> 32, int(stream), source.top, source.left
