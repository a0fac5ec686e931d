"""One pass over the frames of one setting, collecting all sums that the estimators need."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.calibrate.estimators.variance import Part, total_of
from noiseflow.core.errors import DataError
from noiseflow.raw.inspection.fractions import what_to_do

__all__ = ["Components", "FrameStack", "StackSums", "components", "effective_fraction", "mean_error", "stack_frames"]

Array = NDArray[np.float64]

SAMPLE = 65536
"""Approximate number of pixels per frame whose codes are kept, for the shape of the noise distribution."""


@dataclass(frozen=True, eq=False)
class FrameStack:
    """Sums over n frames of one plane.

    Parameters
    ----------
    mean : ndarray, shape (H, W), float32
        Temporal mean of each pixel, DN.
    frame_means : ndarray, shape (n,)
        Mean of each frame, DN.
    row_means : ndarray, shape (n, H)
        Mean of each row of each frame, DN.
    column_means : ndarray, shape (n, W)
        Mean of each column of each frame, DN.
    sum_of_squares : float
        Σ over pixels and frames of (x − temporal mean of the pixel)², DN².
    sample : ndarray, shape (n, m), float32
        Codes of the same m pixels in every frame, DN.
    sample_index : ndarray, shape (m,)
        Flat indices of these pixels.
    clipped : float
        Fraction of pixels at or above the clipping code; 0 if no clipping code was given.
    highest : int
        Highest code in any frame, DN.
    at_black : float
        Fraction of pixels at code 0.
    """

    mean: NDArray[np.float32]
    frame_means: Array
    row_means: Array
    column_means: Array
    sum_of_squares: float
    sample: NDArray[np.float32]
    sample_index: NDArray[np.intp]
    clipped: float
    highest: int
    at_black: float = 0.0

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.frame_means)

    @property
    def level(self) -> float:
        """Mean over all pixels and frames, DN."""
        return float(self.frame_means.mean())


@dataclass(frozen=True)
class Components:
    """Components of the temporal variance.

    `total` = `pixel` + `row` + `column`; the estimate of a component may be negative.

    Parameters
    ----------
    total, pixel, row, column : float
        Total variance, and its parts from single pixels, rows and columns, DN².
    total_error : float
        Standard error of the total, DN².
    pixel_parts, row_parts, column_parts : tuple of (float, float)
        Mean squares that make up each component, DN², with their degrees of freedom.
    """

    total: float
    pixel: float
    row: float
    column: float
    total_error: float
    pixel_parts: tuple[Part, ...]
    row_parts: tuple[Part, ...]
    column_parts: tuple[Part, ...]

    @property
    def row_error(self) -> float:
        """Standard error of the row variance, DN²."""
        return total_of(self.row_parts)[1]


class StackSums:
    """Running sums over frames, which needs the memory of one frame however many are added.

    Parameters
    ----------
    shape : tuple of int
        (H, W) of the plane.
    white : float, optional
        Code at and above which a pixel counts as clipped, DN.
    """

    def __init__(self, shape: tuple[int, int], white: float | None = None) -> None:
        self.shape, self.white = shape, white
        size = shape[0] * shape[1]
        self.total = np.zeros(shape, np.uint32)
        self.square, self.offset = 0.0, 0
        self.clipped = self.highest = self.at_black = 0
        self.rows: list[Array] = []
        self.columns: list[Array] = []
        self.means: list[float] = []
        self.samples: list[NDArray[np.float32]] = []
        # A step that shares no factor with the width visits all rows and columns.
        step = max(1, size // SAMPLE)
        while step > 1 and np.gcd(step, shape[1]) > 1:
            step += 1
        self.index = np.arange(0, size, step)

    def add(self, frame: NDArray[Any], source: str = "frame") -> None:
        """Add one frame.

        Parameters
        ----------
        frame : ndarray of integers, shape (H, W)
            Codes, DN.
        source : str
            Name of the frame, for messages.

        Raises
        ------
        DataError
            Another shape, or codes that are negative or not integers.
        """
        if frame.shape != self.shape:
            raise DataError(
                f"{source}: is {frame.shape[1]}×{frame.shape[0]} pixels; the other frames of its series are "
                f"{self.shape[1]}×{self.shape[0]}. Are they of two cameras or two crops?"
            )
        if not np.issubdtype(frame.dtype, np.integer) or frame.min() < 0:
            raise DataError(
                f"{source}: expected integer codes of 0 or above; got {frame.dtype} with a minimum of {frame.min()}"
                f"{what_to_do(frame)}"
            )
        if not self.means:
            self.offset = round(float(frame.mean()))
        self.total += frame.astype(np.uint32)
        centred = frame.astype(np.float64)
        centred -= self.offset
        rows = centred.mean(1)
        self.rows.append(rows + self.offset)
        self.columns.append(centred.mean(0) + self.offset)
        self.means.append(float(rows.mean()) + self.offset)
        self.square += float(np.vdot(centred, centred))
        self.samples.append(frame.ravel()[self.index].astype(np.float32))
        self.at_black += int(frame.size - np.count_nonzero(frame))
        top = int(frame.max())
        self.highest = max(self.highest, top)
        if self.white is not None and top >= self.white:
            self.clipped += int((frame >= self.white).sum())

    def finish(self) -> FrameStack:
        """Return the sums as a `FrameStack`; raise `DataError` if no frame was added."""
        n = len(self.means)
        if n == 0:
            raise DataError("no frames; expected at least one")
        centred = self.total.astype(np.float64)
        centred -= n * self.offset
        square = max(self.square - float(np.vdot(centred, centred)) / n, 0.0)
        mean = (self.total / np.float64(n)).astype(np.float32)
        return FrameStack(
            mean=mean,
            frame_means=np.array(self.means),
            row_means=np.stack(self.rows),
            column_means=np.stack(self.columns),
            sum_of_squares=square,
            sample=np.stack(self.samples),
            sample_index=self.index,
            clipped=self.clipped / (n * self.total.size),
            highest=self.highest,
            at_black=self.at_black / (n * self.total.size),
        )


def stack_frames(frames: Iterable[NDArray[Any]], white: float | None = None) -> FrameStack:
    """Collect the sums over frames of one plane, one frame at a time.

    Parameters
    ----------
    frames : iterable of ndarray of integers, shape (H, W)
        Frames of one plane, DN.
    white : float, optional
        Code at and above which a pixel counts as clipped, DN.

    Returns
    -------
    FrameStack
        The sums.

    Raises
    ------
    DataError
        No frame, frames of different shapes, or codes that are negative or not integers.
    """
    sums: StackSums | None = None
    for frame in frames:
        if sums is None:
            if frame.ndim != 2:
                raise DataError(f"expected frames of shape (H, W); got {frame.shape}")
            sums = StackSums((frame.shape[0], frame.shape[1]), white)
        sums.add(frame)
    if sums is None:
        raise DataError("no frames; expected at least one")
    return sums.finish()


def components(stack: FrameStack, *, temporal_correlation: bool = True) -> Components:
    """Split the temporal variance of a stack into pixel, row and column noise.

    This is a two-way analysis of variance of each frame's departure from the stack's mean:
    E[MS_row] = σ_pixel²/W + σ_row²,  E[MS_column] = σ_pixel²/H + σ_column².
    The means of whole frames (drift of the black level, flicker of the lamp) are removed first, as in
    EMVA 1288 release 3.1, eq. 12, which subtracts (μ_A − μ_B)².

    Parameters
    ----------
    stack : FrameStack
        Two frames or more.
    temporal_correlation : bool
        Whether to allow for correlated offsets of neighbouring rows or columns, which widens the error bars.

    Returns
    -------
    Components
        Variances with their degrees of freedom.

    Raises
    ------
    DataError
        Only one frame, or a plane of only one row or column.
    """
    n, (height, width) = stack.frames, stack.mean.shape
    if n < 2:
        raise DataError(f"temporal noise needs at least two frames of one setting; got {n}")
    if height < 2 or width < 2:
        raise DataError(f"temporal noise needs planes of at least 2×2 pixels; got {width}×{height}")
    size = height * width
    frame = stack.frame_means - stack.frame_means.mean()
    rows = stack.row_means - stack.row_means.mean(0) - frame[:, None]
    columns = stack.column_means - stack.column_means.mean(0) - frame[:, None]
    square = stack.sum_of_squares - size * float(frame @ frame)
    square_rows, square_columns = float((rows**2).sum()), float((columns**2).sum())
    free = n - 1
    mean_rows = square_rows / (free * (height - 1))
    mean_columns = square_columns / (free * (width - 1))
    pixel = max(square - width * square_rows - height * square_columns, 0.0) / (free * (height - 1) * (width - 1))
    row, column = mean_rows - pixel / width, mean_columns - pixel / height
    own = (pixel, 2 * free * size / (2 + excess_kurtosis(stack.sample)))
    of_rows, of_columns = (
        (mean, free * (lines.shape[1] - 1) * (effective_fraction(lines) if temporal_correlation else 1))
        for mean, lines in ((mean_rows, rows), (mean_columns, columns))
    )
    shared = pixel * (1 - 1 / width - 1 / height)
    return Components(
        total=pixel + row + column,
        pixel=pixel,
        row=row,
        column=column,
        total_error=total_of(((shared, own[1]), of_rows, of_columns))[1],
        pixel_parts=(own,),
        row_parts=(of_rows, (-pixel / width, own[1])),
        column_parts=(of_columns, (-pixel / height, own[1])),
    )


def mean_error(stack: FrameStack, noise: Components) -> float:
    """Return the standard error of a stack's level from pixel, row and column noise, DN, without drift."""
    height, width = stack.mean.shape
    parts = ((noise.pixel, height * width), (noise.row, height), (noise.column, width))
    return float(np.sqrt(sum(max(variance, 0.0) / count for variance, count in parts) / stack.frames))


