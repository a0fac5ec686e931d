"""Cameras whose noise is a line of log scale over log gain, as ELD's calibration and LED's give them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from noiseflow.calibrate.profiles.profile import Profile, Setting
from noiseflow.calibrate.profiles.published import without_error
from noiseflow.core.errors import ModelError
from noiseflow.models.foreign.source import ForeignSource
from noiseflow.models.model import NoiseModel
from noiseflow.models.physics.profile_models import QUANTISATION, from_profile
from noiseflow.raw.bayer import plane_names
from noiseflow.simulate.physics import tukey_lambda_variance

__all__ = ["BASE_ISO", "BLACK", "WHITE", "Line", "LogLawCamera", "chosen"]

BLACK, WHITE = 800.0, 16383.0
"""Levels of the authors' code, DN; their files do not say any."""

BASE_ISO = 100.0
"""ISO at the smallest gain unless one is given: the files state gains, not ISOs."""

LARGEST_GAIN = 1e6


@dataclass(frozen=True)
class Line:
    """log(scale in DN) = slope · log(K in DN/e-) + bias."""

    slope: float
    bias: float

    def at(self, gain: float) -> float:
        """The scale at a gain, DN."""
        return math.exp(self.slope * math.log(gain) + self.bias)


@dataclass(frozen=True)
class LogLawCamera:
    """One camera of such a file.

    The middle of each line is taken, and the mean of the Tukey shapes: the files also say how far frames scatter
    about them, which a training set is drawn with and one camera's model is not.  Colour biases, a mean and no
    noise, are left out.

    Parameters
    ----------
    name : str
        As in the file.
    gains : tuple of float
        Least and largest K, DN/e-.
    read, row : Line
        Tukey-lambda scale of the read noise, and σ of the row noise.
    shapes : sequence of float
        Tukey-lambda shapes that were measured.
    """

    name: str
    gains: tuple[float, float]
    read: Line
    row: Line
    shapes: Sequence[float]

    def model(self, source: ForeignSource) -> NoiseModel:
        """The physics model `eld` of it: K grows with the ISO from the least gain on."""
        low, high = self.gains
        if not 0 < low <= high < LARGEST_GAIN or not self.shapes:
            raise ModelError(
                f"{source.path}: {self.name}: expected 0 < Kmin ≤ Kmax DN/e- and Tukey shapes; got {low:g}, {high:g} "
                f"and {len(self.shapes)} shapes"
            )
        black, white = source.levels(BLACK, WHITE)
        base = BASE_ISO if source.raw.iso is None else source.raw.iso
        shape = math.fsum(self.shapes) / len(self.shapes)
        stops = [low * 2.0**stop for stop in range(int(math.log2(high / low) + 1e-6) + 1)]
        gains = stops if high / stops[-1] < 1.01 else [*stops, high]
        settings = []
        for gain in gains:
            read, row = self.read.at(gain), self.row.at(gain)
            sigma = math.sqrt(read**2 * tukey_lambda_variance(shape) + row**2 + QUANTISATION)
            numbers = {
                "gain_dn_per_e": without_error(gain, "DN/e-"),
                "black_dn": without_error(black, "DN"),
                "read_noise_dn": without_error(sigma, "DN"),
                "row_noise_dn": without_error(row, "DN"),
                "tukey_shape": without_error(shape, ""),
                "tukey_scale_dn": without_error(read, "DN"),
            }
            settings += [Setting(base * gain / low, plane, numbers, kind="published") for plane in plane_names("bayer")]
        name = source.raw.camera if source.raw.camera and source.raw.camera != self.name else self.name
        return from_profile("eld", Profile(name, "bayer", white, tuple(settings), {"sources": [str(source.path)]}))


def chosen(cameras: Sequence[LogLawCamera], source: ForeignSource) -> LogLawCamera:
    """The only camera of a file, or the requested one.

    Raises
    ------
    ModelError
        There are several and none or another one is named.
    """
    if len(cameras) == 1:
        return cameras[0]
    for camera in cameras:
        if source.raw.camera is not None and camera.name.casefold() == source.raw.camera.casefold():
            return camera
    names = ", ".join(camera.name for camera in cameras)
    asked = "none was named" if source.raw.camera is None else f"{source.raw.camera!r} is none of them"
    raise ModelError(f"{source.path}: holds {names or 'no camera'}; {asked}: say which with --camera")
