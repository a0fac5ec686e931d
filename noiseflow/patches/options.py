"""Options and result of an ingest."""

from dataclasses import dataclass
from pathlib import Path

from noiseflow.core.errors import DataError
from noiseflow.raw.settings import RawSettings

__all__ = ["IngestOptions", "IngestResult"]


@dataclass(frozen=True)
class IngestOptions:
    """How patches are taken.

    Parameters
    ----------
    patch_size : int
        Height and width in pixels of a plane.
    patches_per_frame : int or None
        Number of patches to draw from the frame's grid, without replacement; all of them if None.
    pairing : str
        ``"auto"`` or a name in `noiseflow.patches.pairings.PAIRINGS`.
    split_by : str
        ``"auto"`` (frames for bursts, scenes otherwise), ``"scene"`` or ``"frame"``.
    fractions : tuple of float
        Parts for train, val and test; they add up to 1.
    max_clipped : float or None
        A patch with a larger part of its pixels at code 0 or at the white level is left out.  If None, one that is
        all at code 0, or without a clean signal one with any such pixel.
    max_masked : float or None
        A patch with a larger part of masked pixels (dead, hot, moving, or of a signal at which the frame clips) is
        left out.  If None, half of them, or without a clean signal any.
    seed : int
        Seed of the splits and the draw of patches.
    skip_bad : bool
        Leave out frames that cannot be read, and list them; every frame is read once more for it.
    body : str or None
        File of `noiseflow.calibrate.body`: maps of the body.  A clean twin gets its pattern, which is then no noise;
        hot pixels are masked in any pairing.
    settings : RawSettings or None
        Levels, ISO and the like that override those of the raw files.

    Raises
    ------
    DataError
        A value out of its range.
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
                raise DataError(f"{name}: expected a part from 0 to 1; got {part}")


@dataclass(frozen=True)
class IngestResult:
    """Result of an ingest.

    Parameters
    ----------
    path : Path
        The store.
    patches : dict
        Number of patches of each split.
    clipped, masked : int
        Patches left out.
    frames : int
        Frames that patches were taken from.
    resumed : int
        Number of these that an earlier, stopped ingest had finished.
    pairing : str
        A name in `noiseflow.patches.pairings.PAIRINGS`.
    split_by : str
        ``"scene"`` or ``"frame"``.
    reason : str
        Why that pairing.
    notes : tuple of str
        Remarks for the user: duplicates, cautions, missing scenes.
    believed : tuple of (str, str, str)
        Facts that the ingest believed: what, its value, and where it was taken from.
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
