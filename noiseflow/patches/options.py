"""Options and result of an ingest."""

from dataclasses import dataclass
from pathlib import Path

from noiseflow.core.errors import DataError
from noiseflow.raw.settings import RawSettings

__all__ = ["IngestOptions", "IngestResult"]


@dataclass(frozen=True)
class IngestOptions:
    """Options of an ingest.

    Parameters
    ----------
    patch_size : int
        Height and width of a patch in pixels of a plane.
    patches_per_frame : int or None
        Number of patches to draw at random from the frame's grid, without replacement; None keeps all.
    pairing : str
        ``"auto"`` or a name in `noiseflow.patches.pairings.PAIRINGS`.
    split_by : str
        What is kept together in a split: ``"scene"``, ``"frame"`` or ``"auto"`` (frames for bursts, scenes otherwise).
    fractions : tuple of float
        Fractions for train, val and test, which sum to 1.
    max_clipped : float or None
        Leave out patches with a larger fraction of pixels at code 0 or clipped.  By default patches that are all at
        code 0, or, without a clean signal, that have any such pixel.
    max_masked : float or None
        Leave out patches with a larger fraction of masked pixels (dead, hot, moving, or with a signal at which the
        frame clips).  By default more than half, or, without a clean signal, any.
    seed : int
        Seed of the splits and of the choice of patches.
    skip_bad : bool
        Leave out and list frames that cannot be read; every frame is then read once more.
    body : str or None
        File with maps of the camera body, made by `noiseflow.calibrate.body`.  The body's fixed pattern is added to
        clean twins, so that it does not count as noise; defective pixels are masked in every pairing.
    settings : RawSettings or None
        Levels, ISO and other settings that override those of the raw files.

    Raises
    ------
    DataError
        If a value is out of range.
    """

    patch_size: int = 32
    patches_per_frame: int | None = None
    pairing: str = "auto"
    split_by: str = "auto"
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
    max_clipped: float | None = None
    max_masked: float | None = None
    seed: int = 0
    body: str | None = None
    settings: RawSettings | None = None
    skip_bad: bool = False

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if self.patch_size < 1:
            raise DataError(f"patch size: expected 1 or more; got {self.patch_size}")
        if self.patches_per_frame is not None and self.patches_per_frame < 1:
            raise DataError(f"patches per frame: expected 1 or more; got {self.patches_per_frame}")
        if self.split_by not in ("auto", "scene", "frame"):
            raise DataError(f"split by: expected auto, scene or frame; got {self.split_by!r}")
        for name, part in (("max clipped", self.max_clipped), ("max masked", self.max_masked)):
            if part is not None and not 0 <= part <= 1:
                raise DataError(f"{name}: expected a fraction from 0 to 1; got {part}")


@dataclass(frozen=True)
class IngestResult:
    """Result of an ingest.

    Parameters
    ----------
    path : Path
        The store.
    patches : dict
        Split → number of patches.
    clipped, masked : int
        Number of patches left out because too many pixels are clipped, or masked.
    frames : int
        Number of frames.
    resumed : int
        Number of frames that an earlier, stopped ingest had finished.
    pairing : str
        A name in `noiseflow.patches.pairings.PAIRINGS`.
    split_by : str
        What is kept together in a split: ``"scene"`` or ``"frame"``.
    reason : str
        Why this pairing was chosen.
    notes : tuple of str
        Remarks for the user: duplicates, cautions, missing scenes.
    believed : tuple of (str, str, str)
        Facts that the ingest used: name, value, and source.
    """

    path: Path
    patches: dict[str, int]
    clipped: int
    masked: int
    frames: int
    resumed: int
    pairing: str
    split_by: str
    reason: str = ""
    notes: tuple[str, ...] = ()
    believed: tuple[tuple[str, str, str], ...] = ()
