"""Cameras whose log noise scale is linear in log gain, as in the calibrations of ELD and LED."""

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
"""Default black and white level in DN, from the authors' code; their files contain none."""

BASE_ISO = 100.0
"""Default ISO at the smallest gain; the files contain gains, not ISOs."""

LARGEST_GAIN = 1e6
"""Gains must be below this, DN/e-."""


@dataclass(frozen=True)
class Line:
    """A linear law of logarithms: log(scale in DN) = slope · log(K in DN/e-) + bias."""

    slope: float
    bias: float

    def at(self, gain: float) -> float:
        """The scale at a gain, DN."""
        return math.exp(self.slope * math.log(gain) + self.bias)


@dataclass(frozen=True)
class LogLawCamera:
    """One camera of an ELD or LED file.

    The model uses the centre of each line and the mean of the Tukey shapes.  The files also contain the scatter of
    frames about the lines, which serves to draw varied training sets and is not part of one camera's noise.  Colour
    biases are offsets, not noise, and are ignored.

    Parameters
    ----------
    name : str
        Name in the file.
    gains : tuple of float
        Smallest and largest K, DN/e-.
    read, row : Line
        Laws of the read noise's Tukey-lambda scale and of the row noise's σ.
    shapes : sequence of float
        Measured Tukey-lambda shapes.
    """

    name: str
    gains: tuple[float, float]
    read: Line
    row: Line
    shapes: Sequence[float]

    def model(self, source: ForeignSource) -> NoiseModel:
        """Build the physics model `eld`; K is proportional to the ISO, starting at the smallest gain."""
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
    """The requested camera of a file, or its only one.

    Raises
    ------
    ModelError
        The file has several cameras, and none of them is requested.
    """
    if len(cameras) == 1:
        return cameras[0]
    for camera in cameras:
        if source.raw.camera is not None and camera.name.casefold() == source.raw.camera.casefold():
            return camera
    names = ", ".join(camera.name for camera in cameras)
    given = "" if source.raw.camera is None else f", not {source.raw.camera!r}"
    raise ModelError(f"{source.path}: contains {names or 'no camera'}{given}: choose one with --camera")
