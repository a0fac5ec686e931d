"""Fixed pattern of a camera body: PRNU, DSNU, shading and hot pixels, the same in all of its frames."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from noiseflow.augment.frames.windows import Window
from noiseflow.calibrate.profiles.profile import Profile, Setting
from noiseflow.core.errors import DataError
from noiseflow.ops.random.sampling import Keyed, Stream, normal, row_normal, uniform
from noiseflow.raw.bayer import rows_of_cell

__all__ = ["FixedPattern", "pattern_from_profile"]

MODES = 3
"""Number of cosines along each side of the frame in the dark shading."""


@dataclass(frozen=True)
class FixedPattern:
    """PRNU, dark signal and hot pixels of one camera body, drawn from a seed.

    A pixel with expected signal s has the signal s·(1 + PRNU) + hot before shot noise; DSNU and shading are
    added after the noise.  Row and column components are common to all pixels of a sensor row or column.  The shading
    is a sum of low-frequency cosines.  Hot pixels have amplitudes hot_dn·(1 + Exp(1)).

    Parameters
    ----------
    seed : int
        Seed that stands for the camera body.
    prnu, prnu_row, prnu_column : float
        σ of the photo response of pixels, rows and columns, relative to the signal.
    dsnu_dn, dsnu_row_dn, dsnu_column_dn : float
        σ of the dark signal of pixels, rows and columns, DN.
    shading_dn : float
        Peak-to-peak amplitude of the smooth dark shading, DN.
    hot_fraction : float
        Fraction of hot pixels.
    hot_dn : float
        Smallest amplitude of a hot pixel, DN.

    References
    ----------
    EMVA Standard 1288, release 4.0, section 8 (PRNU, DSNU, and their row, column and pixel components).
    """

    seed: int = 0
    prnu: float = 0.0
    prnu_row: float = 0.0
    prnu_column: float = 0.0
    dsnu_dn: float = 0.0
    dsnu_row_dn: float = 0.0
    dsnu_column_dn: float = 0.0
    shading_dn: float = 0.0
    hot_fraction: float = 0.0
    hot_dn: float = 0.0

    def __post_init__(self) -> None:
        """Check that all values are valid for a sensor."""
        for name, value in vars(self).items():
            if name != "seed" and not 0 <= value < math.inf:
                raise DataError(f"fixed pattern: {name}: expected 0 or more; got {value}")
        if self.hot_fraction > 1:
            raise DataError(f"fixed pattern: hot_fraction: expected 0 … 1; got {self.hot_fraction}")

    def exposed(self, signal_dn: Tensor, window: Window) -> Tensor:
        """Apply PRNU and hot pixels to a signal in DN above black, (1, C, h, w), before shot noise."""
        gain = self._parts(signal_dn, window, Stream.PRNU, self.prnu, self.prnu_row, self.prnu_column)
        if gain is not None:
            signal_dn = signal_dn * (1 + gain)
        if self.hot_fraction:
            u = uniform(signal_dn, self._keyed(window), Stream.HOT) / self.hot_fraction
            signal_dn = signal_dn + torch.where(u < 1, self.hot_dn * (1 - u.log()), 0).to(signal_dn)
        return signal_dn

    def dark(self, like: Tensor, window: Window, size: tuple[int, int]) -> Tensor:
        """DSNU and shading in DN, in the shape of `like`, (1, C, h, w); `size` is (H, W) of the frame's planes."""
        parts = self._parts(like, window, Stream.DARK, self.dsnu_dn, self.dsnu_row_dn, self.dsnu_column_dn)
        dark = torch.zeros_like(like) if parts is None else parts
        return dark + self._shading(like, window, size) if self.shading_dn else dark

    def _keyed(self, window: Window, frame: int = 0) -> Keyed:
        return Keyed(self.seed, (frame,), window.top, window.left)

    def _parts(
        self, like: Tensor, window: Window, stream: Stream, pixel: float, row: float, column: float
    ) -> Tensor | None:
        """Sum of pixel, row and column components with these σ, in the shape of `like`; None if all are 0."""
        if not (pixel or row or column):
            return None
        total = pixel * normal(like, self._keyed(window), stream)
        # R and G1 share a sensor row, R and G2 a column.
        side = rows_of_cell(like.shape[1])
        if row:
            lines = row_normal(like, side, self._keyed(window, 1), stream)
            total = total + row * lines.repeat_interleave(side, 1)
        if column:
            keyed = replace(self._keyed(window, 2), top=0)
            lines = normal(like[:, :side, :1], keyed, stream)
            total = total + column * lines.repeat(1, side, 1, 1)
        return total

    def _shading(self, like: Tensor, window: Window, size: tuple[int, int]) -> Tensor:
        weights = normal(like.new_empty(1, 1, MODES, MODES), Keyed(self.seed), Stream.SHADING)[0, 0]
        weights[0, 0] = 0

        def cosines(first: int, count: int, length: int) -> Tensor:
            place = (torch.arange(first, first + count, device=like.device, dtype=like.dtype) + 0.5) / length
            return (math.pi * place[:, None] * torch.arange(MODES, device=like.device)).cos()

        grid = cosines(0, 65, 65) @ weights @ cosines(0, 65, 65).T
        here = cosines(window.top, window.height, size[0]) @ weights @ cosines(window.left, window.width, size[1]).T
        return here * (self.shading_dn / (grid.max() - grid.min()))


