"""Calibration: from flats, darks and bursts to a physics profile with error bars."""

from noiseflow.calibrate.calibrate_camera import calibrate, calibrate_few
from noiseflow.calibrate.measured import Calibration, Evidence
from noiseflow.calibrate.measurement import Measurement
from noiseflow.calibrate.measurements.gain_law import GainLaw, fit_gain_law
from noiseflow.calibrate.prior.few_shot import few_shot, sample_camera
from noiseflow.calibrate.profiles.profile import QUANTITIES, Profile, Setting, read_profile, write_profile
from noiseflow.calibrate.single_frame.estimate import PictureNoise, measure_picture

__all__ = [
    "QUANTITIES",
    "Calibration",
    "Evidence",
    "GainLaw",
    "Measurement",
    "PictureNoise",
    "Profile",
    "Setting",
    "calibrate",
    "calibrate_few",
    "few_shot",
    "fit_gain_law",
    "measure_picture",
    "read_profile",
    "sample_camera",
    "write_profile",
]
