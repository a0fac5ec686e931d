"""What a foreign noise model is read from, and what a format is."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from noiseflow.models.model import NoiseModel
from noiseflow.raw.settings import RawSettings

__all__ = ["NON_COMMERCIAL", "ForeignFormat", "ForeignSource"]

NON_COMMERCIAL = "CC BY-NC-SA 4.0: not for commercial use"


@dataclass(frozen=True)
class ForeignSource:
    """A file or folder, and what it does not say itself.

    Parameters
    ----------
    path : Path
        File or folder.
    raw : RawSettings
        Camera, ISO, black and white level, and what raw files without a header lack.
    gain_dn_per_e : float, optional
        Conversion gain K, DN/e-, where only the noise in the dark is given.
    profile : Path, optional
        Profile of `noiseflow calibrate`, or name of a shipped camera, whose gain is taken instead.
    """

    path: Path
    raw: RawSettings = field(default_factory=RawSettings)
    gain_dn_per_e: float | None = None
    profile: Path | None = None

    def levels(self, black: float, white: float) -> tuple[float, float]:
        """Black and white level in DN as told, else the given ones."""
        told = self.raw.black
        return black if told is None else float(told[0]), white if self.raw.white is None else self.raw.white


@dataclass(frozen=True)
class ForeignFormat:
    """One format of foreign noise models.

    Parameters
    ----------
    what : str
        What it is, in a few words.
    claims : callable
        Whether a path holds it by its content; cheap, and False for whatever cannot be read.
    read : callable
        Function from a `ForeignSource` to the model.
    licence : str, optional
        Licence of what is usually imported so, where it restricts its use.
    """

    what: str
    claims: Callable[[Path], bool]
    read: Callable[[ForeignSource], NoiseModel]
    licence: str | None = None