def excess_kurtosis(sample: NDArray[Any]) -> float:
    """Return the excess kurtosis of the temporal noise in a sample of pixels; at least −1.

    It is twice that of the differences of consecutive frames, in which fixed pattern cancels.

    Parameters
    ----------
    sample : ndarray, shape (n, m)
        Codes of the same m pixels in n frames, DN.
    """
    step = np.diff(sample[:2000], axis=0).astype(np.float64)
    step -= step.mean(1, keepdims=True)
    second = float((step**2).mean())
    if second == 0:
        return 0.0
    excess = 2 * (float((step**4).mean()) / second**2 - 3)
    return max(excess, -1.0)


def effective_fraction(profiles: Array, lags: int = 32) -> float:
    """Return the fraction of the degrees of freedom left in a variance when neighbours are correlated.

    1 / (1 + 2 Σ ρ_k²) over lags k (Bartlett), where ρ_k² is reduced by its expectation for white noise.

    Parameters
    ----------
    profiles : ndarray, shape (n, L)
        Zero-mean offsets of L lines in n frames.
    lags : int
        Largest lag; at most L/4 is used.
    """
    length = profiles.shape[1]
    power = float((profiles**2).mean())
    if power == 0 or length < 8:
        return 1.0
    total = 0.0
    for lag in range(1, min(lags, length // 4) + 1):
        correlation = float((profiles[:, lag:] * profiles[:, :-lag]).mean()) / power
        total += correlation**2 - 1 / (profiles.shape[0] * (length - lag))
    return 1 / (1 + 2 * max(total, 0.0))