def pattern_from_profile(profile: Profile, iso: float, seed: int = 0) -> FixedPattern:
    """Make a fixed pattern with the strengths of a calibrated profile at any ISO.

    Values are root mean squares over planes, interpolated linearly in log ISO; quantities that were not measured are
    0.  The fraction of hot pixels is the measured one, and their smallest amplitude is the detection threshold.

    Parameters
    ----------
    profile : Profile
        Profile with PRNU or DSNU.
    iso : float
        ISO of the frames.
    seed : int
        Seed that stands for the camera body.

    Returns
    -------
    FixedPattern
        The pattern.

    Raises
    ------
    DataError
        The profile has neither PRNU nor DSNU, for example because it was calibrated on too few frames.
    """
    at = [[setting for setting in profile.settings if setting.iso == known] for known in profile.isos]
    rows = [{name: _mean_square([_of(setting, name) for setting in settings]) for name in _NAMES} for settings in at]
    table = {
        name: float(np.interp(math.log(iso), np.log(profile.isos), [row[name] for row in rows])) for name in _NAMES
    }
    if not (table["prnu"] or table["dsnu_dn"]):
        raise DataError(
            f"{profile.camera}: the profile has no PRNU or DSNU; calibrate with 16 or more frames of a flat and darks"
        )
    return FixedPattern(seed, **table)


_NAMES = tuple(name for name in FixedPattern.__dataclass_fields__ if name != "seed")


def _of(setting: Setting, name: str) -> float:
    """Value of a parameter of `FixedPattern` in a profile's setting; 0 if it was not measured."""
    percent, level = setting.value("prnu_percent") or 0.0, setting.value("prnu_dn") or 0.0
    facts = setting.facts
    if name.startswith("prnu"):
        part = setting.value({"prnu": "prnu_pixel_dn"}.get(name, f"{name}_dn"))
        if part is None:
            return percent / 100 if name == "prnu" else 0.0
        return part / level * percent / 100 if level else 0.0
    if name == "dsnu_dn":
        pixel = setting.value("dsnu_pixel_dn")
        return float((setting.value("dsnu_dn") or 0.0) if pixel is None else pixel)
    if name.startswith("dsnu"):
        return setting.value(name) or 0.0
    plain = {
        "shading_dn": facts.get("dark_shading_range_dn", 0.0),
        "hot_fraction": 1e-6 * facts.get("hot_pixels_per_million", 0.0),
        "hot_dn": facts.get("hot_above_dn", 0.0),
    }
    return float(plain[name])


def _mean_square(values: list[float]) -> float:
    return math.sqrt(sum(value**2 for value in values) / len(values))
