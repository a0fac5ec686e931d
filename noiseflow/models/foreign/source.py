"""The source of a foreign noise model, and the definition of a format."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from noiseflow.models.model import NoiseModel
from noiseflow.raw.settings import RawSettings

__all__ = ["NON_COMMERCIAL", "ForeignFormat", "ForeignSource"]

NON_COMMERCIAL = "CC BY-NC-SA 4.0: not for commercial use"


@dataclass(frozen=True)
class ForeignSource:
    """A file or folder to import, and facts that it does not contain.

    Parameters
    ----------
    path : Path
        File or folder.
    raw : RawSettings
        Camera, ISO, black and white level, and settings for raw files without a header.
    gain_dn_per_e : float, optional
        Conversion gain K in DN/e-, for sources of dark noise only.
    profile : Path, optional
        Profile of `noiseflow calibrate`, or name of a shipped camera, from which to take the gain instead.
    """

    path: Path
    raw: RawSettings = field(default_factory=RawSettings)
    gain_dn_per_e: float | None = None
    profile: Path | None = None

    def levels(self, black: float, white: float) -> tuple[float, float]:
        """Black and white level in DN from `raw`, or the given defaults where it has none."""
        own = self.raw.black
        return black if own is None else float(own[0]), white if self.raw.white is None else self.raw.white


@dataclass(frozen=True)
class ForeignFormat:
    """One format of foreign noise models.

    Parameters
    ----------
    what : str
        Description in a few words.
    claims : callable
        Function of a path that returns whether its content has this format; fast, and False for unreadable files.
    read : callable
        Function of a `ForeignSource` that returns the model.
    licence : str, optional
        Licence of the files usually imported in this format, if it restricts their use.
    """

    what: str
    claims: Callable[[Path], bool]
    read: Callable[[ForeignSource], NoiseModel]
    licence: str | None = None
